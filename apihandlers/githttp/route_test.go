package githttp

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// FuzzRepositoryOf holds that an accepted segment names one repository by a valid
// name, and that the canonical spelling of the name leads to the same one.
func FuzzRepositoryOf(f *testing.F) {
	for _, segment := range []string{
		"ana", "ana.git", "jos%C3%A9%20a", "a%252e", "%2e%2e%2fx", "p.v1.git", "..", "a_b.git", "a%00", "%70", "p%2egit",
	} {
		f.Add(segment)
	}
	f.Fuzz(func(t *testing.T, segment string) {
		for _, kind := range kinds {
			got, err := repositoryOf(kind, segment)
			if err != nil {
				continue
			}
			name := got.Name
			if strings.ContainsAny(name, "/\\\x00\r\n") || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") {
				t.Errorf("%q was read as %q", segment, name)
			}
			canonical := name + ".git"
			if kind == dm.WorkspaceRepository {
				canonical = url.PathEscape(name) + ".git"
			}
			if again, err := repositoryOf(kind, canonical); err != nil || again != got {
				t.Errorf("%q is %v, its canonical form %q is %v, %v", segment, got, canonical, again, err)
			}
		}
	})
}

func TestSlots(t *testing.T) {
	t.Parallel()
	s := newSlots(2)
	var releases []func()
	take := func(client string, want dm.Kind) {
		t.Helper()
		release, err := s.take(t.Context(), client, 20*time.Millisecond)
		if dm.KindOf(err) != want {
			t.Fatalf("take for %s: %v, want kind %q", client, err, want)
		}
		if err == nil {
			releases = append(releases, release)
		}
	}
	take("a", "")
	take("a", "")
	take("a", dm.Unavailable) // its own limit
	take("b", "")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.take(ended, "c", time.Second); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("take for a client that left: %v", err)
	}
	for _, release := range releases {
		release()
	}
	if len(s.clients) != 0 {
		t.Errorf("clients without slots are remembered: %v", s.clients)
	}
	take("a", "")
}

// TestSlotsAreHandedOn lets many wait for few.
func TestSlotsAreHandedOn(t *testing.T) {
	t.Parallel()
	s := newSlots(2)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			release, err := s.take(t.Context(), "a", 10*time.Second)
			if err != nil {
				t.Errorf("take: %v", err)
				return
			}
			release()
		})
	}
	wg.Wait()
}
