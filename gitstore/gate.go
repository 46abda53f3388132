package gitstore

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	dm "github.com/pndaproject/deployment-manager"
)

// gate bounds how many requests of one kind are worked on at once. Those beyond
// wait in the order of coming, and are refused when too many do or it takes too
// long.
type gate struct {
	what    string // they are, for people
	free    *semaphore.Weighted
	queue   int64         // that may wait
	wait    time.Duration // at most
	waiting atomic.Int64

	each   int64 // places that one person may have
	mu     sync.Mutex
	people map[string]*inside // those who have a place or wait; guarded by mu
}

// inside is what one person has of a gate.
type inside struct {
	free    *semaphore.Weighted
	holders int // requests that have a place or wait; guarded by gate.mu
}

func newGate(what string, slots int, queue int64, wait time.Duration) *gate {
	return &gate{
		what: what, free: semaphore.NewWeighted(int64(slots)), queue: queue, wait: wait,
		each: int64(max(1, slots/2)), people: map[string]*inside{},
	}
}

// enterAs is enter for work at the pace of its client: no person gets more than
// half of the places, so that one who is slow does not keep out all others.
func (g *gate) enterAs(ctx context.Context, person string) (leave func(), err error) {
	own := g.find(person)
	if err := g.acquire(ctx, own.free, 1); err != nil {
		g.forget(person)
		return nil, err
	}
	all, err := g.enter(ctx)
	leave = sync.OnceFunc(func() {
		if all != nil {
			all()
		}
		own.free.Release(1)
		g.forget(person)
	})
	if err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

func (g *gate) find(person string) *inside {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.people[person]
	if own == nil {
		own = &inside{free: semaphore.NewWeighted(g.each)}
		g.people[person] = own
	}
	own.holders++
	return own
}

func (g *gate) forget(person string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	own := g.people[person]
	if own.holders--; own.holders == 0 {
		delete(g.people, person)
	}
}

// enter waits for a place and returns the function that gives it back, which may
// be called more than once. Kind Unavailable.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	if err := g.acquire(ctx, g.free, 1); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { g.free.Release(1) }), nil
}

// acquire takes n of s and counts whoever waits for it as one who waits here.
func (g *gate) acquire(ctx context.Context, s *semaphore.Weighted, n int64) error {
	const op = "gitstore.enter"
	if s.TryAcquire(n) {
		return nil
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return dm.Errorf(dm.Unavailable, op, "too many %s are being served; try again later", g.what)
	}
	ctx, cancel := context.WithTimeout(ctx, g.wait)
	defer cancel()
	if err := s.Acquire(ctx, n); err != nil {
		return dm.Errorf(dm.Unavailable, op, "too many %s are being served; try again later", g.what).Because(err)
	}
	return nil
}

// leaving is an archive that gives its place back when it is closed.
type leaving struct {
	io.ReadSeekCloser
	leave func()
}

func (l *leaving) Close() error {
	defer l.leave()
	return l.ReadSeekCloser.Close()
}

// Places are how many requests of each kind are worked on at once. A zero field
// takes its default.
type Places struct {
	Downloads int // of archives, at the pace of their clients; 128
	Uploads   int // at the pace of their clients, about 16 MiB of memory each; 16
	Readers   int // of histories and differences; 8
}

func (p Places) withDefaults() Places {
	for _, field := range []struct {
		to    *int
		value int
	}{{&p.Downloads, 128}, {&p.Uploads, 16}, {&p.Readers, 8}} {
		if *field.to <= 0 {
			*field.to = field.value
		}
	}
	return p
}

// gates are the doors of the record that hold work back.
type gates struct{ downloads, uploads, readers *gate }

func newGates(p Places) gates {
	p = p.withDefaults()
	return gates{
		downloads: newGate("downloads", p.Downloads, 1024, time.Minute),
		uploads:   newGate("uploads", p.Uploads, 256, time.Minute),
		readers:   newGate("questions about history", p.Readers, 512, 30*time.Second),
	}
}
