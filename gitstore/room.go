package gitstore

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	dm "github.com/pndaproject/deployment-manager"
)

// DefaultFilling is Config.Filling when that is 0.
const DefaultFilling = 256 << 20

// maxWaiting is how many changes may wait for memory. Each holds what it was
// sent, a megabyte at most.
const maxWaiting = 256

// planning bounds the memory of all changes that are planned at once. A change
// first takes a turn, which bounds how many packages are read and counted; then
// it takes, in one piece, the bytes that the count asks for, gives its turn back
// and keeps the bytes until it is recorded. Nobody who has bytes waits for
// anything of this kind, so nobody waits for ever.
type planning struct {
	turns   *semaphore.Weighted
	bytes   *semaphore.Weighted
	all     int64
	waiting atomic.Int64
}

func newPlanning(all int64) *planning {
	if all <= 0 {
		all = DefaultFilling
	}
	return &planning{turns: semaphore.NewWeighted(int64(max(4, 2*runtime.GOMAXPROCS(0)))), bytes: semaphore.NewWeighted(all), all: all}
}

// enter waits for a turn. The caller ends the room, always. Kind Unavailable:
// too many wait already, or ctx ended.
func (p *planning) enter(ctx context.Context) (*room, error) {
	if err := p.wait(ctx, p.turns, 1); err != nil {
		return nil, err
	}
	return &room{ctx: ctx, p: p, leave: sync.OnceFunc(func() { p.turns.Release(1) })}, nil
}

func (p *planning) wait(ctx context.Context, s *semaphore.Weighted, n int64) error {
	const op = "gitstore.planning"
	if s.TryAcquire(n) {
		return nil
	}
	defer p.waiting.Add(-1)
	if p.waiting.Add(1) > maxWaiting {
		return dm.Errorf(dm.Unavailable, op, "too many changes are being planned; try again later")
	}
	if err := s.Acquire(ctx, n); err != nil {
		return dm.Errorf(dm.Unavailable, op, "the request ended while other changes were being planned").Because(err)
	}
	return nil
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
	if err := r.p.wait(r.ctx, r.p.bytes, bytes); err != nil {
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
