package gitstore

import (
	"context"
	"slices"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// At implements dm.History. An application whose newest outcome is older than
// the instant is answered from the index; the others' histories are read once.
// keep is asked with the present owner before anything is read, and once more
// when the owner was another one then: only what both allow is told.
func (s *Store) At(ctx context.Context, at time.Time, keep func(dm.ApplicationName, dm.UserName) bool) ([]dm.Then, error) {
	list := []dm.Then{}
	for _, app := range s.index.appNames(func(e *appEntry) bool { return e.observed != nil }) {
		e := s.index.app(app)
		if e == nil {
			continue // set aside meanwhile
		}
		owner := e.current().spec.Owner
		if !keep(app, owner) {
			continue
		}
		then, ok, err := s.then(ctx, app, e, at)
		if err != nil {
			return nil, err
		}
		if ok && (then.Owner == owner || keep(app, then.Owner)) {
			list = append(list, then)
		}
	}
	return list, nil
}

// then tells what was in effect of one application at an instant: what the last
// outcome until then said. ok is false when nothing was.
func (s *Store) then(ctx context.Context, app dm.ApplicationName, e *appEntry, at time.Time) (then dm.Then, ok bool, err error) {
	o := e.observed
	newest := !o.Time.After(at)
	switch {
	case newest && o.Effective == "":
		return then, false, nil
	case newest && o.Effective == o.Desired: // else it failed, and what is in effect came earlier
		return dm.Then{
			Application: app, Owner: e.effective.spec.Owner, Phase: o.Phase, Package: e.effective.spec.Package,
			Deployment: o.Deployment, Revision: o.Effective, Since: o.Time.UTC(),
		}, true, nil
	}
	err = s.withApplicationPast(ctx, "gitstore.At", app, func(p *applicationPast) error {
		then, ok = p.then(app, at)
		return nil
	})
	return then, ok, err
}

// then finds the last outcome at an instant. Order counts before time: a clock
// that was set back does not bring an older outcome into effect.
func (p *applicationPast) then(app dm.ApplicationName, at time.Time) (dm.Then, bool) {
	for _, o := range slices.Backward(p.outcomes) {
		if o.Time.After(at) {
			continue
		}
		place, ok := p.place[o.Effective]
		if !ok {
			return dm.Then{}, false // nothing was in effect
		}
		c := p.changes[place]
		then := dm.Then{
			Application: app, Owner: c.owner, Phase: o.Phase, Package: c.Package,
			Deployment: o.Deployment, Revision: o.Effective, Since: o.Time,
		}
		if began, ok := p.ended[o.Effective]; ok {
			then.Since = p.outcomes[began].Time
		}
		return then, true
	}
	return dm.Then{}, false
}
