package past

import (
	"context"
	"sync"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/events"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Stream is the sequence of all transitions for those who follow it: the newest are
// in a log, those before are read from the histories. It is safe for many goroutines.
type Stream struct {
	answers *Answers
	log     *events.Log

	reading sync.Mutex // one reading at a time

	mu    sync.Mutex
	found *events.Past // what was read last for who is far behind; nil for nothing
	news  uint64       // how often Saw brought some
}

// NewStream returns the sequence, which waits for Begin.
func NewStream(a *Answers) *Stream { return &Stream{answers: a, log: a.cfg.Told} }

// Saw notes a number that a repository carries.
func (s *Stream) Saw(r dm.Repository, seq uint64) {
	if s.log.Saw(r, seq) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.found, s.news = nil, s.news+1 // it may lack those of r
	}
}

// Begin lets the sequence go on behind what the record has. When a repository
// can't be read nobody knows its newest numbers; those of a clock in milliseconds
// are above them, also when the last start was such a one. Where that clock was set
// back, Saw raises the numbers before the repository is changed again.
func (s *Stream) Begin() {
	away := s.answers.cfg.Service.AwayOf
	if len(away(dm.PackageRepository))+len(away(dm.ApplicationRepository)) > 0 {
		s.log.Begin(uint64(max(0, s.answers.cfg.Clock().UnixMilli())))
		return
	}
	s.log.Begin(0)
}

// Passing tells of what moved no ref: it takes a place in the order, and is
// forgotten with the process.
func (s *Stream) Passing(e dm.Event) { s.log.Reserve().Land(e) }

// Newest is that of dm.Events.
func (s *Stream) Newest() uint64 { return s.log.Newest() }

// Events is that of dm.Events.
func (s *Stream) Events(ctx context.Context, after uint64, most int) ([]dm.Event, error) {
	const op = "past.Events"
	if after > s.log.Told() {
		return nil, dm.Errorf(dm.Invalid, op, "there is no event %d yet, the newest is %d", after, s.Newest()).
			WithHint("start again at the newest: the server's data may have been restored from a copy")
	}
	for {
		list, next, err := s.Now(ctx, after, most)
		if err != nil || len(list) > 0 {
			return list, repo.Failed(op, err)
		}
		if err := s.log.Wait(ctx, next); err != nil {
			return nil, err
		}
		after = next
	}
}

// Now returns what there is now; when that is nothing, next is the number to wait
// behind.
func (s *Stream) Now(ctx context.Context, after uint64, most int) (list []dm.Event, next uint64, err error) {
	list, from := s.log.Read(after, most)
	if after >= from {
		return list, after, nil
	}
	list, next, err = s.earlier(ctx, after, from, most)
	if err == nil && len(list) == 0 {
		return s.Now(ctx, next, most)
	}
	return list, next, err
}

// Concerns is that of dm.Events.
func (s *Stream) Concerns(e dm.Event) dm.Resource {
	on := dm.Resource{Name: e.ID}
	if e.Kind == dm.ApplicationEvent {
		if entry := s.answers.cfg.Index.Application(dm.ApplicationName(e.ID)); entry != nil {
			spec := entry.Current().Spec
			on.Owner, on.Audience = spec.Owner, spec.Audience
		}
		return on
	}
	if ref, err := dm.ParsePackageRef(e.ID); err == nil {
		on.Name, on.Owner = string(ref.Name), s.answers.PackageOwner(ref.Name)
	}
	return on
}
