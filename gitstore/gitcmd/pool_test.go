package gitcmd

import (
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// newLimited is a git with a pool of its own.
func newLimited(t *testing.T, l Limits) *Git {
	t.Helper()
	g, err := New(t.Context(), Config{Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// until polls with a deadline.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// occupy fills a class with commands that run until the test ends.
func occupy(t *testing.T, g *Git, c Class) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range g.pool[c].slots {
		p, err := g.prepare(ctx, command{class: c, args: []string{"-c", "alias.hang=!sleep 60", "hang"}})
		if err == nil {
			err = p.start(nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { _ = p.end() })
	}
	t.Cleanup(func() { cancel(); all.Wait() })
}

// TestClassesDoNotWaitForOneAnother fills every other class and moves a ref, and
// reads what a push would.
func TestClassesDoNotWaitForOneAnother(t *testing.T) {
	t.Parallel()
	g := newLimited(t, Limits{Fetches: 2, Pushes: 1})
	dir, one := newRepository(t, g)
	for _, c := range []Class{Fetches, Pushes, Sends, Upkeep} {
		occupy(t, g, c)
	}
	if err := g.UpdateRefs(t.Context(), dir, RefUpdate{Ref: "refs/heads/main", New: one}); err != nil {
		t.Errorf("the move of a ref: %v", err)
	}
	if _, err := g.IsAncestor(t.Context(), dir, one, one); err != nil {
		t.Errorf("a look: %v", err)
	}
}

// TestPairsOfProcessesNeedOneSlot lets more callers than slots list new objects,
// which takes two processes each.
func TestPairsOfProcessesNeedOneSlot(t *testing.T) {
	t.Parallel()
	g := newLimited(t, Limits{Fetches: 1, Pushes: 1})
	dir, one := newRepository(t, g)
	var all sync.WaitGroup
	for range 3 * g.pool[Looks].slots {
		all.Go(func() {
			if err := g.NewObjects(t.Context(), dir, []string{one}, nil, func(string, string, int64) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// TestPoolBoundsEachClass starts more of each kind than may run.
func TestPoolBoundsEachClass(t *testing.T) {
	t.Parallel()
	g := newLimited(t, Limits{Fetches: 2, Pushes: 2, Wait: 100 * time.Millisecond})
	dir, one := newRepository(t, g)
	if err := g.UpdateRefs(t.Context(), dir, RefUpdate{Ref: "refs/heads/main", New: one}); err != nil {
		t.Fatal(err)
	}
	occupy(t, g, Fetches)
	occupy(t, g, Pushes)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, do := range map[string]func() error{
		"a fetch": func() error {
			return g.UploadPack(t.Context(), dir, dm.UploadRound{Advertise: true, Out: io.Discard})
		},
		"a push": func() error {
			return g.ReceivePack(t.Context(), dir, dm.ReceiveRound{Advertise: true, Out: io.Discard}, ReceiveOptions{})
		},
		"one whose client left": func() error {
			return g.UploadPack(ended, dir, dm.UploadRound{Advertise: true, Out: io.Discard})
		},
	} {
		if err := do(); dm.KindOf(err) != dm.Unavailable || dm.Public(err) != "too many requests in progress, try again later" {
			t.Errorf("%s without a slot: %v", name, err)
		}
	}
	if running, waiting := g.Busy(Fetches); running != 2 || waiting != 0 {
		t.Errorf("%d run and %d wait, want 2 and none", running, waiting)
	}
}

// TestPoolServesInTurn lets many wait for few; all are served.
func TestPoolServesInTurn(t *testing.T) {
	t.Parallel()
	p := newPool(Limits{Fetches: 3})
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			release, err := p.take(t.Context(), Fetches)
			if err != nil {
				t.Error(err)
				return
			}
			if n := p[Fetches].running.Load(); n > 3 {
				t.Errorf("%d run at once, want at most 3", n)
			}
			release()
		})
	}
	all.Wait()
	if n := p[Fetches].running.Load(); n != 0 {
		t.Errorf("%d run still", n)
	}
}

func TestPoolRefusesALongQueue(t *testing.T) {
	t.Parallel()
	p := newPool(Limits{})
	for range p[Sends].slots {
		if _, err := p.take(t.Context(), Sends); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range p[Sends].queue {
		all.Go(func() { _, _ = p.take(ctx, Sends) })
	}
	until(t, "all wait", func() bool { return p[Sends].Waiting() == p[Sends].queue })
	begin := time.Now()
	if _, err := p.take(t.Context(), Sends); dm.KindOf(err) != dm.Unavailable || time.Since(begin) > 5*time.Second {
		t.Errorf("one more: %v after %v, want Unavailable at once", err, time.Since(begin))
	}
	cancel()
	all.Wait()
}

// TestPoolLeavesSlotsToOthers has one client ask for all: of what clients wait for
// it gets a half, of what the server needs for itself no less than anybody.
func TestPoolLeavesSlotsToOthers(t *testing.T) {
	t.Parallel()
	p := newPool(Limits{Fetches: 4, Pushes: 4})
	ana, bob := dm.WithClient(t.Context(), "ana"), dm.WithClient(t.Context(), "bob")
	impatient, cancel := context.WithCancel(ana) // gets what is free
	cancel()
	for _, class := range []Class{Fetches, Pushes} {
		for _, client := range []context.Context{ana, ana, bob} {
			if _, err := p.take(client, class); err != nil {
				t.Errorf("class %d: %v", class, err)
			}
		}
		if _, err := p.take(impatient, class); dm.Public(err) != "too many requests from this client in progress, try again later" {
			t.Errorf("class %d, a third slot: %v", class, err)
		}
	}
	for range p[Takes].slots {
		if _, err := p.take(impatient, Takes); err != nil {
			t.Errorf("what a push needs: %v", err)
		}
	}
}

// TestHungryGitIsUnavailable gives git less memory than it asks for. That says
// nothing of the repository.
func TestHungryGitIsUnavailable(t *testing.T) {
	t.Parallel()
	g := newLimited(t, Limits{})
	dir, _ := newRepository(t, g)
	big := output(t, g, dir, strings.Repeat("0123456789abcdef", 8<<16), "hash-object", "-w", "--stdin") // 8 MiB, held whole
	hungry := newLimited(t, Limits{Memory: 4 << 20})
	content := strings.Repeat("fedcba9876543210", 8<<16)
	if err := hungry.Run(t.Context(), dir, strings.NewReader(content), io.Discard, "hash-object", "--stdin"); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("a look: %v, want Unavailable", err)
	}
	if problems, err := hungry.Fsck(t.Context(), dir, true); len(problems) > 0 || err != nil && dm.KindOf(err) != dm.Unavailable {
		t.Errorf("fsck: %q, %v; want no problem, because none was proven", problems, err)
	} else {
		t.Logf("fsck: %v", err)
	}
	var n int64
	err := hungry.CatObjects(t.Context(), dir, slices.Values([]string{big}), func(_, _ string, _ int64, r io.Reader) (err error) {
		n, err = io.Copy(io.Discard, r)
		return err
	})
	if n != 8<<20 || err != nil {
		t.Errorf("what git streams: %d bytes, %v; want all", n, err)
	}
}

// TestKilledGitIsUnavailable ends git as the kernel does when memory is short.
func TestKilledGitIsUnavailable(t *testing.T) {
	t.Parallel()
	g := newLimited(t, Limits{})
	for name, script := range map[string]string{
		"killed": "kill -9 $PPID; sleep 60", "no process": "echo 'error: cannot fork() for x: Resource temporarily unavailable' >&2; exit 128",
	} {
		if err := g.Run(t.Context(), "", nil, nil, "-c", "alias.die=!"+script, "die"); dm.KindOf(err) != dm.Unavailable {
			t.Errorf("%s: %v, want Unavailable", name, err)
		}
	}
}
