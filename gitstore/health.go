package gitstore

import (
	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Standing implements dm.WorkStore.
func (s *Store) Standing() []dm.ApplicationName {
	return s.index.Names(func(e *index.Application) bool {
		return e.Observed != nil && len(e.Observed.Records) > 0 && !e.Working() && !e.Left()
	})
}

// Settled implements dm.WorkStore.
func (s *Store) Settled(app dm.ApplicationName) *dm.Observation {
	e := s.index.Application(app)
	if e == nil || e.Working() {
		return nil
	}
	return e.Observed
}

// Show implements dm.WorkStore.
func (s *Store) Show(app dm.ApplicationName, of, now *dm.Observation) {
	release := s.data.Hold(repo.Application(app))
	defer release()
	if e := s.index.Application(app); e != nil && e.Observed == of && of != nil {
		next := *e
		next.Shown = index.Shown{Of: of, Now: now}
		s.index.PutApp(app, &next)
	}
}
