package past

import (
	"context"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/events"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// keep keeps what was read since news was so, unless there were some meanwhile.
func (s *Stream) keep(found *events.Past, news uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.news == news {
		s.found = found
	}
}

func (s *Stream) kept() (found *events.Past, news uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.found, s.news
}

// readingTime bounds one reading of the record for events.
const readingTime = time.Minute

// earlier returns events that follow after, and are not newer than upto, from
// the histories; when there is none, next is the number to go on behind. What was
// read is kept for who asks for the next page.
func (s *Stream) earlier(ctx context.Context, after, upto uint64, most int) (list []dm.Event, next uint64, err error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	found, news := s.kept()
	if !found.Has(after) {
		leave, err := s.answers.cfg.Enter(ctx)
		if err != nil {
			return nil, 0, err
		}
		defer leave()
		if found, err = s.readEvents(ctx, after, upto); err != nil {
			return nil, 0, err
		}
		s.keep(found, news)
	}
	if list = found.Read(after, most); len(list) == 0 {
		after = found.Upto
	}
	return list, after, nil
}

// readEvents reads the histories of the repositories that have such events. One
// that is out of service is left out: what it holds nobody knows now.
func (s *Stream) readEvents(ctx context.Context, after, upto uint64) (*events.Past, error) {
	ctx, cancel := context.WithTimeout(ctx, readingTime)
	defer cancel()
	found := &events.Past{After: after, Upto: upto}
	for _, r := range s.log.Above(after) {
		var err error
		if r.Kind == dm.PackageRepository {
			err = s.answers.pkg(ctx, "past.Events", dm.PackageName(r.Name), func(p *packagePast) error {
				p.events(found.Add)
				return nil
			})
		} else {
			err = s.answers.application(ctx, "past.Events", dm.ApplicationName(r.Name), func(p *applicationPast) error {
				return p.events(dm.ApplicationName(r.Name), repo.Open(s.answers.cfg.Data.Path(r)), after, found.Add)
			})
		}
		if err != nil && dm.KindOf(err) != dm.NotFound && s.answers.cfg.Service.Sound(r) == nil {
			return nil, err
		}
	}
	found.Sort()
	return found, nil
}
