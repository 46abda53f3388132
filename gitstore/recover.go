package gitstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"golang.org/x/sync/errgroup"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// recover reads every repository into the index. One that is proved to be
// damaged is set aside, and one that can't be read now is looked at again; each is
// out of service alone.
func (s *Store) recover(ctx context.Context) error {
	const op = "gitstore.Open"
	if err := s.findBlank(ctx); err != nil {
		return repo.Failed(op, err)
	}
	if err := s.patiently(ctx, "the record of sweeps", func() error { return s.openSweeps(ctx) }); err != nil {
		s.Log.Error("the record of sweeps cannot be read, so swept workspaces are empty for now", "err", err)
	}
	for _, kind := range s.data.Many() {
		if err := s.patiently(ctx, "the folder "+repo.DamagedDir, func() error { return s.service.ReadNotes(kind) }); err != nil {
			return repo.Failed(op, err)
		}
		err := s.patiently(ctx, "the folder "+string(kind), func() error { return s.eachBeside(ctx, kind, s.service.ReadFirst) })
		if err != nil {
			return repo.Failed(op, err)
		}
		if err := s.patiently(ctx, "the folder "+string(kind), func() error { return s.service.MarkAbsent(kind) }); err != nil {
			return repo.Failed(op, err)
		}
	}
	s.markUnpublished()
	if err := s.patiently(ctx, "the folder "+repo.TmpDir, s.data.RemoveUnlanded); err != nil {
		return repo.Failed(op, err)
	}
	// Workspaces are derived: those that can't be rebuilt now must not keep
	// everybody from everything.
	if err := s.rebuildWorkspaces(ctx); err != nil {
		s.Log.Error("some workspaces could not be rebuilt", "err", err)
	}
	return repo.Failed(op, ctx.Err())
}

// eachBeside calls do for every repository of a kind, for several at a time: half
// of the work is waiting for the kernel, and none depends on another. The first
// error ends the rest.
func (s *Store) eachBeside(ctx context.Context, kind dm.RepositoryKind, do func(context.Context, dm.Repository) error) error {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	err := s.data.Each(inner, kind, func(r dm.Repository) error {
		group.Go(func() error { return do(inner, r) })
		return nil
	})
	// Why the group ended says more than that each was ended by it.
	return cmp.Or(group.Wait(), err)
}

// served is the record as the Service sees it.
type served struct{ s *Store }

// Recover implements ServiceRecord.
func (v served) Recover(ctx context.Context, r dm.Repository) error {
	s, dir := v.s, v.s.data.Path(r)
	if err := s.data.Clean(ctx, dir); err != nil {
		return err
	}
	heads, err := repo.ReadRefs(dir)
	if err != nil {
		return err
	}
	found, err := s.service.Contradicted(ctx, r, repo.Open(dir), heads)
	if err != nil {
		return err
	}
	err = kindOf(r).recover(s, ctx, r.Name, dir, heads)
	if len(found) > 0 {
		return repair.LostRef(found)
	}
	if err == nil {
		s.data.Adopt(r, heads)
	}
	return err
}

// Forget implements ServiceRecord.
func (v served) Forget(r dm.Repository) {
	v.s.index.forget(r)
	if r.Kind == dm.WorkspaceRepository {
		v.s.users.m.Delete(dm.UserName(r.Name))
	}
}

// Resume implements ServiceRecord: an application's change is carried out, and
// main of a package is where the tags have it.
func (v served) Resume(r dm.Repository) error {
	if e := v.s.index.app(dm.ApplicationName(r.Name)); r.Kind == dm.ApplicationRepository && e != nil && e.working() {
		v.s.wake(dm.ApplicationName(r.Name))
	}
	if owes, err := v.s.owesMain(r); err != nil || owes {
		return cmp.Or(err, errors.New("main of the package could not be moved"))
	}
	return nil
}

// Rebuild implements ServiceRecord.
func (v served) Rebuild(ctx context.Context) error { return v.s.rebuildWorkspaces(ctx) }

// Redeliver implements ServiceRecord.
func (v served) Redeliver(ctx context.Context, app dm.ApplicationName) { v.s.redeliver(ctx, app) }

// recoverPackage reads the tags and outcomes of one package. It fails after that
// when they tell of refs that are gone.
func (s *Store) recoverPackage(ctx context.Context, text string, dir string, heads repo.Refs) error {
	name, err := dm.ParsePackageName(text)
	if err != nil {
		return repo.Broken(".", "the folder is not named for a package: %s", dm.Public(err))
	}
	objects := repo.Open(dir)
	entry := &packageEntry{main: heads[repo.Main], outcomes: map[dm.Version]outcomeEntry{}}
	var newest form.Version
	after := map[plumbing.Hash]plumbing.Hash{} // commit of an upload → commit of the next
	for ref, h := range heads {
		switch text, v, err := versionOf(ref); {
		case text == "":
			continue
		case err != nil:
			return repo.Broken(ref, "it is not a version")
		case text == repo.TagPrefix:
			u, gone, err := form.DecodeVersion(objects, dm.PackageRef{Name: name, Version: v}, h)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", ref, err)
			case gone != nil:
				return repo.Broken(ref, "it is a withdrawal")
			}
			after[u.Before] = u.Commit
			entry.versions = append(entry.versions, newVersionEntry(u))
			if newest.Time.Before(u.Time) {
				newest = u
			}
		default:
			c, err := objects.Commit(h)
			if err != nil {
				return fmt.Errorf("%s: %w", ref, err)
			}
			if _, err := objects.Tree(c.TreeHash); err != nil {
				return fmt.Errorf("%s: %w", ref, err)
			}
			o := newOutcomeEntry(form.DecodeDecision(c))
			if o.tree == repo.EmptyTree {
				if o.once, err = hadFiles(objects, c); err != nil {
					return fmt.Errorf("%s: %w", ref, err)
				}
			}
			entry.outcomes[v] = o
		}
	}
	slices.SortFunc(entry.versions, func(a, b versionEntry) int { return b.file.Ref.Version.Compare(a.file.Ref.Version) })
	gaps, err := gapsOfPackage(objects, name, entry, heads, after)
	if err != nil {
		return err
	}
	if len(gaps) == 0 {
		s.mendMain(ctx, name, entry, newest.Commit, after)
	}
	if err := entry.readPast(objects, name, heads); err != nil {
		return err
	}
	s.index.putPackage(name, entry)
	return repair.LostRef(gaps)
}

// versionOf reads refs/tags/<v> and refs/deployed/<v>; prefix is "" for others.
func versionOf(ref string) (prefix string, v dm.Version, err error) {
	for _, p := range [...]string{repo.TagPrefix, repo.DeployedPrefix} {
		if text, ok := strings.CutPrefix(ref, p); ok {
			v, err = dm.ParseVersion(text)
			return p, v, err
		}
	}
	return "", v, nil
}

// mendMain moves main on when a crash came between a tag and main: to the
// upload that follows the one that main has. A missing main becomes the newest
// by its time; otherwise times, which a wrong clock may have made, do not count.
func (s *Store) mendMain(ctx context.Context, name dm.PackageName, entry *packageEntry, newest plumbing.Hash, after map[plumbing.Hash]plumbing.Hash) {
	main := entry.main
	if main.IsZero() {
		main = newest
	}
	for next, ok := after[main]; ok && !main.IsZero(); next, ok = after[main] {
		main = next
	}
	if main == entry.main {
		return
	}
	s.moveMain(ctx, name, main)
	entry.main = main
}

// recoverApplication reads desired and observed of one application and writes
// the numbers of deployments that are missing. It fails after that when they
// tell of refs that are gone or were set back.
func (s *Store) recoverApplication(ctx context.Context, name string, dir string, heads repo.Refs) error {
	app, err := dm.ParseApplicationName(name)
	if err != nil {
		return repo.Broken(".", "the folder is not named for an application: %s", dm.Public(err))
	}
	if heads[repo.Main].IsZero() {
		return repo.Broken(repo.Main, "it is missing")
	}
	objects := repo.Open(dir)
	e := &appEntry{main: heads[repo.Main], observedTip: heads[repo.Observed]}
	if e.desired, e.last, err = readContent(objects, e.main); err != nil {
		return fmt.Errorf("%s: %w", repo.Main, err)
	}
	if e.desired.spec.Name != app {
		return repo.Broken(repo.Main, "%s names the application %q", form.SpecFile, e.desired.spec.Name)
	}
	if !e.observedTip.IsZero() {
		o, err := form.DecodeOutcome(objects, e.observedTip)
		if err != nil {
			return fmt.Errorf("%s: %w", repo.Observed, err)
		}
		e.observed = placed(o.Observation)
	}
	if e.observed != nil && e.observed.Effective != "" {
		if e.effective, _, err = readContent(objects, plumbing.NewHash(string(e.observed.Effective))); err != nil {
			return err
		}
	}
	if err := cmp.Or(e.number(ctx, objects, &e.desired), e.number(ctx, objects, &e.effective)); err != nil {
		return err
	}
	if e.deployments, err = s.mendNumbers(ctx, objects, dir, e.main, heads); err != nil {
		return err
	}
	gaps, err := gapsOfApplication(ctx, objects, e, heads)
	if err != nil {
		return err
	}
	e.slim()
	s.index.putApp(app, e)
	return repair.LostRef(gaps)
}

// readContent reads one commit of an application's main.
func readContent(objects *repo.Objects, h plumbing.Hash) (contentEntry, dm.Stamp, error) {
	c, err := form.DecodeChange(objects, h)
	return newContentEntry(c), c.Stamp, err
}

// mendNumbers compares refs/deployments with the trailers on main and writes
// what is missing; it walks back only as far as numbers are missing.
func (s *Store) mendNumbers(ctx context.Context, objects *repo.Objects, dir string, main plumbing.Hash, heads repo.Refs) (highest int, err error) {
	have := 0
	for ref := range heads {
		if strings.HasPrefix(ref, repo.DeploymentPrefix) {
			have++
		}
	}
	var missing []gitcmd.RefUpdate
	for h := main; !h.IsZero(); {
		c, err := objects.Commit(h)
		if err != nil {
			return 0, err
		}
		change := form.ParseChange(c)
		if n := change.Made(); n > 0 {
			highest = max(highest, n)
			if heads[repo.Deployment(n)].IsZero() {
				missing = append(missing, repo.Update(repo.Deployment(n), plumbing.ZeroHash, h))
			}
			if have+len(missing) >= highest {
				break
			}
		}
		h = change.Before
	}
	if err := s.data.MoveRefs(ctx, dir, missing...); err != nil {
		s.Log.Error("numbers of deployments could not be written", "repository", filepath.Base(dir), "err", err) // a full disk is no damage
	}
	return highest, nil
}

// recoverWorkspace proves that every ref of a workspace leads to a tree.
func (s *Store) recoverWorkspace(_ context.Context, user, dir string, heads repo.Refs) error {
	if heads[repo.Main].IsZero() {
		return repo.Broken(repo.Main, "it is missing")
	}
	s.users.m.Delete(dm.UserName(user))
	objects := repo.Open(dir)
	for ref, h := range heads {
		c, err := objects.Commit(h)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		t, err := objects.Tree(c.TreeHash)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		if err := checkFolders(objects, t); err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
	}
	return nil
}

// checkFolders opens the tree of every application's folder.
func checkFolders(objects *repo.Objects, t *object.Tree) error {
	for _, e := range t.Entries {
		if e.Mode == filemode.Dir {
			if _, err := objects.Tree(e.Hash); err != nil {
				return err
			}
		}
	}
	return nil
}
