package events

import (
	"context"
	"sync"

	dm "github.com/pndaproject/deployment-manager"
)

// What a log keeps: the newest events, and of them no more than so many bytes,
// because an explanation may be long and anybody may cause one.
const (
	kept      = 100_000
	keptBytes = 64 << 20
)

// Log is the sequence, and the highest number of each repository that carries
// some. It is safe for many goroutines.
type Log struct {
	most, mostBytes int

	mu      sync.Mutex
	next    uint64             // the number that Reserve gives
	told    uint64             // numbers up to it have landed or were given up
	settled map[uint64]settled // above told
	list    []entry            // the newest events, oldest first
	bytes   int                // of list
	from    uint64             // list has every event above it
	last    uint64             // number of the last event
	newest  uint64             // number of the last one that the record has
	heads   map[dm.Repository]uint64
	more    chan struct{} // closed when there is another event
}

// settled is what became of a number.
type settled struct {
	data     string // of the event that landed, "" when it was given up
	recorded bool   // it stands in the record
	upto     uint64 // numbers up to it were given before the log began; 0 for none
}

// entry is one event that was told.
type entry struct {
	seq  uint64
	data string // see pack
}

// New returns a log that waits for Begin.
func New() *Log {
	return &Log{
		most: kept, mostBytes: keptBytes, settled: map[uint64]settled{}, more: make(chan struct{}), heads: map[dm.Repository]uint64{},
	}
}

// Saw notes a number that a repository has, and tells whether that is news. When a
// repository that was read late has one that was not given yet, those that are
// given from then on are above it: in no repository do numbers run backwards.
func (l *Log) Saw(r dm.Repository, seq uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq <= l.heads[r] {
		return false
	}
	l.heads[r] = seq
	if first := l.next; first > 0 && seq >= first { // it has begun
		l.next = seq + 1
		l.settle(first, settled{upto: seq})
	}
	return true
}

// Begin lets the numbers begin behind least and the highest that was seen.
func (l *Log) Begin(least uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, seq := range l.heads {
		l.newest = max(l.newest, seq)
	}
	l.last = max(l.newest, least)
	l.next, l.told, l.from = l.last+1, l.last, l.last
}

// Above returns the repositories that have a number above after.
func (l *Log) Above(after uint64) (list []dm.Repository) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for r, seq := range l.heads {
		if seq > after {
			list = append(list, r)
		}
	}
	return list
}

// Number is one number of the sequence, reserved until Land or GiveUp is called;
// of several calls the first counts.
type Number struct {
	log  *Log
	seq  uint64
	once sync.Once
}

// Reserve gives the next number. Readers wait for what becomes of it, so that
// must be told soon.
func (l *Log) Reserve() *Number {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := &Number{log: l, seq: l.next}
	l.next++
	return n
}

// Seq is the number itself.
func (n *Number) Seq() uint64 { return n.seq }

// Land tells that e happened under the number.
func (n *Number) Land(e dm.Event) {
	n.end(settled{data: pack(e), recorded: e.Ref != ""})
}

// LandIn is Land for what r carries.
func (n *Number) LandIn(r dm.Repository, e dm.Event) {
	n.log.Saw(r, n.seq)
	n.Land(e)
}

// GiveUp tells that nothing happened under the number.
func (n *Number) GiveUp() { n.end(settled{}) }

func (n *Number) end(what settled) {
	n.once.Do(func() {
		n.log.mu.Lock()
		defer n.log.mu.Unlock()
		n.log.settle(n.seq, what)
	})
}

// settle notes what became of a number and tells what is in order now. It needs mu.
func (l *Log) settle(seq uint64, what settled) {
	l.settled[seq] = what
	before := l.last
	for {
		what, ok := l.settled[l.told+1]
		if !ok {
			break
		}
		l.told++
		delete(l.settled, l.told)
		if what.data != "" {
			l.list = append(l.list, entry{l.told, what.data})
			l.bytes += len(what.data)
			l.last = l.told
		}
		if what.recorded {
			l.newest = l.told
		}
		if what.upto > 0 { // what happened under them is read from the record
			l.told, l.last, l.newest, l.from = what.upto, what.upto, what.upto, what.upto
			l.list, l.bytes = nil, 0
		}
	}
	for len(l.list) > l.most || l.bytes > l.mostBytes {
		l.bytes -= len(l.list[0].data)
		l.from = l.list[0].seq
		l.list[0] = entry{} // what is appended next moves the rest
		l.list = l.list[1:]
	}
	if l.last > before {
		close(l.more)
		l.more = make(chan struct{})
	}
}

// Newest is the highest number that was told and that the record has: who begins
// behind it misses nothing, also after a restart.
func (l *Log) Newest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest
}

// Told is the number up to which everything was told or given up.
func (l *Log) Told() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}

// Read returns the events that follow after, oldest first, at most so many. from
// is the number above which the log has them: where after is smaller, older ones
// must be looked for elsewhere, and nothing is returned.
func (l *Log) Read(after uint64, most int) (list []dm.Event, from uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if after < l.from {
		return nil, l.from
	}
	return page(l.list, after, most), l.from
}

// Wait returns nil when an event above after was told, or the error of ctx.
func (l *Log) Wait(ctx context.Context, after uint64) error {
	for {
		l.mu.Lock()
		there, more := l.last > after, l.more
		l.mu.Unlock()
		if there {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}
