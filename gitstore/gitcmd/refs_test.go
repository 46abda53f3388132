package gitcmd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

func refValue(t *testing.T, g *Git, dir, ref string) string {
	t.Helper()
	return output(t, g, dir, "", "for-each-ref", "--format=%(objectname)", "--", ref)
}

func TestUpdateRefs(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	two := newCommit(t, g, dir, "two\n")
	const main = "refs/heads/main"
	// The steps build on one another.
	steps := []struct {
		name    string
		updates []RefUpdate
		kind    dm.Kind
		want    string // of main afterwards
	}{
		{"nothing to do", nil, "", ""},
		{"change of a missing ref", []RefUpdate{{Ref: main, Old: one, New: two}}, dm.Stale, ""},
		{"create", []RefUpdate{{Ref: main, New: one}}, "", one},
		{"create again", []RefUpdate{{Ref: main, New: two}}, dm.Stale, one},
		{"wrong old value", []RefUpdate{{Ref: main, Old: two, New: one}}, dm.Stale, one},
		{"right old value", []RefUpdate{{Ref: main, Old: one, New: two}}, "", two},
		{"any old value", []RefUpdate{{Ref: main, New: one, Any: true}}, "", one},
		{"any or none", []RefUpdate{{Ref: "refs/heads/apps/x", New: one, Any: true}}, "", one},
		{"inside another ref", []RefUpdate{{Ref: main + "/sub", New: one}}, dm.Conflict, one},
		{"folder of another ref", []RefUpdate{{Ref: "refs/heads/apps", New: one}}, dm.Conflict, one},
		{"folder of one another", []RefUpdate{{Ref: "refs/a", New: one}, {Ref: "refs/a/b", New: one}}, dm.Conflict, one},
		{"all or nothing", []RefUpdate{{Ref: main, Old: one, New: two}, {Ref: "refs/heads/apps/x", Old: two, New: one}}, dm.Stale, one},
		{"two refs", []RefUpdate{{Ref: main, Old: one, New: two}, {Ref: "refs/tags/t", New: one}}, "", two},
		{"delete with wrong value", []RefUpdate{{Ref: main, Old: one}}, dm.Stale, two},
		{"delete", []RefUpdate{{Ref: main, Old: two}}, "", ""},
		{"delete again", []RefUpdate{{Ref: main, Old: two}}, dm.Stale, ""},
		{"delete anything", []RefUpdate{{Ref: "refs/heads/apps/x", Any: true}}, "", ""},
		{"delete what must not exist", []RefUpdate{{Ref: main}}, dm.Invalid, ""},
		{"not a full name", []RefUpdate{{Ref: "HEAD", New: one}}, dm.Invalid, ""},
		{"bad name", []RefUpdate{{Ref: "refs/heads/a..b", New: one}}, dm.Invalid, ""},
		{"NUL in the name", []RefUpdate{{Ref: "refs/heads/a\x00b", New: one}}, dm.Invalid, ""},
		{"abbreviated value", []RefUpdate{{Ref: main, New: one[:10]}}, dm.Invalid, ""},
		{"missing object", []RefUpdate{{Ref: main, New: strings.Repeat("1", 40)}}, dm.Internal, ""},
	}
	for _, s := range steps {
		err := g.UpdateRefs(t.Context(), dir, s.updates...)
		if kind := dm.KindOf(err); kind != s.kind {
			t.Errorf("%s: kind %q, want %q (%v)", s.name, kind, s.kind, err)
		}
		if strings.Contains(dm.Public(err), dir) {
			t.Errorf("%s: the client sees the path: %s", s.name, dm.Public(err))
		}
		if got := refValue(t, g, dir, main); got != s.want {
			t.Errorf("%s: main is %q, want %q", s.name, got, s.want)
		}
	}
}

func TestUpdatePackedRefs(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	two := newCommit(t, g, dir, "two\n")
	var updates []RefUpdate
	for i := range 3 {
		updates = append(updates, RefUpdate{Ref: fmt.Sprintf("refs/deployments/%d", i), New: one})
	}
	if err := g.UpdateRefs(t.Context(), dir, updates...); err != nil {
		t.Fatal(err)
	}
	output(t, g, dir, "", "pack-refs", "--all", "--prune")
	if err := g.UpdateRefs(t.Context(), dir, RefUpdate{Ref: "refs/deployments/0", Old: one, New: two}); err != nil {
		t.Errorf("update of a packed ref: %v", err)
	}
	if err := g.UpdateRefs(t.Context(), dir, RefUpdate{Ref: "refs/deployments/1", Old: one}); err != nil {
		t.Errorf("delete of a packed ref: %v", err)
	}
	got := output(t, g, dir, "", "for-each-ref", "--format=%(refname) %(objectname)")
	want := "refs/deployments/0 " + two + "\nrefs/deployments/2 " + one
	if got != want {
		t.Errorf("refs are\n%s\nwant\n%s", got, want)
	}
}

func TestStaleLockIsNamed(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	lock := filepath.Join(dir, "refs", "heads", "main.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := g.UpdateRefs(t.Context(), dir, RefUpdate{Ref: "refs/heads/main", New: one})
	if dm.KindOf(err) != dm.Unavailable || dm.Public(err) != "the ref is locked by an unfinished change" {
		t.Errorf("UpdateRefs: %q %v", dm.KindOf(err), err)
	}
}

func TestUpdateRefsOfEndedRequest(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := g.UpdateRefs(ctx, dir, RefUpdate{Ref: "refs/heads/main", New: one})
	if dm.KindOf(err) != dm.Unavailable {
		t.Errorf("kind %q, want %q", dm.KindOf(err), dm.Unavailable)
	}
	if got := refValue(t, g, dir, "refs/heads/main"); got != "" {
		t.Errorf("main moved to %s", got)
	}
}

// TestOneWinner lets many goroutines make the same change.
func TestOneWinner(t *testing.T) {
	t.Parallel()
	g := newGit(t)
	dir, one := newRepository(t, g)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			// Who holds the lock may stand still for longer than git waits for it.
			for deadline := time.Now().Add(patience); ; {
				errs[i] = g.UpdateRefs(t.Context(), dir, RefUpdate{Ref: "refs/heads/main", New: one})
				if dm.KindOf(errs[i]) != dm.Unavailable || time.Now().After(deadline) {
					return
				}
			}
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch dm.KindOf(err) {
		case "":
			won++
		case dm.Stale:
		default:
			t.Errorf("a loser got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d winners, want 1", won)
	}
}
