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
// long. One client gets a part of the places, and waits for these in a queue of
// its own.
type gate struct {
	what    string // they are, for people
	slots   int
	free    *semaphore.Weighted
	queue   int64         // that may wait
	wait    time.Duration // at most
	waiting atomic.Int64

	mu      sync.Mutex
	clients map[string]*clientGate // of those who have a place or wait for one
}

// clientGate is the share of one client.
type clientGate struct {
	*gate
	users int // guarded by mu of the whole
}

// One client gets 1/part of the places.
const part = 4

func newGate(what string, slots int, queue int64, wait time.Duration) *gate {
	return &gate{
		what: what, slots: slots, free: semaphore.NewWeighted(int64(slots)), queue: queue, wait: wait, clients: map[string]*clientGate{},
	}
}

// enter waits for a place and returns the function that gives it back, which may
// be called more than once. Whoever has a dm.Client waits for a place of his
// first, so that he keeps nobody else from the others. Kind Unavailable.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	leaveOwn, err := g.enterOwn(ctx, dm.Client(ctx))
	if err != nil {
		return nil, err
	}
	if err := g.acquire(ctx, g.free, 1); err != nil {
		leaveOwn()
		return nil, err
	}
	return sync.OnceFunc(func() { g.free.Release(1); leaveOwn() }), nil
}

// enterOwn waits for one of the client's own places.
func (g *gate) enterOwn(ctx context.Context, client string) (leave func(), err error) {
	if client == "" {
		return func() {}, nil
	}
	g.mu.Lock()
	own := g.clients[client]
	if own == nil {
		own = &clientGate{gate: newGate(g.what+" of this client", max(1, g.slots/part), g.queue, g.wait)}
		g.clients[client] = own
	}
	own.users++
	g.mu.Unlock()
	forget := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(g.clients, client)
		}
	}
	if err := own.acquire(ctx, own.free, 1); err != nil {
		forget()
		return nil, err
	}
	return func() { own.free.Release(1); forget() }, nil
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
	Receiving int // of pushes, from their first byte at the pace of their clients to their end; 32
	Readers   int // of histories and differences; 8
}

func (p Places) withDefaults() Places {
	for _, field := range []struct {
		to    *int
		value int
	}{{&p.Downloads, 128}, {&p.Uploads, 16}, {&p.Receiving, 32}, {&p.Readers, 8}} {
		if *field.to <= 0 {
			*field.to = field.value
		}
	}
	return p
}

// gates are the doors of the record that hold work back.
type gates struct{ downloads, uploads, receiving, readers *gate }

func newGates(p Places) gates {
	p = p.withDefaults()
	return gates{
		downloads: newGate("downloads", p.Downloads, 1024, time.Minute),
		uploads:   newGate("uploads", p.Uploads, 256, time.Minute),
		receiving: newGate("pushes", p.Receiving, 256, 5*time.Minute), // git's clients do not try again
		readers:   newGate("questions about history", p.Readers, 512, 30*time.Second),
	}
}
