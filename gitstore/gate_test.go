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
