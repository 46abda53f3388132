package gitstore

import (
	"context"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/events"
	"github.com/pndaproject/deployment-manager/gitstore/past"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// pastEvents is what was read of the record last for who follows it from far
// behind.
type pastEvents struct {
	reading sync.Mutex // one reading at a time

	mu    sync.Mutex
	found *events.Past // nil for nothing
}

func (p *pastEvents) forget() { p.keep(nil) }

func (p *pastEvents) keep(found *events.Past) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = found
}

func (p *pastEvents) kept() *events.Past {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.found
}

// readingTime bounds one reading of the record for events.
const readingTime = time.Minute

// earlier returns events that follow after, and are not newer than upto, from
// the histories; when there is none, next is the number to go on behind. What was
// read is kept for who asks for the next page.
func (s *Store) earlier(ctx context.Context, after, upto uint64, most int) (list []dm.Event, next uint64, err error) {
	s.past.reading.Lock()
	defer s.past.reading.Unlock()
	found := s.past.kept()
	if !found.Has(after) {
		leave, err := s.gates.Readers.Enter(ctx)
		if err != nil {
			return nil, 0, err
		}
		defer leave()
		if found, err = s.readEvents(ctx, after, upto); err != nil {
			return nil, 0, err
		}
		s.past.keep(found)
	}
	if list = found.Read(after, most); len(list) == 0 {
		after = found.Upto
	}
	return list, after, nil
}

// readEvents reads the histories of the repositories that have such events. One
// that is out of service is left out: what it holds nobody knows now.
func (s *Store) readEvents(ctx context.Context, after, upto uint64) (*events.Past, error) {
	ctx, cancel := context.WithTimeout(ctx, readingTime)
	defer cancel()
	found := &events.Past{After: after, Upto: upto}
	for _, r := range s.told.Above(after) {
		var err error
		if r.Kind == dm.PackageRepository {
			err = s.withPackagePast(ctx, "gitstore.Events", dm.PackageName(r.Name), func(p *past.Package) error {
				p.Events(found.Add)
				return nil
			})
		} else {
			err = s.withApplicationPast(ctx, "gitstore.Events", dm.ApplicationName(r.Name), func(p *past.Application) error {
				return p.Events(dm.ApplicationName(r.Name), repo.Open(s.data.Path(r)), after, found.Add)
			})
		}
		if err != nil && dm.KindOf(err) != dm.NotFound && s.service.Sound(r) == nil {
			return nil, err
		}
	}
	found.Sort()
	return found, nil
}
