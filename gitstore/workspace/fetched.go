package workspace

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// fetches is who fetched what last. It is known at once, and in refs/brought/head a
// moment later: a server that is killed in between tells of the fetch before.
type fetches struct {
	mu   sync.Mutex
	last sync.Map             // dm.UserName → fetch
	owed map[dm.UserName]bool // whose ref lags
	due  chan struct{}        // somebody is owed
}

// fetch is one of a workspace as it was brought up to seq.
type fetch struct {
	seq uint64
	at  time.Time
}

func (f *fetches) of(u dm.UserName) (seq uint64, at time.Time) {
	last, _ := f.last.Load(u)
	known, _ := last.(fetch)
	return known.seq, known.at
}

// News is what somebody fetched for the first time.
type News struct {
	Application dm.ApplicationName
	Deployment  int
}

// Fetched notes that a user has fetched main, and tells which applications are others
// there than at the fetch before.
func (ws *Workspaces) Fetched(u dm.UserName, main plumbing.Hash) (news []News) {
	known, ok := ws.users.Load(u)
	if !ok || known.(*user).main != main {
		return nil // it has gone on since; whoever fetched asks again
	}
	x, f := known.(*user), &ws.fetched
	before, _ := f.of(u)
	f.last.Store(u, fetch{x.seq, ws.Clock().UTC()})
	f.mu.Lock()
	f.owed[u] = true
	f.mu.Unlock()
	select {
	case f.due <- struct{}{}:
	default:
	}
	for _, app := range ws.changedSince(before) {
		if s := ws.stepOf(app, u, x.mark().Groups, x.seq); s != nil {
			if before > 0 {
				if had := ws.stepOf(app, u, x.mark().Groups, before); had != nil && had.Change == s.Change {
					continue
				}
			}
			news = append(news, News{app, s.Deployment})
		}
	}
	return news
}

// stepOf is what a user in the groups has of an application at seq, nil for nothing and
// for what can't be read now.
func (ws *Workspaces) stepOf(app dm.ApplicationName, u dm.UserName, groups []string, seq uint64) *step {
	t, err := ws.timelineOf(app, seq)
	if err != nil {
		return nil
	}
	if s := t.at(seq); s != nil && s.reaches(u, groups) {
		return s
	}
	return nil
}

// KeepFetches writes who fetched into their repositories until ctx ends, and then what
// is left.
func (ws *Workspaces) KeepFetches(ctx context.Context) {
	unbroken := context.WithoutCancel(ctx) // each is short, and the stop waits for it
	for {
		select {
		case <-ctx.Done():
			ws.keepOwed(unbroken)
			return
		case <-ws.fetched.due:
			ws.keepOwed(unbroken)
		}
	}
}

func (ws *Workspaces) keepOwed(ctx context.Context) {
	f := &ws.fetched
	f.mu.Lock()
	users := f.owed
	f.owed = map[dm.UserName]bool{}
	f.mu.Unlock()
	for u := range users {
		if err := ws.keepFetch(ctx, u); err != nil {
			ws.Log.Warn("a fetch could not be recorded", "user", u, "err", err)
		}
	}
}

// keepFetch writes what was fetched last, if refs/brought/head does not say it yet.
func (ws *Workspaces) keepFetch(ctx context.Context, u dm.UserName) error {
	tx, err := ws.Data.Begin(repo.Workspace(u), "fetched")
	if err != nil {
		return err
	}
	defer tx.End()
	known, ok := ws.users.Load(u)
	if !ok || tx.Fresh() {
		return nil
	}
	x := *known.(*user)
	seq, at := ws.fetched.of(u)
	if x.brought.FetchedAt.Equal(at) || len(x.brought.Marks) == 0 {
		return nil
	}
	w, err := tx.Objects()
	if err != nil {
		return err
	}
	x.brought.Fetched, x.brought.FetchedAt = seq, at
	if err := x.brought.Encode(w); err != nil {
		return err
	}
	if err := tx.Land(ctx, repo.Together(repo.Refs{repo.Brought: x.brought.Commit}, "fetched-moved")...); err != nil {
		return err
	}
	ws.users.Store(u, &x)
	return nil
}

// Receivers are the users who have a workspace and to whom an application delivers
// now, each with what they fetched of it last and when; zero for who did not yet.
func (ws *Workspaces) Receivers(app dm.ApplicationName) (map[dm.UserName]dm.Fetch, error) {
	oldest := ws.Told.Told()
	ws.users.Range(func(u, _ any) bool {
		if seq, _ := ws.fetched.of(u.(dm.UserName)); seq > 0 {
			oldest = min(oldest, seq)
		}
		return true
	})
	t, err := ws.timelineOf(app, oldest)
	if err != nil || len(t.steps) == 0 {
		return nil, err
	}
	now, found := t.steps[len(t.steps)-1], map[dm.UserName]dm.Fetch{}
	ws.users.Range(func(key, value any) bool {
		u, x := key.(dm.UserName), value.(*user)
		if !now.reaches(u, x.mark().Groups) {
			return true
		}
		found[u] = dm.Fetch{}
		seq, at := ws.fetched.of(u)
		if seq == 0 {
			return true
		}
		if had := t.at(seq); had != nil && had.reaches(u, x.mark().Groups) {
			found[u] = dm.Fetch{Deployment: had.Deployment, Current: maps.Equal(had.parts, now.parts), Time: at}
		}
		return true
	})
	return found, nil
}
