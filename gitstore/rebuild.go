package gitstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
)

func (s *Store) blankDir() string { return filepath.Join(s.dir, blankRepo) }

// openBlank reads the workspace of a user who has nothing, and makes or
// refreshes it when the server's README is another.
func (s *Store) openBlank(ctx context.Context) error {
	dir := s.blankDir()
	if !exists(dir) {
		return s.makeBlank(ctx)
	}
	if err := clean(dir); err != nil {
		return err
	}
	state, err := readWorkspace(dir)
	if err != nil {
		return fmt.Errorf("the blank workspace: %w", err)
	}
	s.blank = *state
	if len(state.entries) == 1 && state.entries[0].Hash == plumbing.ComputeHash(plumbing.BlobObject, s.Readme) {
		return nil
	}
	c, err := (&change{s: s, target: dir, dir: dir}).open()
	if err != nil {
		return err
	}
	defer c.discard()
	return s.writeBlank(ctx, c)
}

const (
	readmeFile   = "README.ipynb"
	blankMessage = "Explain this repository\n" // of each commit of the blank workspace
)

func (s *Store) makeBlank(ctx context.Context) error {
	c, err := s.beginAside(s.blankDir())
	if err != nil {
		return err
	}
	defer c.discard()
	return s.writeBlank(ctx, c)
}

// writeBlank commits the README. A workspace that was made before keeps the
// one that it has.
func (s *Store) writeBlank(ctx context.Context, c *change) error {
	blob, err := c.pack.Add(plumbing.BlobObject, s.Readme)
	if err != nil {
		return err
	}
	top := newTreeBuilder()
	top.set(readmeFile, filemode.Regular, known(blob))
	tree, err := top.write(c.pack)
	if err != nil {
		return err
	}
	tip, err := addCommit(c.pack, serverSignature(s.now()), tree, blankMessage, s.blank.main)
	if err != nil {
		return err
	}
	if _, err := c.pack.Commit("blank workspace"); err != nil {
		return err
	}
	if err := c.put(ctx, mainRef, s.blank.main, tip); err != nil {
		return err
	}
	s.blank = workspaceState{main: tip, entries: []object.TreeEntry{{Name: readmeFile, Mode: filemode.Regular, Hash: blob}}}
	return nil
}

// rebuildWorkspaces delivers anew to users whose workspace was set aside or is
// missing, from the outcomes that applications recorded, in the order of their
// time.
func (s *Store) rebuildWorkspaces(ctx context.Context) error {
	lost := s.lostWorkspaces()
	if len(lost) == 0 {
		return nil
	}
	deliveries, unread := s.deliveries(lost)
	s.index.mu.Lock()
	for u := range lost {
		delete(s.index.damaged, workspaceRepository(u))
	}
	s.index.mu.Unlock()
	errs := []error{unread}
	for _, d := range deliveries {
		errs = append(errs, d.again(ctx, s))
	}
	s.Log.Warn("workspaces were rebuilt from the applications' records", "users", len(lost))
	return errors.Join(errs...)
}

func (s *Store) lostWorkspaces() map[dm.UserName]bool {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	lost := map[dm.UserName]bool{}
	for r := range s.index.damaged {
		if r.Kind == dm.WorkspaceRepository {
			lost[dm.UserName(r.Name)] = true
		}
	}
	for _, e := range s.index.apps {
		if e.observed == nil {
			continue
		}
		for _, r := range e.observed.Records {
			for _, u := range r.Users {
				if !exists(s.repositoryDir(workspaceRepository(u))) {
					lost[u] = true
				}
			}
		}
	}
	return lost
}

// redelivery is one recorded outcome for one lost workspace.
type redelivery struct {
	app  dm.ApplicationName
	o    *dm.Observation
	user dm.UserName
	gone bool // the outcome took the application away from the user
}

// again repeats what the outcome's plugin asked of the workspace.
func (d redelivery) again(ctx context.Context, s *Store) error {
	handouts, err := d.handouts(s)
	if err != nil {
		return err
	}
	for _, h := range handouts {
		if err := s.toUsers(ctx, "gitstore.rebuild", h, []dm.UserName{d.user}); err != nil {
			return err
		}
	}
	return nil
}

// handouts is what the outcome's plugin asked of the workspace.
func (d redelivery) handouts(s *Store) ([]*handout, error) {
	if d.gone {
		h, err := s.removed(d.app, d.o.Desired)
		return []*handout{h}, err
	}
	var list []*handout
	for _, r := range d.o.Records {
		if len(r.Users) == 0 {
			continue
		}
		folders := map[string]dm.ComponentName{}
		for _, c := range r.Components {
			sub := string(c.Name)
			if len(r.Components) == 1 {
				sub = ""
			}
			folders[sub] = c.Name
		}
		h, err := s.delivered(dm.Delivery{Application: d.app, At: d.o.Desired, Type: r.Type, Folders: folders})
		if err != nil {
			return nil, err
		}
		list = append(list, h)
	}
	return list, nil
}

// deliveries walks the outcomes of every application, oldest first. The error
// tells of applications whose outcomes can't be read; the others' are returned.
func (s *Store) deliveries(lost map[dm.UserName]bool) ([]redelivery, error) {
	var list []redelivery
	var errs []error
	for _, app := range s.index.appNames(func(e *appEntry) bool { return e.observed != nil }) {
		history, err := s.outcomes(app)
		if err != nil {
			errs = append(errs, fmt.Errorf("outcomes of %s: %w", app, err))
			continue
		}
		had := map[dm.UserName]bool{}
		for _, o := range history {
			if o.Effective != "" && o.Effective != o.Desired {
				continue // a failure changed nothing
			}
			has := map[dm.UserName]bool{}
			for _, r := range o.Records {
				for _, u := range r.Users {
					has[u] = lost[u]
				}
			}
			for u := range lost {
				if has[u] || had[u] {
					list = append(list, redelivery{app: app, o: o, user: u, gone: !has[u]})
				}
			}
			had = has
		}
	}
	slices.SortStableFunc(list, func(a, b redelivery) int {
		if c := a.o.Time.Compare(b.o.Time); c != 0 {
			return c
		}
		return strings.Compare(string(a.user), string(b.user))
	})
	return list, errors.Join(errs...)
}

// outcomes reads the history of refs/observed/head, oldest first.
func (s *Store) outcomes(app dm.ApplicationName) ([]*dm.Observation, error) {
	repo := openObjects(s.repositoryDir(applicationRepository(app)))
	var list []*dm.Observation
	for h := s.index.app(app).observedTip; !h.IsZero(); {
		o, err := readObservation(repo, h)
		if err != nil {
			return nil, err
		}
		list = append(list, o)
		c, err := repo.commit(h)
		if err != nil {
			return nil, err
		}
		h = parentOf(c)
	}
	slices.Reverse(list)
	return list, nil
}
