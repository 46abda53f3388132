package events

import (
	"context"
	"sort"
	"sync"

	dm "github.com/pndaproject/deployment-manager"
)

// What a log keeps: the newest events, and of them no more than so many bytes,
// because an explanation may be long and anybody may cause one.
const (
	Kept      = 100_000
	KeptBytes = 64 << 20
)

// Log is the sequence. It is safe for many goroutines.
type Log struct {
	most, mostBytes int

	mu      sync.Mutex
	next    uint64            // the number that Reserve gives
	told    uint64            // numbers up to it have landed or were given up
	settled map[uint64]string // above told: the event that landed, "" for a number that was given up
	list    []entry           // the newest events, oldest first
	bytes   int               // of list
	from    uint64            // list has every event above it
	newest  uint64            // number of the last event
	more    chan struct{}     // closed when there is another event
}

// entry is one event that was told.
type entry struct {
	seq  uint64
	data string // see pack
}

// New returns a log whose first number follows last, which was given before.
func New(last uint64) *Log {
	return &Log{
		most: Kept, mostBytes: KeptBytes, next: last + 1, told: last, from: last, newest: last,
		settled: map[uint64]string{}, more: make(chan struct{}),
	}
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
func (n *Number) Land(e dm.Event) { n.once.Do(func() { n.log.settle(n.seq, pack(e)) }) }

// GiveUp tells that nothing happened under the number.
func (n *Number) GiveUp() { n.once.Do(func() { n.log.settle(n.seq, "") }) }

// settle notes what became of a number and tells what is in order now.
func (l *Log) settle(seq uint64, data string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled[seq] = data
	before := l.newest
	for {
		data, ok := l.settled[l.told+1]
		if !ok {
			break
		}
		l.told++
		delete(l.settled, l.told)
		if data != "" {
			l.list = append(l.list, entry{l.told, data})
			l.bytes += len(data)
			l.newest = l.told
		}
	}
	for len(l.list) > l.most || l.bytes > l.mostBytes {
		l.bytes -= len(l.list[0].data)
		l.from = l.list[0].seq
		l.list[0] = entry{} // what is appended next moves the rest
		l.list = l.list[1:]
	}
	if l.newest > before {
		close(l.more)
		l.more = make(chan struct{})
	}
}

// Newest is the number up to which everything was told.
func (l *Log) Newest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}

// Read returns the events that follow after, oldest first, at most so many. from
// is the number above which the log has them: where after is smaller, older ones
// must be looked for elsewhere, and nothing is returned.
func (l *Log) Read(after uint64, most int) (list []dm.Event, from uint64) {
	l.mu.Lock()
	from = l.from
	var found []entry
	if after >= from {
		at := sort.Search(len(l.list), func(i int) bool { return l.list[i].seq > after })
		found = append(found, l.list[at:min(at+most, len(l.list))]...)
	}
	l.mu.Unlock()
	for _, e := range found {
		list = append(list, unpack(e.seq, e.data))
	}
	return list, from
}

// Wait returns nil when an event above after was told, or the error of ctx.
func (l *Log) Wait(ctx context.Context, after uint64) error {
	for {
		l.mu.Lock()
		there, more := l.newest > after, l.more
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
