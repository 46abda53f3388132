package gate

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	dm "github.com/pndaproject/deployment-manager"
)

// Config describes one kind of work.
type Config struct {
	What   string // they are, for people
	Places int
	Each   int           // places of one client; 0 means that clients have no share
	Queue  int64         // that may wait beyond Places, and of one client beyond Each
	Wait   time.Duration // at most
}

// Gate has the places.
type Gate struct {
	Config
	free    *semaphore.Weighted
	waiting atomic.Int64

	mu      sync.Mutex
	clients map[string]*client // of those who have a place or wait for one
}

// client is the share of one.
type client struct {
	*Gate
	users int // guarded by mu of the whole
}

// New opens a gate.
func New(cfg Config) *Gate {
	return &Gate{Config: cfg, free: semaphore.NewWeighted(int64(cfg.Places)), clients: map[string]*client{}}
}

// Waiting is how many wait now, but for those who wait for a place of their own.
func (g *Gate) Waiting() int64 { return g.waiting.Load() }

// Enter waits for a place and returns the function that gives it back, which may
// be called more than once. Whoever has a dm.Client waits for a place of his
// first, so that he keeps nobody else from the others. Kind Unavailable.
func (g *Gate) Enter(ctx context.Context) (leave func(), err error) {
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
func (g *Gate) enterOwn(ctx context.Context, name string) (leave func(), err error) {
	if name == "" || g.Each == 0 {
		return func() {}, nil
	}
	g.mu.Lock()
	own := g.clients[name]
	if own == nil {
		own = &client{Gate: New(Config{What: g.What + " from this client", Places: g.Each, Queue: g.Queue, Wait: g.Wait})}
		g.clients[name] = own
	}
	own.users++
	g.mu.Unlock()
	forget := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(g.clients, name)
		}
	}
	if err := own.acquire(ctx, own.free, 1); err != nil {
		forget()
		return nil, err
	}
	return func() { own.free.Release(1); forget() }, nil
}

// acquire takes n of s and counts whoever waits for it as one who waits here.
func (g *Gate) acquire(ctx context.Context, s *semaphore.Weighted, n int64) error {
	const op = "gate.Enter"
	if s.TryAcquire(n) {
		return nil
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.Queue {
		return dm.Errorf(dm.Unavailable, op, "too many %s in progress, try again later", g.What)
	}
	ctx, cancel := context.WithTimeout(ctx, g.Wait)
	defer cancel()
	if err := s.Acquire(ctx, n); err != nil {
		return dm.Errorf(dm.Unavailable, op, "too many %s in progress, try again later", g.What).Because(err)
	}
	return nil
}
