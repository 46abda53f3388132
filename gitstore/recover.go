package gitstore

import (
	"cmp"
	"context"
	"errors"
	"runtime"

	"golang.org/x/sync/errgroup"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/programs"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// recover reads every repository into the index. One that is proved to be
// damaged is set aside, and one that can't be read now is looked at again; each is
// out of service alone.
func (s *Store) recover(ctx context.Context) error {
	const op = "gitstore.Open"
	if err := s.workspaces.Start(ctx); err != nil {
		return repo.Failed(op, err)
	}
	for _, kind := range s.data.Many() {
		if err := repair.Patiently(ctx, s.Log, "the folder "+repo.DamagedDir, func() error { return s.service.ReadNotes(kind) }); err != nil {
			return repo.Failed(op, err)
		}
		err := repair.Patiently(ctx, s.Log, "the folder "+string(kind), func() error { return s.eachBeside(ctx, kind, s.service.ReadFirst) })
		if err != nil {
			return repo.Failed(op, err)
		}
		if err := repair.Patiently(ctx, s.Log, "the folder "+string(kind), func() error { return s.service.MarkAbsent(kind) }); err != nil {
			return repo.Failed(op, err)
		}
	}
	s.index.MarkUnpublished(func(ref dm.PackageRef, app dm.ApplicationName) {
		if s.service.Sound(repo.Package(ref.Name)) == nil {
			s.Log.Error("the record of a package is missing", "package", ref, "ref", repo.Deployed(ref.Version), "evidence", "application "+string(app))
		}
	})
	if err := repair.Patiently(ctx, s.Log, "the folder "+repo.TmpDir, s.data.RemoveUnlanded); err != nil {
		return repo.Failed(op, err)
	}
	s.bringTools(ctx)
	return repo.Failed(op, ctx.Err())
}

// bringTools has the repository of the programs for pods hold what lies beside the
// server. Pods have other ways to a program, so no fault of it stops the start.
func (s *Store) bringTools(ctx context.Context) {
	if s.Programs == nil {
		return
	}
	changed, err := programs.Bring(ctx, s.data, s.Programs)
	if err != nil {
		s.Log.Error("the programs for pods could not be brought into "+string(repo.Tools.Kind)+"; the next start tries again", "err", err)
	} else if changed {
		s.Log.Info("the programs for pods are others than before", "repository", repo.Tools.Kind)
	}
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

// served is the record as repair sees it.
type served struct{ s *Store }

// Recover implements repair.Record.
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

// Forget implements repair.Record.
func (v served) Forget(r dm.Repository) {
	v.s.index.Forget(r)
	if r.Kind == dm.WorkspaceRepository {
		v.s.workspaces.Forget(dm.UserName(r.Name))
	}
}

// Resume implements repair.Record: an application's change is carried out, and
// main of a package is where the tags have it.
func (v served) Resume(r dm.Repository) error {
	if e := v.s.index.Application(dm.ApplicationName(r.Name)); r.Kind == dm.ApplicationRepository && e != nil && e.Working() {
		v.s.wake(dm.ApplicationName(r.Name))
	}
	if owes, err := v.s.owesMain(r); err != nil || owes {
		return cmp.Or(err, errors.New("main of the package could not be moved"))
	}
	return nil
}

// recoverPackage reads the tags and outcomes of one package, and moves main on when
// a crash came between a tag and main. It fails after that when they tell of refs
// that are gone.
func (s *Store) recoverPackage(ctx context.Context, text string, dir string, heads repo.Refs) error {
	name, err := dm.ParsePackageName(text)
	if err != nil {
		return repo.Broken(".", "the folder is not named for a package: %s", dm.Public(err))
	}
	entry, gaps, err := index.ReadPackage(repo.Open(dir), name, heads)
	if err != nil {
		return err
	}
	if entry.Main != heads[repo.Main] {
		s.moveMain(ctx, name, entry.Main)
	}
	s.stream.Saw(repo.Package(name), entry.Seq)
	s.index.PutPackage(name, entry)
	return repair.LostRef(gaps)
}

// recoverApplication reads desired and observed of one application and writes
// the numbers of deployments that are missing. It fails after that when they
// tell of refs that are gone or were set back.
func (s *Store) recoverApplication(ctx context.Context, name string, dir string, heads repo.Refs) error {
	app, err := dm.ParseApplicationName(name)
	if err != nil {
		return repo.Broken(".", "the folder is not named for an application: %s", dm.Public(err))
	}
	e, missing, gaps, err := index.ReadApplication(ctx, repo.Open(dir), app, heads)
	if err != nil {
		return err
	}
	if err := s.data.MoveRefs(ctx, dir, missing...); err != nil {
		s.Log.Error("numbers of deployments could not be written", "app", app, "err", err) // a full disk is no damage
	}
	s.stream.Saw(repo.Application(app), e.Seq)
	s.index.PutApp(app, e)
	return repair.LostRef(gaps)
}

// recoverWorkspace proves that every ref of a workspace leads to a tree, and reads how
// far it was brought.
func (s *Store) recoverWorkspace(_ context.Context, user, _ string, heads repo.Refs) error {
	return s.workspaces.Check(dm.UserName(user), heads)
}

// recoverSweeps reads the sweeps again after one that could not be recorded.
func (s *Store) recoverSweeps(ctx context.Context, _, _ string, heads repo.Refs) error {
	return s.workspaces.ReadSweeps(ctx, heads[repo.Main])
}

// applicationAtRest tells of one that was destroyed, packageAtRest of one that was
// never published. There may be many of them, for ever, so they are made as small
// as git allows.
func (s *Store) applicationAtRest(name string) bool {
	e := s.index.Application(dm.ApplicationName(name))
	return e != nil && !e.Working() && e.Settled() == dm.NotCreated
}

func (s *Store) packageAtRest(name string) bool {
	e := s.index.Package(dm.PackageName(name))
	return e != nil && len(e.Versions) == 0
}

// owesMain tells whether main of a package is not where the index has it.
func (s *Store) owesMain(r dm.Repository) (bool, error) {
	if r.Kind != dm.PackageRepository {
		return false, nil
	}
	entry := s.index.Package(dm.PackageName(r.Name))
	if entry == nil {
		return false, nil
	}
	main, err := repo.ReadRef(s.data.Path(r), repo.Main)
	return main != entry.Main, err
}
