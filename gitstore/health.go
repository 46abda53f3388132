package gitstore

import (
	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Standing implements dm.WorkStore.
func (s *Store) Standing() []dm.ApplicationName {
	return s.index.appNames(func(e *appEntry) bool {
		return e.observed != nil && len(e.observed.Records) > 0 && !e.working() && !e.left()
	})
}

// Settled implements dm.WorkStore.
func (s *Store) Settled(app dm.ApplicationName) *dm.Observation {
	e := s.index.app(app)
	if e == nil || e.working() {
		return nil
	}
	return e.observed
}

// Show implements dm.WorkStore.
func (s *Store) Show(app dm.ApplicationName, of, now *dm.Observation) {
	release := s.data.Hold(repo.Application(app))
	defer release()
	if e := s.index.app(app); e != nil && e.observed == of && of != nil {
		next := *e
		next.shown = shown{Of: of, Now: now}
		s.index.putApp(app, &next)
	}
}
