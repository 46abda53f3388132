package workspace

import (
	"context"
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
// as can be made again from the record to the last byte of their history, which is
// tried before; they are made again when somebody asks. What was taken stands in a
// record of its own, sweeps.git, before it goes: one commit on main for each sweep,
// with the file swept.json.

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

// emptyWorkspace judges one. Of those that an earlier server made nobody knows where
// their chains began, so they stay.
func (ws *Workspaces) emptyWorkspace(ctx context.Context, r dm.Repository) (w form.Swept, ok bool, err error) {
	dir := ws.Data.Path(r)
	heads, err := repo.ReadRefs(dir)
	if err != nil {
		return w, false, err
	}
	state, err := Read(dir, heads)
	if err != nil || len(state.Entries) != 1 || state.Entries[0].Name != ReadmeFile {
		return w, false, err
	}
	b, err := readBrought(dir, heads)
	if err != nil || len(b.Marks) == 0 {
		return w, false, err
	}
	used := b.Time // also by who asked for a swept one again
	if b.FetchedAt.After(used) {
		used = b.FetchedAt
	}
	if ws.Clock().UTC().Sub(used) < ws.SweepAfter {
		return w, false, err
	}
	w = form.Swept{User: dm.UserName(r.Name), Main: state.main.String(), Began: b.Began.String(), Marks: b.Marks, Seq: b.Seq}
	return w, w.Began != w.Main, nil
}

// repeatable makes each workspace again in memory, and keeps those whose refs come out
// the same.
func (ws *Workspaces) repeatable(ctx context.Context, empty map[dm.UserName]form.Swept) ([]form.Swept, error) {
	var list []form.Swept
	for u, w := range empty {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		there, err := repo.ReadRefs(ws.Data.Path(repo.Workspace(u)))
		if err != nil {
			return nil, err
		}
		delete(there, repo.Brought)
		again, err := ws.Again(u, w.Brought())
		if err != nil || !maps.Equal(there, again) {
			ws.Log.Info("an empty workspace stays, because its history cannot be made again", "user", u, "err", err)
			continue
		}
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b form.Swept) int { return strings.Compare(string(a.User), string(b.User)) })
	return list, nil
}

// Again makes a chain again that began with a blank workspace, and returns the refs
// that it leads to.
func (ws *Workspaces) Again(u dm.UserName, b form.Brought) (repo.Refs, error) {
	st, err := readMain(repo.Open(ws.blankDir()), b.Began)
	if err == nil {
		err = st.replay(&drawing{}, ws, u, b)
	}
	if err != nil {
		return nil, err
	}
	return st.refs(), nil
}

// Blank tells whether a commit is one of the blank workspace.
func (ws *Workspaces) Blank(h plumbing.Hash) bool {
	_, err := repo.Open(ws.blankDir()).Commit(h)
	return err == nil
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
	heads, err := repo.ReadRefs(dir)
	if err != nil || ws.Service.Sound(r) != nil {
		return err
	}
	if b, err := readBrought(dir, heads); err != nil || b.Seq != w.Seq || len(b.Marks) != len(w.Marks) || b.Main.String() != w.Main {
		return err
	}
	away, err := os.MkdirTemp(ws.Data.Temporary(), "swept-*")
	if err != nil {
		return err
	}
	if err := os.Rename(dir, filepath.Join(away, "repository.git")); err != nil {
		return err
	}
	ws.users.Delete(w.User)
	if err := durable.Sync(filepath.Dir(dir)); err != nil {
		return err
	}
	ws.Data.Step("sweep-taken")
	return os.RemoveAll(away)
}
