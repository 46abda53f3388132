package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

func (s *Workspaces) blankDir() string { return s.Data.Path(repo.Blank) }

// openBlank reads the workspace of a user who has nothing, and makes or
// refreshes it when the server's README is another.
func (s *Workspaces) openBlank(ctx context.Context) error {
	dir := s.blankDir()
	if !repo.Exists(dir) {
		return s.writeBlank(ctx)
	}
	if err := s.Data.Clean(ctx, dir); err != nil {
		return err
	}
	state, err := Read(dir)
	if err != nil {
		return fmt.Errorf("the blank workspace: %w", err)
	}
	s.blank = *state
	if len(state.Entries) == 1 && state.Entries[0].Hash == plumbing.ComputeHash(plumbing.BlobObject, s.Readme) {
		return nil
	}
	if err := s.writeBlank(ctx); err != nil {
		s.Log.Error("the README of new workspaces cannot be written and stays as it was", "err", err)
	}
	return ctx.Err()
}

const (
	ReadmeFile   = "README.ipynb"
	BlankMessage = "Explain this repository\n" // of each commit of the blank workspace
)

// writeBlank commits the README. A workspace that was made before keeps the
// one that it has.
func (s *Workspaces) writeBlank(ctx context.Context) error {
	tx, err := s.Data.Begin(repo.Blank, "blank")
	if err != nil {
		return err
	}
	defer tx.End()
	tx.Keep = "blank workspace"
	w, err := tx.Objects()
	if err != nil {
		return err
	}
	blob, err := w.Add(plumbing.BlobObject, s.Readme)
	if err != nil {
		return err
	}
	top := repo.NewTree()
	top.Set(ReadmeFile, filemode.Regular, repo.Known(blob))
	tree, err := top.Write(w)
	if err != nil {
		return err
	}
	tip, err := form.AddCommit(w, form.ServerSignature(s.Clock().UTC()), tree, BlankMessage, s.blank.main)
	if err != nil {
		return err
	}
	if err := tx.Land(ctx, repo.Moved(repo.Main, s.blank.main, tip, "blank-moved")); err != nil {
		return err
	}
	s.blank = State{main: tip, Entries: []object.TreeEntry{{Name: ReadmeFile, Mode: filemode.Regular, Hash: blob}}}
	return nil
}

// Rebuild delivers anew to users whose workspace was set aside or is
// missing, from the outcomes that applications recorded, in the order of their
// time. A workspace that could not be rebuilt whole, for want of something that
// comes back, is out of service until it can be.
func (s *Workspaces) Rebuild(ctx context.Context) error {
	s.rebuilding.Lock()
	defer s.rebuilding.Unlock()
	users, err := s.lostWorkspaces()
	if len(users) == 0 || err != nil {
		return err
	}
	if s.Service.UnreadApps() {
		err := errors.New("an application that may have delivered to it cannot be read now")
		for u := range users {
			s.postpone(u, err)
		}
		return err
	}
	due, unread := s.owedTo(users)
	for u := range users {
		s.Service.BringBack(repo.Workspace(u))
	}
	errs := []error{unread}
	half := map[dm.UserName]bool{}
	for _, d := range due {
		d.users = slices.DeleteFunc(d.users, func(u dm.UserName) bool { return half[u] })
		for u, err := range d.again(ctx, s) {
			if repo.Proof(repair.Confirm(s.Data.Path(repo.Application(d.app)), err)) == nil {
				half[u] = true
				s.takeBack(u, err)
			}
			errs = append(errs, err)
		}
	}
	s.Log.Warn("workspaces were rebuilt from the applications' records", "users", len(users)-len(half))
	return errors.Join(errs...)
}

// postpone keeps a workspace out of service until it can be rebuilt.
func (s *Workspaces) postpone(u dm.UserName, err error) {
	r := repo.Workspace(u)
	s.Service.Postpone(r, "it could not be rebuilt yet: "+dm.OneLine(err.Error()))
}

// takeBack removes what there is of a workspace that could not be rebuilt
// whole: the next attempt begins anew, with the same commits.
func (s *Workspaces) takeBack(u dm.UserName, err error) {
	s.postpone(u, err)
	r := repo.Workspace(u)
	release := s.Data.Hold(r)
	defer release()
	s.users.m.Delete(u)
	if err := s.Service.MoveAway(r); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Log.Error("an incomplete workspace could not be moved away", "user", u, "err", err)
	}
}

// lostWorkspaces lists the users whose workspace is to be derived anew.
func (s *Workspaces) lostWorkspaces() (map[dm.UserName]bool, error) {
	users := s.Index.Readers()
	for _, r := range s.Service.AwayOf(dm.WorkspaceRepository) {
		users[dm.UserName(r.Name)] = true
	}
	moved, unread := repo.NamesIn(s.Service.DamagedDirOf(dm.WorkspaceRepository))
	for _, name := range moved {
		if _, swept := s.sweeps.of(dm.UserName(name)); !swept {
			users[dm.UserName(name)] = true
		}
	}
	errs := []error{unread}
	for u := range users {
		_, err := os.Lstat(s.Data.Path(repo.Workspace(u)))
		if !errors.Is(err, fs.ErrNotExist) {
			delete(users, u)
			errs = append(errs, err)
		}
	}
	return users, errors.Join(errs...)
}

// Redeliver gives an application that is in service again to those of its users
// whose workspace was rebuilt while it was not. What is there is passed over.
func (s *Workspaces) Redeliver(ctx context.Context, app dm.ApplicationName) {
	e := s.Index.Application(app)
	if e == nil || e.Working() || e.Observed == nil {
		return
	}
	o := *e.Observed
	if o.Effective != "" {
		o.Desired = o.Effective
	}
	for _, r := range e.Observed.Records {
		for u, err := range (owed{app: app, o: &o, users: r.Users}).again(ctx, s) {
			s.Log.Error("an application could not be delivered again", "app", app, "user", u, "err", err)
			s.Service.LookSoon(repo.Workspace(u))
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
func (s *Workspaces) owedTo(lost map[dm.UserName]bool) ([]owed, error) {
	var list []owed
	var errs []error
	for _, app := range s.Index.Names(func(e *index.Application) bool { return e.Observed != nil }) {
		history, err := s.Outcomes(app)
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
func (s *Workspaces) Outcomes(app dm.ApplicationName) ([]*dm.Observation, error) {
	e := s.Index.Application(app)
	if e == nil {
		return nil, fmt.Errorf("the repository of %s was set aside", app)
	}
	objects := repo.Open(s.Data.Path(repo.Application(app)))
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
