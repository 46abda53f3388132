package gate

import (
	"context"
	"sync"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

func TestGateBoundsAndHandsOn(t *testing.T) {
	t.Parallel()
	g := New(Config{"things", 2, 1, 100, 20 * time.Second})
	var mu sync.Mutex
	now, most := 0, 0
	step := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		now += n
		most = max(most, now)
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			leave, err := g.Enter(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			step(1)
			step(-1)
			leave()
			leave()
		})
	}
	all.Wait()
	if most > 2 || g.waiting.Load() != 0 {
		t.Errorf("%d at once, want 2 at most; %d wait still", most, g.waiting.Load())
	}
}

func TestGateRefusesInTime(t *testing.T) {
	t.Parallel()
	g := New(Config{"things", 1, 1, 1, 50 * time.Millisecond})
	leave, err := g.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := g.Enter(t.Context()); dm.KindOf(err) != dm.Unavailable || dm.Public(err) != "too many things in progress, try again later" {
			t.Errorf("without a place: %v", err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Enter(ended); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("whose client left: %v", err)
	}
	leave()
	if _, err := g.Enter(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestGateLeavesPlacesToOthers has one client ask for all of them.
func TestGateLeavesPlacesToOthers(t *testing.T) {
	t.Parallel()
	g := New(Config{"things", 8, 2, 8, 50 * time.Millisecond})
	var leave []func()
	enter := func(client string) error {
		out, err := g.Enter(dm.WithClient(t.Context(), client))
		if err == nil {
			leave = append(leave, out)
		}
		return err
	}
	for _, client := range []string{"ana", "ana", "ben", "", "", ""} {
		if err := enter(client); err != nil {
			t.Errorf("%q: %v", client, err)
		}
	}
	var all sync.WaitGroup
	for range 20 { // more than may wait in all
		all.Go(func() {
			_, err := g.Enter(dm.WithClient(t.Context(), "ana"))
			if dm.Public(err) != "too many things from this client in progress, try again later" {
				t.Errorf("a third place: %v", err)
			}
		})
	}
	for _, client := range []string{"ben", "cyd"} {
		if err := enter(client); err != nil {
			t.Errorf("%q meanwhile: %v", client, err)
		}
	}
	all.Wait()
	if err := enter("dan"); dm.Public(err) != "too many things in progress, try again later" {
		t.Errorf("a ninth place: %v", err)
	}
	for _, out := range leave {
		out()
		out()
	}
	if len(g.clients) != 0 || !g.free.TryAcquire(8) {
		t.Errorf("%d clients are kept, or a place is lost", len(g.clients))
	}
	if _, err := New(Config{"things", 1, 1, 1, time.Second}).Enter(dm.WithClient(t.Context(), "ana")); err != nil {
		t.Errorf("the only place: %v", err)
	}
}
