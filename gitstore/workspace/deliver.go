package workspace

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// State is what one workspace repository holds. It is immutable.
type State struct {
	main     plumbing.Hash // zero when the user has no repository yet
	Entries  []object.TreeEntry
	branches map[dm.ApplicationName]Branch // those that were looked at
}

// Branch is the tip of refs/heads/apps/<app>; zero when there is none.
type Branch struct {
	tip  plumbing.Hash
	Tree plumbing.Hash // of the application's folder; zero when it was removed
}

// Folder is the tree that main has for an application.
func (w *State) Folder(app dm.ApplicationName) plumbing.Hash {
	for _, e := range w.Entries {
		if e.Name == string(app) {
			return e.Hash
		}
	}
	return plumbing.ZeroHash
}

// cache remembers the state of workspaces, so that delivering to a
// user costs the same however much the user has. Guarded by the repository's
// lock as far as one user is concerned.
type cache struct{ m sync.Map }

// delivery is what users get of one change of one application.
type delivery struct {
	form.Delivery
	parts map[string]plumbing.Hash // sub-folder → tree; none removes the application's folder
}

// Deliver implements dm.Workspaces.
func (ws *Workspaces) Deliver(ctx context.Context, d dm.Delivery) error {
	const op = "workspace.Deliver"
	h, err := ws.deliveryOf(d)
	if err != nil {
		return repo.Failed(op, err)
	}
	return ws.toUsers(ctx, op, h, d.Users)
}

// deliveryOf makes a delivery ready.
func (ws *Workspaces) deliveryOf(d dm.Delivery) (*delivery, error) {
	h, err := ws.begin(d.Application, d.At)
	if err != nil {
		return nil, err
	}
	h.parts = map[string]plumbing.Hash{}
	dir := ws.Data.Path(repo.Application(d.Application))
	objects := repo.Open(dir)
	root, err := objects.Commit(h.Change)
	if err != nil {
		return nil, err
	}
	for sub, component := range d.Folders {
		e, err := objects.Entry(root.TreeHash, form.ComponentsTree+"/"+string(d.Type)+"/"+string(component))
		if err != nil {
			return nil, err
		}
		h.parts[sub] = e.Hash
	}
	return h, nil
}

// Remove implements dm.Workspaces.
func (ws *Workspaces) Remove(ctx context.Context, app dm.ApplicationName, at dm.Revision, users []dm.UserName) error {
	const op = "workspace.Remove"
	h, err := ws.removed(app, at)
	if err != nil {
		return repo.Failed(op, err)
	}
	return ws.toUsers(ctx, op, h, users)
}

// removed is the delivery that takes an application's folder away.
func (ws *Workspaces) removed(app dm.ApplicationName, at dm.Revision) (*delivery, error) {
	h, err := ws.begin(app, at)
	if err == nil {
		h.Removed = true
	}
	return h, err
}

// begin reads the change on whose behalf users get something.
func (ws *Workspaces) begin(app dm.ApplicationName, at dm.Revision) (*delivery, error) {
	c, err := repo.Open(ws.Data.Path(repo.Application(app))).Commit(plumbing.NewHash(string(at)))
	if err != nil {
		return nil, err
	}
	return &delivery{Delivery: form.DeliveryOf(app, form.ParseChange(c))}, nil
}

// toUsers gives every user the delivery.
func (ws *Workspaces) toUsers(ctx context.Context, op string, h *delivery, users []dm.UserName) error {
	without, err := ws.toEach(ctx, h, users)
	errs := []error{err}
	for _, u := range users {
		if err := without[u]; err != nil && ctx.Err() == nil {
			errs = append(errs, fmt.Errorf("workspace of %s: %w", u, err))
		}
	}
	if ctx.Err() != nil && len(without) > 0 {
		errs = append(errs, interrupted(ctx))
	}
	return repo.Failed(op, errors.Join(errs...))
}

// toEach does so and tells who did not get it and why; one user's failure does not
// keep it from the others. An error is of all.
func (ws *Workspaces) toEach(ctx context.Context, h *delivery, users []dm.UserName) (without map[dm.UserName]error, err error) {
	c, err := ws.openContents(h, len(users))
	if err != nil {
		ws.Service.Suspect(repo.Application(h.Application))
		return nil, err
	}
	defer c.close()
	without = map[dm.UserName]error{}
	for _, u := range users {
		err := ctx.Err()
		if err != nil {
			err = interrupted(ctx)
		} else {
			err = ws.toUser(ctx, h, c, u)
		}
		if err != nil {
			without[u] = err
		}
	}
	return without, nil
}

func interrupted(ctx context.Context) error {
	return dm.Errorf(dm.Unavailable, "workspace.Deliver", "the delivery was interrupted").Because(ctx.Err())
}

// toUser brings the application's branch and then main of one workspace to
// what the delivery says. Each of the two is passed over when it is there.
func (ws *Workspaces) toUser(ctx context.Context, h *delivery, c *contents, u dm.UserName) error {
	tx, err := ws.Data.Begin(repo.Workspace(u), "workspace")
	if err != nil {
		return err
	}
	defer tx.End()
	if err := ws.restore(ctx, tx, u); err != nil {
		return err
	}
	state, err := ws.workspace(u, h.Application)
	if err != nil {
		return err
	}
	if len(h.parts) == 0 && state.main.IsZero() {
		return nil // nothing to take from a user who has nothing
	}
	fresh := tx.Fresh()
	if fresh {
		if err := ws.Room(1); err != nil {
			return err
		}
		if err := ws.fromBlank(tx, state); err != nil {
			return err
		}
	}
	w, err := tx.Objects()
	if err != nil {
		return err
	}
	next, err := h.build(w, state)
	if err != nil {
		return err
	}
	if next.same(state, h.Application) {
		return nil
	}
	if err := ws.give(tx, c, "content of "+string(h.Application)); err != nil {
		ws.Service.Suspect(repo.Application(h.Application))
		return err
	}
	// A crash between the two is mended when the change is dispatched again.
	var moves []repo.Move
	if old, tip := state.branches[h.Application].tip, next.branches[h.Application].tip; old != tip {
		moves = append(moves, repo.Before(repo.App(h.Application), old, tip, "workspace-branch"))
	}
	if next.main != state.main || fresh {
		moves = append(moves, repo.Moved(repo.Main, state.main, next.main, "workspace-main"))
	}
	if err := tx.Land(ctx, moves...); err != nil {
		return err
	}
	if fresh {
		ws.people.add()
	}
	ws.users.m.Store(u, next)
	return nil
}

// same tells whether nothing has to move.
func (w *State) same(old *State, app dm.ApplicationName) bool {
	return w.main == old.main && w.branches[app] == old.branches[app]
}

// build writes what is missing into w and returns the state that it leads to.
func (h *delivery) build(w *pack.Writer, old *State) (*State, error) {
	tree, err := h.folder(w)
	if err != nil {
		return nil, err
	}
	next := *old
	next.branches = maps.Clone(old.branches)
	if b := old.branches[h.Application]; b.Tree != tree {
		tip, err := h.commit(w, b.tip, []object.TreeEntry{{Name: string(h.Application), Mode: filemode.Dir, Hash: tree}})
		if err != nil {
			return nil, err
		}
		next.branches[h.Application] = Branch{tip, tree}
	}
	if old.Folder(h.Application) != tree {
		next.Entries = slices.DeleteFunc(slices.Clone(old.Entries), func(e object.TreeEntry) bool { return e.Name == string(h.Application) })
		next.Entries = append(next.Entries, object.TreeEntry{Name: string(h.Application), Mode: filemode.Dir, Hash: tree})
		if next.main, err = h.commit(w, old.main, next.Entries); err != nil {
			return nil, err
		}
		next.Entries = slices.DeleteFunc(next.Entries, func(e object.TreeEntry) bool { return e.Hash.IsZero() })
	}
	return &next, nil
}

// folder is the tree of the application's folder: the component's own tree, or
// one that has a sub-folder for each component.
func (h *delivery) folder(w *pack.Writer) (plumbing.Hash, error) {
	if whole, ok := h.parts[""]; ok || len(h.parts) == 0 {
		return whole, nil
	}
	b := repo.NewTree()
	for sub, tree := range h.parts {
		b.Set(sub, filemode.Dir, repo.Known(tree))
	}
	return b.Write(w)
}

// commit writes a tree of entries, leaving out those without an object, and a
// commit on it.
func (h *delivery) commit(w *pack.Writer, parent plumbing.Hash, entries []object.TreeEntry) (plumbing.Hash, error) {
	top := repo.NewTree()
	for _, e := range entries {
		if !e.Hash.IsZero() {
			top.Set(e.Name, e.Mode, repo.Known(e.Hash))
		}
	}
	tree, err := top.Write(w)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	d := h.Delivery
	d.Tree, d.Before = tree, parent
	err = d.Encode(w)
	return d.Commit, err
}

// workspace returns the state of a user's repository, with the branch of app.
// The caller holds the repository's lock.
func (ws *Workspaces) workspace(u dm.UserName, app dm.ApplicationName) (*State, error) {
	dir := ws.Data.Path(repo.Workspace(u))
	if !repo.Exists(dir) {
		return &State{branches: map[dm.ApplicationName]Branch{}}, nil
	}
	cached, ok := ws.users.m.Load(u)
	state, _ := cached.(*State)
	if !ok {
		var err error
		if state, err = Read(dir); err != nil {
			return nil, err
		}
	}
	if _, ok := state.branches[app]; ok {
		return state, nil
	}
	b, err := ReadBranch(dir, app)
	if err != nil {
		return nil, err
	}
	next := *state
	next.branches = maps.Clone(state.branches)
	next.branches[app] = b
	return &next, nil
}

// Read reads main of the workspace in dir.
func Read(dir string) (*State, error) {
	main, err := repo.ReadRef(dir, repo.Main)
	if err != nil {
		return nil, err
	}
	objects := repo.Open(dir)
	c, err := objects.Commit(main)
	if err != nil {
		return nil, err
	}
	t, err := objects.Tree(c.TreeHash)
	if err != nil {
		return nil, err
	}
	return &State{main: main, Entries: t.Entries, branches: map[dm.ApplicationName]Branch{}}, nil
}

// ReadBranch reads what an application delivered to the workspace in dir.
func ReadBranch(dir string, app dm.ApplicationName) (Branch, error) {
	tip, err := repo.ReadRef(dir, repo.App(app))
	if err != nil || tip.IsZero() {
		return Branch{}, err
	}
	objects := repo.Open(dir)
	c, err := objects.Commit(tip)
	if err != nil {
		return Branch{}, err
	}
	b := Branch{tip: tip}
	e, err := objects.Entry(c.TreeHash, string(app))
	switch {
	case errors.Is(err, object.ErrEntryNotFound), errors.Is(err, object.ErrDirectoryNotFound):
		return b, nil
	case err != nil:
		return b, err
	}
	b.Tree = e.Hash
	return b, nil
}

// fromBlank starts a new workspace at the blank one's tip, so that a clone
// made before the first delivery fast-forwards to it.
func (ws *Workspaces) fromBlank(tx *repo.Tx, state *State) error {
	state.main, state.Entries = ws.blank.main, ws.blank.Entries
	return ws.linkBlank(tx)
}

// linkBlank gives tx the objects of the blank workspace.
func (ws *Workspaces) linkBlank(tx *repo.Tx) error {
	packs, err := repo.Packs(ws.blankDir())
	if err != nil {
		return err
	}
	for _, path := range packs {
		if err := tx.Link(path); err != nil {
			return err
		}
	}
	return nil
}
