package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Rebuild delivers anew to users whose workspace was set aside or is
// missing, from the outcomes that applications recorded, in the order of their
// time. A workspace that could not be rebuilt whole, for want of something that
// comes back, is out of service until it can be.
func (ws *Workspaces) Rebuild(ctx context.Context) error {
	ws.rebuilding.Lock()
	defer ws.rebuilding.Unlock()
	users, err := ws.lostWorkspaces()
	if len(users) == 0 || err != nil {
		return err
	}
	if ws.Service.UnreadApps() {
		err := errors.New("an application that may have delivered to it cannot be read now")
		for u := range users {
			ws.postpone(u, err)
		}
		return err
	}
	due, unread := ws.owedTo(users)
	for u := range users {
		ws.Service.BringBack(repo.Workspace(u))
	}
	errs := []error{unread}
	half := map[dm.UserName]bool{}
	for _, d := range due {
		d.users = slices.DeleteFunc(d.users, func(u dm.UserName) bool { return half[u] })
		for u, err := range d.again(ctx, ws) {
			if repo.Proof(repair.Confirm(ws.Data.Path(repo.Application(d.app)), err)) == nil {
				half[u] = true
				ws.takeBack(u, err)
			}
			errs = append(errs, err)
		}
	}
	ws.Log.Warn("workspaces were rebuilt from the applications' records", "users", len(users)-len(half))
	return errors.Join(errs...)
}

// postpone keeps a workspace out of service until it can be rebuilt.
func (ws *Workspaces) postpone(u dm.UserName, err error) {
	r := repo.Workspace(u)
	ws.Service.Postpone(r, "it could not be rebuilt yet: "+dm.OneLine(err.Error()))
}

// takeBack removes what there is of a workspace that could not be rebuilt
// whole: the next attempt begins anew, with the same commits.
func (ws *Workspaces) takeBack(u dm.UserName, err error) {
	ws.postpone(u, err)
	r := repo.Workspace(u)
	release := ws.Data.Hold(r)
	defer release()
	ws.users.m.Delete(u)
	if err := ws.Service.MoveAway(r); err != nil && !errors.Is(err, fs.ErrNotExist) {
		ws.Log.Error("an incomplete workspace could not be moved away", "user", u, "err", err)
	}
}

// lostWorkspaces lists the users whose workspace is to be derived anew.
func (ws *Workspaces) lostWorkspaces() (map[dm.UserName]bool, error) {
	users := ws.Index.Readers()
	for _, r := range ws.Service.AwayOf(dm.WorkspaceRepository) {
		users[dm.UserName(r.Name)] = true
	}
	moved, unread := repo.NamesIn(ws.Service.DamagedDirOf(dm.WorkspaceRepository))
	for _, name := range moved {
		if _, swept := ws.sweeps.of(dm.UserName(name)); !swept {
			users[dm.UserName(name)] = true
		}
	}
	errs := []error{unread}
	for u := range users {
		_, err := os.Lstat(ws.Data.Path(repo.Workspace(u)))
		if !errors.Is(err, fs.ErrNotExist) {
			delete(users, u)
			errs = append(errs, err)
		}
	}
	return users, errors.Join(errs...)
}

// Redeliver gives an application that is in service again to those of its users
// whose workspace was rebuilt while it was not. What is there is passed over.
func (ws *Workspaces) Redeliver(ctx context.Context, app dm.ApplicationName) {
	e := ws.Index.Application(app)
	if e == nil || e.Working() || e.Observed == nil {
		return
	}
	o := *e.Observed
	if o.Effective != "" {
		o.Desired = o.Effective
	}
	for _, r := range e.Observed.Records {
		for u, err := range (owed{app: app, o: &o, users: r.Users}).again(ctx, ws) {
			ws.Log.Error("an application could not be delivered again", "app", app, "user", u, "err", err)
			ws.Service.LookSoon(repo.Workspace(u))
		}
	}
}

// owed is one recorded outcome for lost workspaces.
type owed struct {
	app   dm.ApplicationName
	o     *dm.Observation
	users []dm.UserName
	gone  bool // the outcome took the application away from the users
}

// again repeats what the outcome's plugin asked of the workspaces, and tells in
// which it failed and why.
func (d owed) again(ctx context.Context, s *Workspaces) map[dm.UserName]error {
	failed := map[dm.UserName]error{}
	deliveries, err := d.deliveries(s)
	for _, h := range deliveries {
		var without map[dm.UserName]error
		if err == nil {
			without, err = s.toEach(ctx, h, slices.DeleteFunc(slices.Clone(d.users), func(u dm.UserName) bool { return failed[u] != nil }))
		}
		maps.Copy(failed, without)
	}
	if err != nil {
		for _, u := range d.users {
			failed[u] = err
		}
	}
	return failed
}

// deliveries is what the outcome's plugin asked of the workspace.
func (d owed) deliveries(s *Workspaces) ([]*delivery, error) {
	if d.gone {
		h, err := s.removed(d.app, d.o.Desired)
		return []*delivery{h}, err
	}
	var list []*delivery
	for _, r := range d.o.Records {
		if len(r.Users) == 0 {
			continue
		}
		h, err := s.deliveryOf(dm.Delivery{Application: d.app, At: d.o.Desired, Type: r.Type, Folders: r.Folders})
		if err != nil {
			return nil, err
		}
		list = append(list, h)
	}
	return list, nil
}

// owedTo walks the outcomes of every application, oldest first. The error
// tells of applications whose outcomes can't be read; the others' are returned.
func (ws *Workspaces) owedTo(lost map[dm.UserName]bool) ([]owed, error) {
	var list []owed
	var errs []error
	for _, app := range ws.Index.Names(func(e *index.Application) bool { return e.Observed != nil }) {
		history, err := ws.Outcomes(app)
		if err != nil {
			errs = append(errs, fmt.Errorf("outcomes of %s: %w", app, err))
			continue
		}
		had := map[dm.UserName]bool{}
		for _, o := range history {
			if o.Effective != "" && o.Effective != o.Desired || o.Health != "" {
				continue // it changed nothing
			}
			has := map[dm.UserName]bool{} // those of the lost
			for _, r := range o.Records {
				for _, u := range r.Users {
					if lost[u] {
						has[u] = true
					}
				}
			}
			gone := slices.DeleteFunc(slices.Sorted(maps.Keys(had)), func(u dm.UserName) bool { return has[u] })
			list = append(list, owed{app: app, o: o, users: slices.Sorted(maps.Keys(has))}, owed{app: app, o: o, users: gone, gone: true})
			had = has
		}
	}
	list = slices.DeleteFunc(list, func(d owed) bool { return len(d.users) == 0 })
	slices.SortStableFunc(list, func(a, b owed) int { return a.o.Time.Compare(b.o.Time) })
	return list, errors.Join(errs...)
}

// Outcomes reads the history of refs/observed/head, oldest first.
func (ws *Workspaces) Outcomes(app dm.ApplicationName) ([]*dm.Observation, error) {
	e := ws.Index.Application(app)
	if e == nil {
		return nil, fmt.Errorf("the repository of %s was set aside", app)
	}
	objects := repo.Open(ws.Data.Path(repo.Application(app)))
	var list []*dm.Observation
	for h := e.ObservedTip; !h.IsZero(); {
		o, err := form.DecodeOutcome(objects, h)
		if err != nil {
			return nil, err
		}
		list = append(list, index.Placed(o.Observation))
		h = o.Before
	}
	slices.Reverse(list)
	return list, nil
}
