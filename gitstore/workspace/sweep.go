package workspace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// A sweep takes workspaces in which nothing lies any more. Only such are taken
// as can be made again from the applications' records to the last byte of their
// history, which is tried before; they are made again when somebody fetches or
// gets something. What was taken stands in a record of its own, sweeps.git,
// before it goes: one commit on main for each sweep, with the file swept.json.

// sweeps is what is known of all sweeps: the newest of each user.
type sweeps struct {
	mu   sync.Mutex
	tip  plumbing.Hash
	last map[dm.UserName]form.Swept
}

func (x *sweeps) users() []dm.UserName {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make([]dm.UserName, 0, len(x.last))
	for u := range x.last {
		list = append(list, u)
	}
	return list
}

func (x *sweeps) of(u dm.UserName) (form.Swept, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	w, ok := x.last[u]
	return w, ok
}

func (x *sweeps) add(tip plumbing.Hash, list []form.Swept) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.last == nil {
		x.last = map[dm.UserName]form.Swept{}
	}
	for _, w := range list {
		x.last[w.User] = w
	}
	x.tip = tip
}

func (s *Workspaces) sweepsDir() string { return s.Data.Path(repo.Sweeps) }

// openSweeps reads all sweeps.
func (s *Workspaces) openSweeps(ctx context.Context) error {
	dir := s.sweepsDir()
	if !repo.Exists(dir) {
		return nil
	}
	if err := s.Data.Clean(ctx, dir); err != nil {
		return err
	}
	main, err := repo.ReadRef(dir, repo.Main)
	if err != nil {
		return err
	}
	if err := s.ReadSweeps(ctx, main); err != nil {
		return err
	}
	objects := repo.Open(dir)
	lost, err := s.Service.Contradicted(ctx, repo.Sweeps, objects, repo.Refs{repo.Main: main})
	if err != nil {
		return err
	}
	if len(lost) > 0 {
		return repair.LostRef(lost)
	}
	s.Data.Adopt(repo.Sweeps, repo.Refs{repo.Main: main})
	return nil
}

// ReadSweeps reads the sweeps up to the commit main.
func (s *Workspaces) ReadSweeps(ctx context.Context, main plumbing.Hash) error {
	objects := repo.Open(s.sweepsDir())
	commits, _, err := form.Chain(ctx, objects, main, plumbing.ZeroHash)
	if err != nil {
		return err
	}
	for _, c := range commits {
		sweep, err := form.DecodeSweep(objects, c)
		if err != nil {
			return err
		}
		s.sweeps.add(c.Hash, sweep.Taken)
	}
	return nil
}

// Sweep takes the workspaces that have been empty for longer than SweepAfter,
// which is how most come to be when applications are destroyed. It does nothing
// when SweepAfter is 0.
func (s *Workspaces) Sweep(ctx context.Context) error {
	const op = "workspace.Sweep"
	if s.SweepAfter <= 0 {
		return nil
	}
	empty, err := s.emptyWorkspaces(ctx)
	if err != nil || len(empty) == 0 {
		return repo.Failed(op, err)
	}
	list, err := s.repeatable(ctx, empty)
	if err != nil || len(list) == 0 {
		return repo.Failed(op, err)
	}
	if err := s.recordSweep(ctx, list); err != nil {
		return repo.Failed(op, err)
	}
	s.Data.Step("sweep-recorded")
	for _, w := range list {
		if err := s.takeWorkspace(w); err != nil {
			return repo.Failed(op, err)
		}
	}
	s.Log.Info("empty workspaces were swept", "users", len(list))
	return nil
}

// emptyWorkspaces finds those in which nothing has lain for long enough.
func (s *Workspaces) emptyWorkspaces(ctx context.Context) (map[dm.UserName]form.Swept, error) {
	found := map[dm.UserName]form.Swept{}
	err := s.Data.Each(ctx, dm.WorkspaceRepository, func(r dm.Repository) error {
		if s.Service.Sound(r) != nil {
			return nil
		}
		w, ok, err := s.emptyWorkspace(ctx, r)
		if err != nil {
			s.Log.Warn("a workspace cannot be read for a sweep", "user", r.Name, "err", err)
		} else if ok {
			found[w.User] = w
		}
		return nil
	})
	return found, err
}

func (s *Workspaces) emptyWorkspace(ctx context.Context, r dm.Repository) (w form.Swept, ok bool, err error) {
	dir := s.Data.Path(r)
	state, err := Read(dir)
	if err != nil || len(state.Entries) != 1 || state.Entries[0].Name != ReadmeFile {
		return w, false, err
	}
	commits, _, err := form.Chain(ctx, repo.Open(dir), state.main, plumbing.ZeroHash)
	if err != nil || s.Clock().UTC().Sub(commits[len(commits)-1].Author.When) < s.SweepAfter {
		return w, false, err
	}
	w = form.Swept{User: dm.UserName(r.Name), Main: state.main.String()}
	for _, c := range commits { // it began with the newest commit of the blank workspace
		if c.Message == BlankMessage {
			w.Began = c.Hash.String()
		}
	}
	return w, w.Began != "" && w.Began != w.Main, nil
}

// repeatable makes each workspace again in a folder that is thrown away, and
// keeps those whose refs come out the same.
func (s *Workspaces) repeatable(ctx context.Context, empty map[dm.UserName]form.Swept) ([]form.Swept, error) {
	users := map[dm.UserName]bool{}
	for u := range empty {
		users[u] = true
	}
	due, unread := s.owedTo(users)
	if unread != nil {
		s.Log.Warn("some applications cannot be read for a sweep", "err", unread)
	}
	byUser := map[dm.UserName][]owed{}
	for _, d := range due {
		for _, u := range d.users {
			byUser[u] = append(byUser[u], d)
		}
	}
	var list []form.Swept
	for u, w := range empty {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		there, err := repo.ReadRefs(s.Data.Path(repo.Workspace(u)))
		if err != nil {
			return nil, err
		}
		again, err := s.tryReplay(w, byUser[u])
		if err != nil || !maps.Equal(there, again) {
			s.Log.Info("an empty workspace stays, because its history cannot be made again", "user", u, "err", err)
			continue
		}
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b form.Swept) int { return strings.Compare(string(a.User), string(b.User)) })
	return list, nil
}

func (s *Workspaces) tryReplay(w form.Swept, list []owed) (repo.Refs, error) {
	tx, err := s.Data.Rehearse()
	if err != nil {
		return nil, err
	}
	defer tx.End()
	state, _, err := s.replay(tx, w, list)
	if err != nil {
		return nil, err
	}
	return state.refs(), nil
}

// replay writes the history of a workspace as the deliveries give it, and
// returns its end and the deliveries whose contents it needs.
func (s *Workspaces) replay(tx *repo.Tx, w form.Swept, list []owed) (state *State, given []*delivery, err error) {
	out, err := tx.Objects()
	if err != nil {
		return nil, nil, err
	}
	blank := repo.Open(s.blankDir())
	began, err := blank.Commit(plumbing.NewHash(w.Began))
	if err != nil {
		return nil, nil, err
	}
	top, err := blank.Tree(began.TreeHash)
	if err != nil {
		return nil, nil, err
	}
	state = &State{main: began.Hash, Entries: top.Entries, branches: map[dm.ApplicationName]branch{}}
	for _, d := range list {
		deliveries, err := d.deliveries(s)
		if err != nil {
			return nil, nil, err
		}
		for _, h := range deliveries {
			if state, err = h.build(out, state); err != nil {
				return nil, nil, err
			}
			given = append(given, h)
		}
	}
	return state, given, nil
}

// refs are those of a workspace in this state.
func (w *State) refs() repo.Refs {
	all := repo.Refs{repo.Main: w.main}
	for app, b := range w.branches {
		if !b.tip.IsZero() {
			all[repo.App(app)] = b.tip
		}
	}
	return all
}

// recordSweep adds the sweep to the record.
func (s *Workspaces) recordSweep(ctx context.Context, list []form.Swept) error {
	tx, err := s.Data.Begin(repo.Sweeps, "sweep")
	if err != nil {
		return err
	}
	defer tx.End()
	out, err := tx.Objects()
	if err != nil {
		return err
	}
	sweep := form.Sweep{
		Time: s.Clock().UTC(), Rule: fmt.Sprintf("workspaces that have been empty for %s", s.SweepAfter), Taken: list, Before: s.sweeps.tip,
	}
	if err := sweep.Encode(out); err != nil {
		return err
	}
	if err := tx.Land(ctx, repo.Moved(repo.Main, s.sweeps.tip, sweep.Commit, "sweep-moved")); err != nil {
		return err
	}
	s.sweeps.add(sweep.Commit, list)
	return nil
}

// takeWorkspace removes a workspace, unless it has got something meanwhile.
func (s *Workspaces) takeWorkspace(w form.Swept) error {
	r := repo.Workspace(w.User)
	release := s.Data.Hold(r)
	defer release()
	dir := s.Data.Path(r)
	main, err := repo.ReadRef(dir, repo.Main)
	if err != nil || main.String() != w.Main || s.Service.Sound(r) != nil {
		return err
	}
	away, err := os.MkdirTemp(s.Data.Temporary(), "swept-*")
	if err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(away, "repository.git")); err != nil {
		return err
	}
	s.users.m.Delete(w.User)
	if err := durable.Sync(filepath.Dir(dir)); err != nil {
		return err
	}
	s.Data.Step("sweep-taken")
	return os.RemoveAll(away)
}

// errOtherwise is of a history that comes out as another one than it was.
var errOtherwise = errors.New("its history comes out as another one")

// restore makes the workspace of a user again that a sweep took. What its
// history is made from may be lost, or set aside; since nothing lay in it, it then
// begins anew with the next delivery, and verify tells.
func (s *Workspaces) restore(ctx context.Context, tx *repo.Tx, u dm.UserName) error {
	w, ok := s.sweeps.of(u)
	if !ok || !tx.Fresh() {
		return nil
	}
	err := s.makeAgain(ctx, tx, w)
	if errors.Is(err, errOtherwise) || repo.Gone(err) {
		s.Log.Error("a workspace that was swept cannot be made again, and begins anew", "user", u, "err", err)
		tx.Discard()
		return nil
	}
	return err
}

func (s *Workspaces) makeAgain(ctx context.Context, tx *repo.Tx, w form.Swept) error {
	list, err := s.owedTo(map[dm.UserName]bool{w.User: true})
	if err != nil {
		return err
	}
	state, given, err := s.replay(tx, w, list)
	if err != nil {
		return err
	}
	if state.main.String() != w.Main {
		return fmt.Errorf("main of the workspace was at %s when it was swept, and would be at %s: %w", w.Main, state.main, errOtherwise)
	}
	if err := s.linkBlank(tx); err != nil {
		return err
	}
	for _, h := range given {
		if err := s.giveAgain(tx, h); err != nil {
			return err
		}
	}
	var moves []repo.Move
	for ref, h := range state.refs() {
		moves = append(moves, repo.Moved(ref, plumbing.ZeroHash, h, ""))
	}
	return tx.Land(ctx, moves...)
}

func (s *Workspaces) giveAgain(tx *repo.Tx, h *delivery) error {
	c, err := s.openContents(h, 1)
	if err != nil {
		return err
	}
	defer c.close()
	return s.give(tx, c, "content of "+string(h.Application))
}

// Absent is the directory that answers for a workspace that is not there.
func (s *Workspaces) Absent(ctx context.Context, r dm.Repository) (string, error) {
	if _, ok := s.sweeps.of(dm.UserName(r.Name)); !ok {
		return s.blankDir(), nil
	}
	tx, err := s.Data.Begin(r, "restore")
	if err != nil {
		return "", err
	}
	defer tx.End()
	if err := s.restore(ctx, tx, dm.UserName(r.Name)); err != nil {
		return "", repo.Failed("workspace.restore", err)
	}
	if dir := s.Data.Path(r); repo.Exists(dir) {
		return dir, nil
	}
	return s.blankDir(), nil
}
