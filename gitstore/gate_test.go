package gitstore

import (
	"context"
	"sync"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

func TestGateBoundsAndHandsOn(t *testing.T) {
	t.Parallel()
	g := newGate("things", 2, 100, 20*time.Second)
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
			leave, err := g.enter(t.Context())
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
	g := newGate("things", 1, 1, 50*time.Millisecond)
	leave, err := g.enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := g.enter(t.Context()); dm.KindOf(err) != dm.Unavailable || dm.Public(err) != "too many things are being served; try again later" {
			t.Errorf("without a place: %v", err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.enter(ended); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("whose client left: %v", err)
	}
	leave()
	if _, err := g.enter(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestGateKeepsPlacesForOthers: one person who is slow takes a part of the places,
// and waits for the end of their own.
func TestGateKeepsPlacesForOthers(t *testing.T) {
	t.Parallel()
	g := newGate("uploads", 4, 10, 50*time.Millisecond)
	var leaves []func()
	enter := func(person string) error {
		leave, err := g.enterAs(t.Context(), person)
		if err == nil {
			leaves = append(leaves, leave)
		}
		return err
	}
	for range 2 {
		if err := enter("ana"); err != nil {
			t.Fatal(err)
		}
	}
	if err := enter("ana"); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("the third of one person: %v, want Unavailable", err)
	}
	for _, person := range []string{"ben", "cleo"} {
		if err := enter(person); err != nil {
			t.Errorf("%s: %v", person, err)
		}
	}
	if err := enter("dora"); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("the fifth of all: %v, want Unavailable", err)
	}
	leaves[0]()
	leaves[0]()
	if err := enter("ana"); err != nil {
		t.Errorf("after one of her own has ended: %v", err)
	}
	for _, leave := range leaves {
		leave()
	}
	if len(g.people) != 0 || !g.free.TryAcquire(4) {
		t.Errorf("%d people are remembered, or places are lost", len(g.people))
	}
	if leave, err := newGate("x", 1, 1, time.Second).enterAs(t.Context(), "ana"); err != nil {
		t.Error(err)
	} else {
		leave()
	}
}
