package gitstore

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// At implements dm.History. An application whose newest outcome is older than
// the instant is answered from the index; the others' histories are read once,
// several at a time. keep is asked with the present owner before anything is
// read, and once more when the owner was another one then: only what both allow
// is told.
func (s *Store) At(ctx context.Context, at time.Time, keep func(dm.ApplicationName, dm.UserName) bool) ([]dm.Then, error) {
	leave, err := s.gates.readers.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	names := s.index.appNames(func(e *appEntry) bool { return e.observed != nil })
	found := make([]*dm.Then, len(names))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.GOMAXPROCS(0))
	for i, app := range names {
		e := s.index.app(app)
		if e == nil || !keep(app, e.current().spec.Owner) { // nil when set aside meanwhile
			continue
		}
		var known bool
		if found[i], known = e.then(app, at); known {
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
		if e := s.index.app(then.Application); e != nil && (e.current().spec.Owner == then.Owner || keep(then.Application, then.Owner)) {
			list = append(list, *then)
		}
	}
	return list, nil
}

// then tells what was in effect at an instant, nil for nothing, if the newest
// outcome knows it.
func (e *appEntry) then(app dm.ApplicationName, at time.Time) (then *dm.Then, known bool) {
	o := e.observed
	switch {
	case o.Time.After(at):
		return nil, false
	case o.Effective == "":
		return nil, true
	case o.Effective != o.Desired, o.Health != "":
		return nil, false // what is in effect came earlier
	}
	return &dm.Then{
		Application: app, Owner: e.effective.spec.Owner, Phase: o.Phase, Package: e.effective.spec.Package,
		Deployment: o.Deployment, Revision: o.Effective, Since: o.Time.UTC(),
	}, true
}

// readThen asks the history what was in effect at an instant, nil for nothing.
func (s *Store) readThen(ctx context.Context, app dm.ApplicationName, at time.Time) (then *dm.Then, err error) {
	err = s.withApplicationPast(ctx, "gitstore.At", app, func(p *applicationPast) error {
		then = p.then(app, at)
		return nil
	})
	if dm.KindOf(err) == dm.Unavailable && s.service.Sound(repo.Application(app)) != nil {
		return nil, nil // set aside meanwhile
	}
	return then, err
}

// then finds the last outcome until an instant. Order counts before time: a clock
// that was set back does not bring an older outcome into effect.
func (p *applicationPast) then(app dm.ApplicationName, at time.Time) *dm.Then {
	for _, o := range slices.Backward(p.outcomes) {
		if o.Time.After(at) {
			continue
		}
		place, ok := p.place[o.Effective]
		if !ok {
			return nil // nothing was in effect
		}
		c := p.changes[place]
		then := &dm.Then{
			Application: app, Owner: c.owner, Phase: o.Phase, Package: c.Package,
			Deployment: o.Deployment, Revision: o.Effective, Since: o.Time,
		}
		if began, ok := p.ended[o.Effective]; ok {
			then.Since = p.outcomes[began].Time
		}
		return then
	}
	return nil
}
