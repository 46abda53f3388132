package past

import (
	"context"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/events"
)

// TestNoPageLacksWhatCameBack has a repository come back into service while the
// histories are read. What was read may lack its events, and is not kept for others.
func TestNoPageLacksWhatCameBack(t *testing.T) {
	t.Parallel()
	r := dm.Repository{Kind: dm.PackageRepository, Name: "flow"}
	var s *Stream
	back := false
	s = NewStream(NewAnswers(Config{Told: events.New(), Enter: func(context.Context) (func(), error) {
		if back {
			s.Saw(r, 7)
		}
		return func() {}, nil
	}}))
	for _, back = range []bool{false, true} {
		s.keep(nil, 0)
		if _, _, err := s.earlier(t.Context(), 8, 9, 1); err != nil {
			t.Fatal(err)
		}
		if found, _ := s.kept(); (found == nil) != back {
			t.Errorf("came back meanwhile %v: kept %v", back, found)
		}
	}
}
