package hooks

import (
	"context"
	"sync"

	dm "github.com/pndaproject/deployment-manager"
)

// fakeStream is a stream of events in memory, and the cursors of its readers.
type fakeStream struct {
	mu      sync.Mutex
	list    []dm.Event
	more    chan struct{}
	cursors map[string]uint64
}

func newFakeStream() *fakeStream {
	return &fakeStream{more: make(chan struct{}), cursors: map[string]uint64{}}
}

// emit tells e under the next number, as one that stands in the record.
func (s *fakeStream) emit(e dm.Event) {
	e.Ref = "refs/some/thing"
	s.pass(e)
}

// pass tells e as it is.
func (s *fakeStream) pass(e dm.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Seq = uint64(len(s.list) + 1)
	s.list = append(s.list, e)
	close(s.more)
	s.more = make(chan struct{})
}

func (s *fakeStream) Events(ctx context.Context, after uint64, most int) ([]dm.Event, error) {
	for {
		s.mu.Lock()
		list, more := s.list[min(int(after), len(s.list)):min(int(after)+most, len(s.list))], s.more
		s.mu.Unlock()
		if len(list) > 0 {
			return list, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-more:
		}
	}
}

func (s *fakeStream) Newest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return uint64(len(s.list))
}

func (s *fakeStream) Concerns(e dm.Event) dm.Resource { return dm.Resource{Name: e.ID} }

func (s *fakeStream) Cursor(name string) (uint64, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seq, ok := s.cursors[name]
	return seq, ok, nil
}

func (s *fakeStream) KeepCursor(name string, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cursors[name] = seq
	return nil
}
