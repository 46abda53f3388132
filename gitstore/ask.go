package gitstore

import (
	"cmp"
	"context"

	"runtime"
	"time"

	dm "github.com/pndaproject/deployment-manager"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sync/errgroup"

	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/past"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// The questions of dm.History are answered by gitstore/past, from the tips that
// the index has.

// ApplicationHistory implements dm.History. Every change but the newest,
// and those that it came in the place of, has an outcome.
func (s *Store) ApplicationHistory(ctx context.Context, app dm.ApplicationName, page dm.Page) (list dm.ChangePage, err error) {
	const op = "gitstore.ApplicationHistory"
	leave, err := s.gates.Readers.Enter(ctx)
	if err != nil {
		return list, err
	}
	defer leave()
	err = s.withApplicationPast(ctx, op, app, func(p *past.Application) (err error) {
		list, err = p.Page(op, app, page)
		return err
	})
	return list, err
}

// withApplicationPast calls do with the history of an application.
func (s *Store) withApplicationPast(ctx context.Context, op string, app dm.ApplicationName, do func(*past.Application) error) error {
	r := repo.Application(app)
	if err := s.service.Sound(r); err != nil {
		return err
	}
	e := s.index.Application(app)
	if e == nil {
		return dm.Errorf(dm.NotFound, op, "no application %s, now or in the past", app)
	}
	return repo.Failed(op, s.pasts.Application(ctx, r, s.data.Path(r), e.Main, e.ObservedTip, do))
}

// ApplicationOwner implements dm.Owners. It reads the history of the application
// when it is asked for the first time, so nothing that is polled asks it.
func (s *Store) ApplicationOwner(ctx context.Context, app dm.ApplicationName) (on dm.Resource, since int, err error) {
	const op = "gitstore.ApplicationOwner"
	err = s.withApplicationPast(ctx, op, app, func(p *past.Application) error {
		e := s.index.Application(app)
		if e == nil { // set aside meanwhile
			return dm.Errorf(dm.Unavailable, op, "the repository of %s was set aside", app)
		}
		spec := e.Current().Spec
		on = dm.Resource{Name: string(app), Owner: spec.Owner, Audience: spec.Audience}
		since = p.Since(spec.Owner)
		return nil
	})
	return on, since, err
}

// ApplicationDiff implements dm.History.
func (s *Store) ApplicationDiff(ctx context.Context, app dm.ApplicationName, from, to int) (dm.Difference, error) {
	const op = "gitstore.ApplicationDiff"
	leave, err := s.gates.Readers.Enter(ctx)
	if err != nil {
		return dm.Difference{}, err
	}
	defer leave()
	var revisions [2]plumbing.Hash
	err = s.withApplicationPast(ctx, op, app, func(p *past.Application) (err error) {
		revisions, err = p.Compared(op, app, from, to)
		return err
	})
	if err != nil {
		return dm.Difference{}, err
	}
	d, err := past.Deployments(ctx, s.git, s.data.Path(repo.Application(app)), revisions)
	return d, repo.Failed(op, err)
}

// PackageHistory implements dm.History. Uploads and withdrawals have no
// outcome: they are done when they are recorded.
func (s *Store) PackageHistory(ctx context.Context, name dm.PackageName, page dm.Page) (dm.ChangePage, error) {
	const op = "gitstore.PackageHistory"
	leave, err := s.gates.Readers.Enter(ctx)
	if err != nil {
		return dm.ChangePage{}, err
	}
	defer leave()
	var list dm.ChangePage
	err = s.withPackagePast(ctx, op, name, func(p *past.Package) (err error) {
		list, err = p.Page(op, name, page)
		return err
	})
	return list, err
}

// withPackagePast is withApplicationPast for a package.
func (s *Store) withPackagePast(ctx context.Context, op string, name dm.PackageName, do func(*past.Package) error) error {
	r := repo.Package(name)
	if err := s.service.Sound(r); err != nil {
		return err
	}
	entry := s.index.Package(name)
	if entry == nil {
		return dm.Errorf(dm.NotFound, op, "no package %s, now or in the past", name)
	}
	tips := past.Tips{State: entry}
	for _, v := range entry.Versions {
		tips.Tags = append(tips.Tags, v.Tag)
	}
	for _, o := range entry.Outcomes {
		tips.Outcomes = append(tips.Outcomes, o.Commit)
	}
	return repo.Failed(op, s.pasts.Package(ctx, r, s.data.Path(r), tips, do))
}

// PackageDiff implements dm.History.
func (s *Store) PackageDiff(ctx context.Context, name dm.PackageName, from, to dm.Version) (dm.Difference, error) {
	const op = "gitstore.PackageDiff"
	leave, err := s.gates.Readers.Enter(ctx)
	if err != nil {
		return dm.Difference{}, err
	}
	defer leave()
	r := repo.Package(name)
	if err := s.service.Sound(r); err != nil {
		return dm.Difference{}, err
	}
	entry := s.index.Package(name)
	if entry == nil || len(entry.Versions) == 0 {
		return dm.Difference{}, dm.Errorf(dm.NotFound, op, "no published version of %s", name)
	}
	var sides [2]form.Version
	for i, v := range [...]dm.Version{from, to} {
		var ok bool
		if sides[i], ok = entry.Version(v); !ok {
			return dm.Difference{}, dm.Errorf(dm.NotFound, op, "no published version %s of %s", v, name).
				WithHint("published versions are %s", entry.List())
		}
	}
	side := func(v form.Version) dm.Side {
		return dm.Side{Revision: dm.Revision(v.Tag.String()), Package: v.File.Ref}
	}
	dir := s.data.Path(r)
	d, err := past.Versions(ctx, s.git, dir, side(sides[0]), side(sides[1]), [2]plumbing.Hash{sides[0].Tree, sides[1].Tree})
	return d, repo.Failed(op, err)
}

// At implements dm.History. An application whose newest outcome is older than
// the instant is answered from the index; the others' histories are read once,
// several at a time. keep is asked with the present owner before anything is
// read, and once more when the owner was another one then: only what both allow
// is told.
func (s *Store) At(ctx context.Context, at time.Time, keep func(dm.ApplicationName, dm.UserName) bool) ([]dm.Then, error) {
	leave, err := s.gates.Readers.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	names := s.index.Names(func(e *index.Application) bool { return e.Observed != nil })
	found := make([]*dm.Then, len(names))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i, app := range names {
		e := s.index.Application(app)
		if e == nil || !keep(app, e.Current().Spec.Owner) { // nil when set aside meanwhile
			continue
		}
		var known bool
		if found[i], known = e.Then(app, at); known {
			continue
		}
		group.Go(func() (err error) {
			found[i], err = s.readThen(inner, app, at)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, repo.Failed("gitstore.At", cmp.Or(ctx.Err(), err))
	}
	list := []dm.Then{}
	for _, then := range found {
		if then == nil {
			continue
		}
		if e := s.index.Application(then.Application); e != nil && (e.Current().Spec.Owner == then.Owner || keep(then.Application, then.Owner)) {
			list = append(list, *then)
		}
	}
	return list, nil
}

// readThen asks the history what was in effect at an instant, nil for nothing.
func (s *Store) readThen(ctx context.Context, app dm.ApplicationName, at time.Time) (then *dm.Then, err error) {
	err = s.withApplicationPast(ctx, "gitstore.At", app, func(p *past.Application) error {
		then = p.Then(app, at)
		return nil
	})
	if dm.KindOf(err) == dm.Unavailable && s.service.Sound(repo.Application(app)) != nil {
		return nil, nil // set aside meanwhile
	}
	return then, err
}
