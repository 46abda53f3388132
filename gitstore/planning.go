package gitstore

import (
	"context"
	"runtime"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/pndaproject/deployment-manager/gitstore/gate"
)

// DefaultFilling is Config.Filling when that is 0.
const DefaultFilling = 256 << 20

// Changes that wait for memory each hold what they were sent, a megabyte at most.
const (
	maxWaiting   = 256
	planningWait = time.Minute
)

// planning bounds the memory of all changes that are planned at once. A change
// first takes a turn, which bounds how many packages are read and counted; then
// it takes, in one piece, the bytes that the count asks for, gives its turn back
// and keeps the bytes until it is recorded. Nobody who has bytes waits for
// anything of this kind, so nobody waits for ever.
type planning struct {
	turns *gate.Gate
	bytes *semaphore.Weighted
	all   int64
}

func newPlanning(all int64) *planning {
	if all <= 0 {
		all = DefaultFilling
	}
	turns := newGate("changes", max(4, 2*runtime.GOMAXPROCS(0)), maxWaiting, planningWait)
	return &planning{turns: turns, bytes: semaphore.NewWeighted(all), all: all}
}

// enter waits for a turn. The caller ends the room, always. Kind Unavailable:
// too many wait already, or ctx ended.
func (p *planning) enter(ctx context.Context) (*room, error) {
	leave, err := p.turns.Enter(ctx)
	if err != nil {
		return nil, err
	}
	return &room{ctx: ctx, p: p, leave: leave}, nil
}

// room is the memory that one change may use. A nil room has none.
type room struct {
	ctx   context.Context // of the request that plans, which is over when the room is
	p     *planning
	leave func() // gives the turn back, once
	taken int64
}

// reserve is the room's dm.Reserve. One change may always have all there is:
// its own limit is the planner's business.
func (r *room) reserve(bytes int64) error {
	bytes = min(bytes, r.p.all)
	if err := r.p.turns.Acquire(r.ctx, r.p.bytes, bytes); err != nil {
		return err
	}
	r.taken += bytes
	r.leave()
	return nil
}

// end gives everything back; it may be called more than once.
func (r *room) end() {
	if r == nil {
		return
	}
	r.leave()
	r.p.bytes.Release(r.taken)
	r.taken = 0
}
