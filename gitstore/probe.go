package gitstore

import (
	"context"
	"fmt"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/engines"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// changeContent makes a change of content. What admit gives is shown to the engines,
// which take their time, so that is done outside the application's lock; under it
// the change is admitted anew only when something has happened meanwhile.
func (s *Store) changeContent(ctx context.Context, op string, app dm.ApplicationName, stamp dm.Stamp, admit func(*index.Application) (wanted, error)) error {
	var w wanted
	var of *index.Application // what w was admitted for
	defer func() { w.room.End() }()
	if s.Engines != nil {
		err := s.change(op, app, func(_ *repo.Tx, e *index.Application) (err error) {
			of = s.index.Application(app)
			w, err = admit(e)
			return err
		})
		if err == nil {
			err = s.probe(ctx, of, w, stamp)
		}
		if err != nil {
			return err
		}
	}
	return s.change(op, app, func(tx *repo.Tx, e *index.Application) (err error) {
		if s.Engines == nil || !s.holds(app, of, w) {
			w.room.End()
			if w, err = admit(e); err != nil {
				return err
			}
		}
		stamp.Time = s.now() // of when it was accepted
		return s.desire(ctx, tx, e, w, stamp, nil)
	})
}

// holds tells whether w, which was admitted for of, would be admitted again, as far
// as a change of the application, of its package or of what there is room for could
// be in its way.
func (s *Store) holds(app dm.ApplicationName, of *index.Application, w wanted) bool {
	if s.index.Application(app) != of {
		return false
	}
	spec := w.change.Spec
	if w.fresh.from.dir != s.data.Path(repo.Application(app)) {
		if now, err := s.deployedSource(spec.Package); err != nil || now != w.fresh.from {
			return false
		}
	}
	return s.Bounds.RoomForSpec(s.index, spec) == nil && (of != nil || s.Bounds.RoomForApplication(s.index, spec.Owner) == nil)
}

// probe asks the engines about new content of an application, nil for one that is
// new. What they find is refused as what admission finds is.
func (s *Store) probe(ctx context.Context, e *index.Application, w wanted, stamp dm.Stamp) error {
	if s.Engines == nil || w.fresh == nil {
		return nil
	}
	spec := w.change.Spec
	work := dm.Work{Spec: spec, Change: stamp, Deployment: w.change.Deployment, Before: dm.NotCreated, Components: w.fresh.plan.Components, Notes: w.notes}
	if e != nil {
		work.Observed, work.Before = e.Observed, e.Settled()
	}
	var err error
	if work.Open, err = engines.Planned(w.fresh.plan.Components, treefs.New(repo.Open(w.fresh.from.dir), w.fresh.from.tree)); err != nil {
		return repo.Failed("gitstore.probe", err)
	}
	findings := s.Engines.Probe(ctx, work)
	if len(findings) == 0 {
		return nil
	}
	return dm.Refuse("gitstore.probe", fmt.Sprintf("the application %s cannot be created from %s", spec.Name, spec.Package), findings)
}
