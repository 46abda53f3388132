package gitcmd

import (
	"context"
	"iter"
	"runtime"
	"sync/atomic"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/gate"
)

// Class says what a git process is for. Each class has slots of its own in the
// one pool, so that no kind of work waits for another: a thousand clones leave
// the moves of refs alone, and readers at the pace of their clients leave those
// alone that a push waits for.
//
// A process holds its slot until it has ended, and while it does, what waits for
// it may only wait for slots of classes further down this list. That is why no
// two can wait for each other: a push (whose hooks come back to the server) for
// takes, looks and moves of refs, everything else for nothing.
type Class int

// The classes.
const (
	Fetches Class = iota // upload-pack, at the pace of its client
	Pushes               // receive-pack, from when all of the push has arrived to the end of its hooks
	Sends                // differences and blobs, at the pace of the client who reads them
	Upkeep               // fsck, repack, pack-refs, prune: nobody waits for the answer
	Takes                // the objects of a push, read to be judged and taken in
	Looks                // short readings that the server itself takes in
	Moves                // update-ref
	classes
)

// Limits bound what all git processes together may take. A zero field takes its
// default.
type Limits struct {
	Fetches int           // fetches at a time; 4 per processor, at least 16
	Pushes  int           // pushes at a time; one for two processors, at least 2
	Wait    time.Duration // of a fetch or a push for its slot; 5 min, because git's clients do not try again
	Memory  int64         // bytes of its own that one process of a fetch may take, and by which all others are measured; 64 MiB
}

// withDefaults fills the zero fields.
func (l Limits) withDefaults() Limits {
	if l.Fetches <= 0 {
		l.Fetches = max(16, 4*runtime.GOMAXPROCS(0))
	}
	if l.Pushes <= 0 {
		l.Pushes = max(2, runtime.GOMAXPROCS(0)/2)
	}
	if l.Wait <= 0 {
		l.Wait = 5 * time.Minute
	}
	if l.Memory <= 0 {
		l.Memory = 64 << 20
	}
	return l
}

// share is what one class gets of the pool.
type share struct {
	name   string
	slots  int           // commands at a time
	each   int           // of one client; 0 where no client waits for the answer
	queue  int64         // that may wait beyond them
	wait   time.Duration // for a slot, at most
	time   time.Duration // that one may run, at most; whoever starts it may give it less
	memory int64         // bytes of its own that each of its processes may take
}

// shares divides the pool. The sum of slots times memory is what all git
// processes can take at most; docs/configuration.md and the chart's values have
// it in numbers.
func (l Limits) shares() [classes]share {
	return [classes]share{
		// 64 MiB are what a clone of 200,000 objects takes; ordinary ones take 3.
		Fetches: {"fetch", l.Fetches, max(1, l.Fetches/2), 4096, l.Wait, 2 * time.Hour, l.Memory},
		// git holds two objects of up to allocLimit.
		Pushes: {"push", l.Pushes, max(1, l.Pushes/2), 256, l.Wait, 30 * time.Minute, 8 * l.Memory},
		// Lines of two files of up to diffFile bytes, and what is known of each.
		Sends: {"send", max(2, l.Fetches/8), 0, 64, 20 * time.Second, time.Hour, 2 * l.Memory},
		// The patrol and maintenance go one after the other each, and a third is
		// for a repository that has just gathered many packs.
		Upkeep: {"upkeep", 3, 0, 1 << 20, time.Hour, 6 * time.Hour, 2 * l.Memory},
		// As many as pushes, whose memory they have: git holds what it receives, or
		// what it reads of it, never both.
		Takes: {"take", max(2, l.Pushes), 0, 256, 15 * time.Minute, time.Hour, 8 * l.Memory},
		Looks: {"look", max(4, 2*l.Pushes), 0, 512, 2 * time.Minute, 15 * time.Minute, l.Memory},
		Moves: {"move", 8, 0, 4096, time.Minute, updateTimeout, l.Memory / 2},
	}
}

// MostMemory is how much memory all processes of the pool can take. Of those that
// one command starts one does the work; what the others take is left out.
func (l Limits) MostMemory() int64 {
	n := int64(0)
	for c, s := range l.withDefaults().shares() {
		if Class(c) != Takes { // a push takes in when it has been received
			n += int64(s.slots) * s.memory
		}
	}
	return n
}

// MostProcesses is how many processes all commands of the pool can be: a clone is
// two, a push with its hooks and what it starts five, a reading of a push two.
func (l Limits) MostProcesses() int {
	n := 0
	for c, s := range l.withDefaults().shares() {
		n += s.slots * [classes]int{Fetches: 2, Pushes: 5, Sends: 1, Upkeep: 3, Takes: 1, Looks: 2, Moves: 1}[c]
	}
	return n
}

// Classes iterates over the classes and their names.
func Classes() iter.Seq2[Class, string] {
	return func(yield func(Class, string) bool) {
		for c, s := range (Limits{}).withDefaults().shares() {
			if !yield(Class(c), s.name) {
				return
			}
		}
	}
}

// pool hands out the right to start git.
type pool [classes]struct {
	share
	*gate.Gate
	running atomic.Int64
}

func newPool(l Limits) *pool {
	p := &pool{}
	for c, s := range l.withDefaults().shares() {
		p[c].share, p[c].Gate = s, gate.New(gate.Config{What: "requests", Places: s.slots, Each: s.each, Queue: s.queue, Wait: s.wait})
	}
	return p
}

// Busy is how many commands of a class run now, and how many wait.
func (g *Git) Busy(c Class) (running, waiting int) {
	return int(g.pool[c].running.Load()), int(g.pool[c].Waiting())
}

// take waits for a slot of class c, in the order of coming, and returns the
// function that gives it back. Kind Unavailable: too many wait already, it took
// too long, or ctx ended.
func (p *pool) take(ctx context.Context, c Class) (release func(), err error) {
	s := &p[c]
	leave, err := s.Enter(ctx)
	if err != nil {
		return nil, dm.Wrap("gitcmd.take", err)
	}
	s.running.Add(1)
	return func() {
		s.running.Add(-1)
		leave()
	}, nil
}
