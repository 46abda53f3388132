package gitstore

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// TestPlanningBoundsAllChanges lets many changes take memory at once.
func TestPlanningBoundsAllChanges(t *testing.T) {
	t.Parallel()
	p := newPlanning(100)
	var held, most atomic.Int64
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			r, err := p.enter(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer r.end()
			n := int64(1 + i*7%120)
			if err := r.reserve(n); err != nil {
				t.Error(err)
				return
			}
			now := held.Add(min(n, 100))
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			held.Add(-min(n, 100))
		})
	}
	all.Wait()
	if most.Load() > 100 {
		t.Errorf("%d bytes were held at once, want at most 100", most.Load())
	}
	r, err := p.enter(t.Context())
	if err != nil || r.reserve(100) != nil {
		t.Errorf("not everything was given back: %v", err)
	}
	r.end()
	r.end()
}

// TestPlanningRefusesWhatCannotWait fills the memory, and then the queue for it.
func TestPlanningRefusesWhatCannotWait(t *testing.T) {
	t.Parallel()
	p := newPlanning(100)
	first, err := p.enter(t.Context())
	if err != nil || first.reserve(100) != nil {
		t.Fatal(err)
	}
	defer first.end()
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range maxWaiting {
		waiting.Go(func() {
			r, err := p.enter(ctx)
			if err == nil {
				err = r.reserve(1)
				r.end()
			}
			if dm.KindOf(err) != dm.Unavailable {
				t.Errorf("who waits when the request ends gets %v", err)
			}
		})
	}
	for deadline := time.Now().Add(20 * time.Second); p.turns.Waiting() < maxWaiting; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d wait, want %d", p.turns.Waiting(), maxWaiting)
		}
	}
	if _, err := p.enter(ctx); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("one more: %v, want Unavailable", err)
	}
	cancel()
	waiting.Wait()
	if n := p.turns.Waiting(); n != 0 {
		t.Errorf("%d wait still", n)
	}
}
