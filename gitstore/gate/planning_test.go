package gate

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
	p := NewPlanning(100)
	var held, most atomic.Int64
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			r, err := p.Enter(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer r.End()
			n := int64(1 + i*7%120)
			if err := r.Reserve(n); err != nil {
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
	r, err := p.Enter(t.Context())
	if err != nil || r.Reserve(100) != nil {
		t.Errorf("not everything was given back: %v", err)
	}
	r.End()
	r.End()
}

// TestPlanningRefusesWhatCannotWait fills the memory, and then the queue for it.
func TestPlanningRefusesWhatCannotWait(t *testing.T) {
	t.Parallel()
	p := NewPlanning(100)
	first, err := p.Enter(t.Context())
	if err != nil || first.Reserve(100) != nil {
		t.Fatal(err)
	}
	defer first.End()
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	for range maxWaiting {
		waiting.Go(func() {
			r, err := p.Enter(ctx)
			if err == nil {
				err = r.Reserve(1)
				r.End()
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
	if _, err := p.Enter(ctx); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("one more: %v, want Unavailable", err)
	}
	cancel()
	waiting.Wait()
	if n := p.turns.Waiting(); n != 0 {
		t.Errorf("%d wait still", n)
	}
}
