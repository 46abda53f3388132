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

// FuzzParsePath holds that an accepted path names one repository by a valid
// name, and that the canonical spelling of the name leads to the same one.
func FuzzParsePath(f *testing.F) {
	for _, path := range []string{
		"/jupyter-ana/info/refs", "/jupyter-ana.git/git-upload-pack", "/jupyter-jos%C3%A9%20a/info/refs",
		"/jupyter-a%252e/info/refs", "/jupyter-%2e%2e%2fx/info/refs", "/packages/p.v1.git/git-upload-pack",
		"/packages/../x.git/info/refs", "/applications/a_b.git/git-receive-pack", "/jupyter-a%00/info/refs",
	} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := parsePath(path)
		if !ok {
			return
		}
		name := got.repository.Name
		if strings.ContainsAny(name, "/\\\x00\r\n") || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") {
			t.Errorf("%q was read as %q", path, name)
		}
		canonical := map[dm.RepositoryKind]string{
			dm.WorkspaceRepository:   "/jupyter-" + url.PathEscape(name),
			dm.PackageRepository:     "/packages/" + name,
			dm.ApplicationRepository: "/applications/" + name,
		}[got.repository.Kind] + ".git/" + got.last
		if again, ok := parsePath(canonical); !ok || again != got {
			t.Errorf("%q is %v, its canonical form %q is %v, %v", path, got, canonical, again, ok)
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
