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

func (ws *Workspaces) sweepsDir() string { return ws.Data.Path(repo.Sweeps) }

// openSweeps reads all sweeps.
func (ws *Workspaces) openSweeps(ctx context.Context) error {
	dir := ws.sweepsDir()
	if !repo.Exists(dir) {
		return nil
	}
	if err := ws.Data.Clean(ctx, dir); err != nil {
		return err
	}
	main, err := repo.ReadRef(dir, repo.Main)
	if err != nil {
		return err
	}
	if err := ws.ReadSweeps(ctx, main); err != nil {
		return err
	}
	objects := repo.Open(dir)
	lost, err := ws.Service.Contradicted(ctx, repo.Sweeps, objects, repo.Refs{repo.Main: main})
	if err != nil {
		return err
	}
	if len(lost) > 0 {
		return repair.LostRef(lost)
	}
	ws.Data.Adopt(repo.Sweeps, repo.Refs{repo.Main: main})
	return nil
}

// ReadSweeps reads the sweeps up to the commit main.
func (ws *Workspaces) ReadSweeps(ctx context.Context, main plumbing.Hash) error {
	objects := repo.Open(ws.sweepsDir())
	commits, _, err := form.Chain(ctx, objects, main, plumbing.ZeroHash)
	if err != nil {
		return err
	}
	var all []form.Swept // oldest first, known at once: nobody meets an earlier sweep of a user
	for _, c := range commits {
		sweep, err := form.DecodeSweep(objects, c)
		if err != nil {
			return err
		}
		all = append(all, sweep.Taken...)
	}
	ws.sweeps.add(main, all)
	return nil
}

// Sweep takes the workspaces that have been empty for longer than SweepAfter,
// which is how most come to be when applications are destroyed. It does nothing
// when SweepAfter is 0.
func (ws *Workspaces) Sweep(ctx context.Context) error {
	const op = "workspace.Sweep"
	if ws.SweepAfter <= 0 {
		return nil
	}
	empty, err := ws.emptyWorkspaces(ctx)
	if err != nil || len(empty) == 0 {
		return repo.Failed(op, err)
	}
	list, err := ws.repeatable(ctx, empty)
	if err != nil || len(list) == 0 {
		return repo.Failed(op, err)
	}
	if err := ws.recordSweep(ctx, list); err != nil {
		return repo.Failed(op, err)
	}
	ws.Data.Step("sweep-recorded")
	for _, w := range list {
		if err := ws.takeWorkspace(w); err != nil {
			return repo.Failed(op, err)
		}
	}
	ws.Log.Info("empty workspaces were swept", "users", len(list))
	return nil
}

// emptyWorkspaces finds those in which nothing has lain for long enough.
func (ws *Workspaces) emptyWorkspaces(ctx context.Context) (map[dm.UserName]form.Swept, error) {
	found := map[dm.UserName]form.Swept{}
	err := ws.Data.Each(ctx, dm.WorkspaceRepository, func(r dm.Repository) error {
		if ws.Service.Sound(r) != nil {
			return nil
		}
		w, ok, err := ws.emptyWorkspace(ctx, r)
		if err != nil {
			ws.Log.Warn("a workspace cannot be read for a sweep", "user", r.Name, "err", err)
		} else if ok {
			found[w.User] = w
		}
		return nil
	})
	return found, err
}

func (ws *Workspaces) emptyWorkspace(ctx context.Context, r dm.Repository) (w form.Swept, ok bool, err error) {
	dir := ws.Data.Path(r)
	state, err := Read(dir)
	if err != nil || len(state.Entries) != 1 || state.Entries[0].Name != ReadmeFile {
		return w, false, err
	}
	commits, _, err := form.Chain(ctx, repo.Open(dir), state.main, plumbing.ZeroHash)
	if err != nil || ws.Clock().UTC().Sub(commits[len(commits)-1].Author.When) < ws.SweepAfter {
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
func (ws *Workspaces) repeatable(ctx context.Context, empty map[dm.UserName]form.Swept) ([]form.Swept, error) {
	users := map[dm.UserName]bool{}
	for u := range empty {
		users[u] = true
	}
	due, unread := ws.owedTo(users)
	if unread != nil {
		ws.Log.Warn("some applications cannot be read for a sweep", "err", unread)
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
		there, err := repo.ReadRefs(ws.Data.Path(repo.Workspace(u)))
		if err != nil {
			return nil, err
		}
		again, err := ws.tryReplay(w, byUser[u])
		if err != nil || !maps.Equal(there, again) {
			ws.Log.Info("an empty workspace stays, because its history cannot be made again", "user", u, "err", err)
			continue
		}
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b form.Swept) int { return strings.Compare(string(a.User), string(b.User)) })
	return list, nil
}

func (ws *Workspaces) tryReplay(w form.Swept, list []owed) (repo.Refs, error) {
	tx, err := ws.Data.Rehearse()
	if err != nil {
		return nil, err
	}
	defer tx.End()
	state, _, err := ws.replay(tx, w, list)
	if err != nil {
		return nil, err
	}
	return state.refs(), nil
}

// replay writes the history of a workspace as the deliveries give it, and
// returns its end and the deliveries whose contents it needs.
func (ws *Workspaces) replay(tx *repo.Tx, w form.Swept, list []owed) (state *State, given []*delivery, err error) {
	out, err := tx.Objects()
	if err != nil {
		return nil, nil, err
	}
	blank := repo.Open(ws.blankDir())
	began, err := blank.Commit(plumbing.NewHash(w.Began))
	if err != nil {
		return nil, nil, err
	}
	top, err := blank.Tree(began.TreeHash)
	if err != nil {
		return nil, nil, err
	}
	state = &State{main: began.Hash, Entries: top.Entries, branches: map[dm.ApplicationName]Branch{}}
	for _, d := range list {
		deliveries, err := d.deliveries(ws)
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
func (ws *Workspaces) recordSweep(ctx context.Context, list []form.Swept) error {
	tx, err := ws.Data.Begin(repo.Sweeps, "sweep")
	if err != nil {
		return err
	}
	defer tx.End()
	out, err := tx.Objects()
	if err != nil {
		return err
	}
	sweep := form.Sweep{
		Time: ws.Clock().UTC(), Rule: fmt.Sprintf("workspaces that have been empty for %s", ws.SweepAfter), Taken: list, Before: ws.sweeps.tip,
	}
	if err := sweep.Encode(out); err != nil {
		return err
	}
	if err := tx.Land(ctx, repo.Moved(repo.Main, ws.sweeps.tip, sweep.Commit, "sweep-moved")); err != nil {
		return err
	}
	ws.sweeps.add(sweep.Commit, list)
	return nil
}

// takeWorkspace removes a workspace, unless it has got something meanwhile.
func (ws *Workspaces) takeWorkspace(w form.Swept) error {
	r := repo.Workspace(w.User)
	release := ws.Data.Hold(r)
	defer release()
	dir := ws.Data.Path(r)
	main, err := repo.ReadRef(dir, repo.Main)
	if err != nil || main.String() != w.Main || ws.Service.Sound(r) != nil {
		return err
	}
	away, err := os.MkdirTemp(ws.Data.Temporary(), "swept-*")
	if err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(away, "repository.git")); err != nil {
		return err
	}
	ws.users.m.Delete(w.User)
	if err := durable.Sync(filepath.Dir(dir)); err != nil {
		return err
	}
	ws.Data.Step("sweep-taken")
	return os.RemoveAll(away)
}

// errOtherwise is of a history that comes out as another one than it was.
var errOtherwise = errors.New("its history comes out as another one")

// restore makes the workspace of a user again that a sweep took. What its
// history is made from may be lost, or set aside; since nothing lay in it, it then
// begins anew with the next delivery, and verify tells.
func (ws *Workspaces) restore(ctx context.Context, tx *repo.Tx, u dm.UserName) error {
	w, ok := ws.sweeps.of(u)
	if !ok || !tx.Fresh() {
		return nil
	}
	err := ws.makeAgain(ctx, tx, w)
	if errors.Is(err, errOtherwise) || repo.Gone(err) {
		ws.Log.Error("a workspace that was swept cannot be made again, and begins anew", "user", u, "err", err)
		tx.Discard()
		return nil
	}
	return err
}

func (ws *Workspaces) makeAgain(ctx context.Context, tx *repo.Tx, w form.Swept) error {
	list, err := ws.owedTo(map[dm.UserName]bool{w.User: true})
	if err != nil {
		return err
	}
	state, given, err := ws.replay(tx, w, list)
	if err != nil {
		return err
	}
	if state.main.String() != w.Main {
		return fmt.Errorf("main of the workspace was at %s when it was swept, and would be at %s: %w", w.Main, state.main, errOtherwise)
	}
	if err := ws.linkBlank(tx); err != nil {
		return err
	}
	for _, h := range given {
		if err := ws.giveAgain(tx, h); err != nil {
			return err
		}
	}
	var moves []repo.Move
	for ref, h := range state.refs() {
		moves = append(moves, repo.Moved(ref, plumbing.ZeroHash, h, ""))
	}
	return tx.Land(ctx, moves...)
}

func (ws *Workspaces) giveAgain(tx *repo.Tx, h *delivery) error {
	c, err := ws.openContents(h, 1)
	if err != nil {
		return err
	}
	defer c.close()
	return ws.give(tx, c, "content of "+string(h.Application))
}

// Absent is the directory that answers for a workspace that is not there.
func (ws *Workspaces) Absent(ctx context.Context, r dm.Repository) (string, error) {
	if _, ok := ws.sweeps.of(dm.UserName(r.Name)); !ok {
		return ws.blankDir(), nil
	}
	tx, err := ws.Data.Begin(r, "restore")
	if err != nil {
		return "", err
	}
	defer tx.End()
	if err := ws.restore(ctx, tx, dm.UserName(r.Name)); err != nil {
		return "", repo.Failed("workspace.restore", err)
	}
	if dir := ws.Data.Path(r); repo.Exists(dir) {
		return dir, nil
	}
	return ws.blankDir(), nil
}
