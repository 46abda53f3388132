package githttp

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Limits bound what one client can hold. What all of them can is bounded where
// git is started, behind dm.GitTransport. A zero field takes its default.
type Limits struct {
	PerClient       int           // fetches at a time for one client; 8
	PushesPerClient int           // pushes that have arrived, at a time for one client, beside its fetches; 1
	Wait            time.Duration // for the end of one's own others; 5 min, because git's client does not try again
	Idle            time.Duration // that a client may stand still, in either direction; 30 s
	Duration        time.Duration // of a whole request; 1 h
	Wire            int64         // bytes of a request body as sent; 16 MiB
	Expanded        int64         // bytes of a request body without its compression; 64 MiB
	Push            int64         // both for the body of a push; 1 GiB
	Finish          time.Duration // for its turn and for git after the last byte of a push; 15 min
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.PerClient, 8)
	setDefault(&l.PushesPerClient, 1)
	setDefault(&l.Wait, 5*time.Minute)
	setDefault(&l.Idle, 30*time.Second)
	setDefault(&l.Duration, time.Hour)
	setDefault(&l.Wire, 16<<20)
	setDefault(&l.Expanded, 64<<20)
	setDefault(&l.Push, 1<<30)
	setDefault(&l.Finish, 15*time.Minute)
	return l
}

// body is what the body of an operation may be.
func (l Limits) body(o operation) apihandlers.BodyLimits {
	if o.pushes() {
		l.Wire, l.Expanded = l.Push, l.Push
	}
	return apihandlers.BodyLimits{Size: l.Wire, Expanded: l.Expanded, Stall: l.Idle, Until: time.Now().Add(l.Duration)}
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// slots keeps one client from taking everything: it hands out the right to ask
// for git.
type slots struct {
	perClient int64

	mu      sync.Mutex
	clients map[string]*clientSlots // those that hold or wait for a slot
}

type clientSlots struct {
	free  *semaphore.Weighted
	users int
}

func newSlots(perClient int) *slots {
	return &slots{perClient: int64(perClient), clients: map[string]*clientSlots{}}
}

// take waits for a slot, for at most wait, and returns the function that gives
// it back. Its error is Unavailable.
func (s *slots) take(ctx context.Context, client string, wait time.Duration) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	own := s.enter(client)
	if err := own.free.Acquire(ctx, 1); err != nil {
		s.leave(client)
		return nil, dm.Errorf(dm.Unavailable, "githttp.take", "too many requests of this client are being served").Because(err)
	}
	return func() {
		own.free.Release(1)
		s.leave(client)
	}, nil
}

func (s *slots) enter(client string) *clientSlots {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[client]
	if c == nil {
		c = &clientSlots{free: semaphore.NewWeighted(s.perClient)}
		s.clients[client] = c
	}
	c.users++
	return c
}

func (s *slots) leave(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[client]
	if c.users--; c.users == 0 {
		delete(s.clients, client)
	}
}
