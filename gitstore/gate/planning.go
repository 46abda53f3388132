package gate

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sync/semaphore"
)

// defaultFilling is how many bytes all changes being planned may hold.
const defaultFilling = 256 << 20

// Changes that wait for memory each hold what they were sent, a megabyte at most.
const (
	maxWaiting   = 256
	planningWait = time.Minute
)

// Planning bounds the memory of all changes that are planned at once. A change
// first takes a turn, which bounds how many packages are read and counted; then
// it takes, in one piece, the bytes that the count asks for, gives its turn back
// and keeps the bytes until it is recorded. Nobody who has bytes waits for
// anything of this kind, so nobody waits for ever.
type Planning struct {
	turns *Gate
	bytes *semaphore.Weighted
	all   int64
}

// NewPlanning bounds them to all bytes; 0 means 256 MiB.
func NewPlanning(all int64) *Planning {
	if all <= 0 {
		all = defaultFilling
	}
	turns := newGate("changes", max(4, 2*runtime.GOMAXPROCS(0)), maxWaiting, planningWait)
	return &Planning{turns: turns, bytes: semaphore.NewWeighted(all), all: all}
}

// Enter waits for a turn. The caller ends the room, always. Kind Unavailable:
// too many wait already, or ctx ended.
func (p *Planning) Enter(ctx context.Context) (*Room, error) {
	leave, err := p.turns.Enter(ctx)
	if err != nil {
		return nil, err
	}
	return &Room{ctx: ctx, p: p, Leave: leave}, nil
}

// Room is the memory that one change may use. A nil room has none.
type Room struct {
	ctx   context.Context // of the request that plans, which is over when the room is
	p     *Planning
	Leave func() // gives the turn back, once
	taken int64
}

// Reserve is the room's dm.Reserve. One change may always have all there is:
// its own limit is the planner's business.
func (r *Room) Reserve(bytes int64) error {
	bytes = min(bytes, r.p.all)
	if err := r.p.turns.acquire(r.ctx, r.p.bytes, bytes); err != nil {
		return err
	}
	r.taken += bytes
	r.Leave()
	return nil
}

// End gives everything back; it may be called more than once.
func (r *Room) End() {
	if r == nil {
		return
	}
	r.Leave()
	r.p.bytes.Release(r.taken)
	r.taken = 0
}
