package repair

import (
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// outOfService says why a repository is not served.
type outOfService struct {
	fault *repo.Fault // nil: it could not be looked at yet
	err   error       // why not
	since time.Time
}

// tell describes it for the administrator.
func (o outOfService) tell(r dm.Repository) SetAside {
	if o.fault != nil {
		return SetAside{Repository: r, Since: o.since, File: o.fault.File, Cause: o.fault.Cause, Damaged: true}
	}
	cause := "not checked yet"
	if o.err != nil {
		cause = dm.OneLine(o.err.Error())
	}
	return SetAside{Repository: r, Since: o.since, Cause: cause}
}

// answer is what a client is told.
func (o outOfService) answer(r dm.Repository) error {
	const op = "read the record"
	if o.fault != nil {
		return dm.Errorf(dm.Unavailable, op, "the repository of %s is damaged and out of service", r.Name).
			WithHint("an administrator sees the cause with 'deployment-manager repair'").Because(o.fault)
	}
	return dm.Errorf(dm.Unavailable, op, "the repository of %s cannot be read at the moment", r.Name).WithHint("try again")
}

// takeAway takes a repository out of service.
func (s *Service) takeAway(r dm.Repository, o outOfService) {
	s.mu.Lock()
	if old, ok := s.away[r]; ok {
		o.since = old.since
	}
	s.away[r] = o
	s.mu.Unlock()
	s.Record.Forget(r)
}

// Fault is the damage for which a repository is out of service; nil when there is none.
func (s *Service) Fault(r dm.Repository) *repo.Fault {
	o, _ := s.why(r)
	return o.fault
}

// BringBack puts a repository into service again.
func (s *Service) BringBack(r dm.Repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.away, r)
}

// why tells why a repository is out of service; ok is false when it is not.
func (s *Service) why(r dm.Repository) (o outOfService, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	o, ok = s.away[r]
	return o, ok
}

// AwayOf lists those of one kind that are out of service.
func (s *Service) AwayOf(kind dm.RepositoryKind) (list []dm.Repository) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for r := range s.away {
		if r.Kind == kind {
			list = append(list, r)
		}
	}
	return list
}

// awayList lists all that are out of service.
func (s *Service) awayList() []SetAside {
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := make([]SetAside, 0, len(s.away))
	for r, o := range s.away {
		list = append(list, o.tell(r))
	}
	return list
}

// Count counts the damaged ones, or those that could not be looked at.
func (s *Service) Count(damaged bool) (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, o := range s.away {
		if damaged == (o.fault != nil) {
			n++
		}
	}
	return n
}

// Sound fails with Unavailable for a repository that is out of service.
func (s *Service) Sound(r dm.Repository) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if o, ok := s.away[r]; ok {
		return o.answer(r)
	}
	return nil
}
