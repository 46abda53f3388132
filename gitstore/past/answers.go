package past

import (
	"cmp"
	"context"
	"runtime"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sync/errgroup"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/events"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Config says what Answers are made of.
type Config struct {
	Data    *repo.Folder
	Service *repair.Service
	Index   *index.Index
	Told    *events.Log
	Clock   func() time.Time
	Enter   func(context.Context) (leave func(), err error) // waits for a place to read
}

// Answers answers the questions of dm.History and dm.Owners, from the tips that
// the index has. It is safe for many goroutines.
type Answers struct {
	cfg   Config
	cache cache
}

// NewAnswers returns the answers of one record.
func NewAnswers(cfg Config) *Answers { return &Answers{cfg: cfg} }

// ApplicationHistory implements dm.History. Every change but the newest,
// and those that it came in the place of, has an outcome.
func (a *Answers) ApplicationHistory(ctx context.Context, app dm.ApplicationName, page dm.Page) (list dm.ChangePage, err error) {
	const op = "past.ApplicationHistory"
	leave, err := a.cfg.Enter(ctx)
	if err != nil {
		return list, err
	}
	defer leave()
	err = a.application(ctx, op, app, func(p *applicationPast) (err error) {
		list, err = p.page(op, app, page)
		return err
	})
	return list, err
}

// application calls do with the history of an application.
func (a *Answers) application(ctx context.Context, op string, app dm.ApplicationName, do func(*applicationPast) error) error {
	r := repo.Application(app)
	if err := a.cfg.Service.Sound(r); err != nil {
		return err
	}
	e := a.cfg.Index.Application(app)
	if e == nil {
		return dm.Errorf(dm.NotFound, op, "no application %s, now or in the past", app)
	}
	return repo.Failed(op, a.cache.ofApplication(ctx, r, a.cfg.Data.Path(r), e.Main, e.ObservedTip, do))
}

// PackageOwner implements dm.Owners.
func (a *Answers) PackageOwner(name dm.PackageName) dm.UserName {
	if e := a.cfg.Index.Package(name); e != nil {
		return e.Owner
	}
	return ""
}

// ApplicationOwner implements dm.Owners. It reads the history of the application
// when it is asked for the first time, so nothing that is polled asks it.
func (a *Answers) ApplicationOwner(ctx context.Context, app dm.ApplicationName) (on dm.Resource, since int, err error) {
	const op = "past.ApplicationOwner"
	err = a.application(ctx, op, app, func(p *applicationPast) error {
		e := a.cfg.Index.Application(app)
		if e == nil { // set aside meanwhile
			return dm.Errorf(dm.Unavailable, op, "the repository of %s was set aside", app)
		}
		spec := e.Current().Spec
		on = dm.Resource{Name: string(app), Owner: spec.Owner, Audience: spec.Audience}
		since = p.since(spec.Owner)
		return nil
	})
	return on, since, err
}

// ApplicationDiff implements dm.History.
func (a *Answers) ApplicationDiff(ctx context.Context, app dm.ApplicationName, from, to int) (dm.Difference, error) {
	const op = "past.ApplicationDiff"
	leave, err := a.cfg.Enter(ctx)
	if err != nil {
		return dm.Difference{}, err
	}
	defer leave()
	var revisions [2]plumbing.Hash
	err = a.application(ctx, op, app, func(p *applicationPast) (err error) {
		revisions, err = p.compared(op, app, from, to)
		return err
	})
	if err != nil {
		return dm.Difference{}, err
	}
	d, err := compareDeployments(ctx, a.cfg.Data.Git, a.cfg.Data.Path(repo.Application(app)), revisions)
	return d, repo.Failed(op, err)
}

// PackageHistory implements dm.History. Uploads and withdrawals have no
// outcome: they are done when they are recorded.
func (a *Answers) PackageHistory(ctx context.Context, name dm.PackageName, page dm.Page) (dm.ChangePage, error) {
	const op = "past.PackageHistory"
	leave, err := a.cfg.Enter(ctx)
	if err != nil {
		return dm.ChangePage{}, err
	}
	defer leave()
	var list dm.ChangePage
	err = a.pkg(ctx, op, name, func(p *packagePast) (err error) {
		list, err = p.page(op, name, page)
		return err
	})
	return list, err
}

// pkg is application for a package.
func (a *Answers) pkg(ctx context.Context, op string, name dm.PackageName, do func(*packagePast) error) error {
	r := repo.Package(name)
	if err := a.cfg.Service.Sound(r); err != nil {
		return err
	}
	entry := a.cfg.Index.Package(name)
	if entry == nil {
		return dm.Errorf(dm.NotFound, op, "no package %s, now or in the past", name)
	}
	tips := packageTips{State: entry}
	for _, v := range entry.Versions {
		tips.Tags = append(tips.Tags, v.Tag)
	}
	for _, o := range entry.Outcomes {
		tips.Outcomes = append(tips.Outcomes, o.Commit)
	}
	return repo.Failed(op, a.cache.ofPackage(ctx, a.cfg.Data.Git, r, a.cfg.Data.Path(r), tips, do))
}

// PackageDiff implements dm.History.
func (a *Answers) PackageDiff(ctx context.Context, name dm.PackageName, from, to dm.Version) (dm.Difference, error) {
	const op = "past.PackageDiff"
	leave, err := a.cfg.Enter(ctx)
	if err != nil {
		return dm.Difference{}, err
	}
	defer leave()
	r := repo.Package(name)
	if err := a.cfg.Service.Sound(r); err != nil {
		return dm.Difference{}, err
	}
	entry := a.cfg.Index.Package(name)
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
	dir := a.cfg.Data.Path(r)
	d, err := compareVersions(ctx, a.cfg.Data.Git, dir, side(sides[0]), side(sides[1]), [2]plumbing.Hash{sides[0].Tree, sides[1].Tree})
	return d, repo.Failed(op, err)
}

// At implements dm.History. An application whose newest outcome is older than
// the instant is answered from the index; the others' histories are read once,
// several at a time. keep is asked with the present owner before anything is
// read, and once more when the owner was another one then: only what both allow
// is told.
func (a *Answers) At(ctx context.Context, at time.Time, keep func(dm.ApplicationName, dm.UserName) bool) ([]dm.Then, error) {
	leave, err := a.cfg.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	names := a.cfg.Index.Names(func(e *index.Application) bool { return e.Observed != nil })
	found := make([]*dm.Then, len(names))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i, app := range names {
		e := a.cfg.Index.Application(app)
		if e == nil || !keep(app, e.Current().Spec.Owner) { // nil when set aside meanwhile
			continue
		}
		var known bool
		if found[i], known = e.Then(app, at); known {
			continue
		}
		group.Go(func() (err error) {
			found[i], err = a.readThen(inner, app, at)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, repo.Failed("past.At", cmp.Or(ctx.Err(), err))
	}
	list := []dm.Then{}
	for _, then := range found {
		if then == nil {
			continue
		}
		if e := a.cfg.Index.Application(then.Application); e != nil && (e.Current().Spec.Owner == then.Owner || keep(then.Application, then.Owner)) {
			list = append(list, *then)
		}
	}
	return list, nil
}

// readThen asks the history what was in effect at an instant, nil for nothing.
func (a *Answers) readThen(ctx context.Context, app dm.ApplicationName, at time.Time) (then *dm.Then, err error) {
	err = a.application(ctx, "past.At", app, func(p *applicationPast) error {
		then = p.then(app, at)
		return nil
	})
	if dm.KindOf(err) == dm.Unavailable && a.cfg.Service.Sound(repo.Application(app)) != nil {
		return nil, nil // set aside meanwhile
	}
	return then, err
}
