package hooks

import (
	"slices"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// maxQueuedBytes bounds the texts of what is read ahead for one address: an
// explanation may be long, and anybody may cause one.
const maxQueuedBytes = 16 << 20

// receiver is one address with what was read of the stream and not yet taken by
// it. Events of one id are taken one after the other; an id that waits does not
// hold up the others. When there is too much, reading waits.
type receiver struct {
	kind, address string
	limit         int

	mu      sync.Mutex
	changed *sync.Cond // of mu
	queue   []*pending // oldest first
	bytes   int        // of the texts in queue
	cursor  uint64     // all recorded events up to it are done
	closed  bool
}

// pending is one event on its way.
type pending struct {
	event    dm.Event
	inHand   bool // a sender has it
	over     bool
	due      time.Time // of the next attempt
	told     int       // how many of its states were
	failures int
}

// states are those of the event that are still to be told.
func (p *pending) states() []dm.Phase {
	list := []dm.Phase{p.event.State}
	if before := p.event.Before(); before != "" {
		list = []dm.Phase{before, p.event.State}
	}
	return list[p.told:]
}

func newReceiver(kind, address string, limit int) *receiver {
	r := &receiver{kind: kind, address: address, limit: limit}
	r.changed = sync.NewCond(&r.mu)
	return r
}

// name is that of the cursor: another address begins anew.
func (r *receiver) name() string { return r.kind + " " + r.address }

// push adds e, to be told or only to be passed, when there is room. false when
// the receiver is closed.
func (r *receiver) push(e dm.Event, tell bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.closed && len(r.queue) > 0 && (len(r.queue) >= r.limit || r.bytes+textOf(e) > maxQueuedBytes) {
		r.changed.Wait()
	}
	r.queue = append(r.queue, &pending{event: e, over: !tell})
	r.bytes += textOf(e)
	r.advance()
	return !r.closed
}

// textOf is the size of what an event says.
func textOf(e dm.Event) int { return len(e.ID) + len(e.Information) + len(e.RequestID) }

// advance moves the cursor over what is done, and wakes who waits. It needs mu.
func (r *receiver) advance() {
	n := 0
	for n < len(r.queue) && r.queue[n].over {
		if e := r.queue[n].event; e.Ref != "" {
			r.cursor = e.Seq
		}
		r.bytes -= textOf(r.queue[n].event)
		n++
	}
	r.queue = slices.Delete(r.queue, 0, n)
	r.changed.Broadcast()
}

// take waits for the oldest event that is due and follows no other of its id,
// and takes it into hand. nil when the receiver is closed.
func (r *receiver) take() *pending {
	r.mu.Lock()
	defer r.mu.Unlock()
	for !r.closed {
		now, before := time.Now(), map[string]bool{}
		for _, p := range r.queue {
			if p.over || before[p.event.ID] {
				continue
			}
			if !p.inHand && !p.due.After(now) {
				p.inHand = true
				return p
			}
			before[p.event.ID] = true
		}
		r.changed.Wait()
	}
	return nil
}

// done ends p.
func (r *receiver) done(p *pending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.over = true
	r.advance()
}

// later gives p back for another attempt after d.
func (r *receiver) later(p *pending, d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p.inHand, p.due = false, time.Now().Add(d)
	time.AfterFunc(d, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.changed.Broadcast()
	})
}

// reached is the cursor.
func (r *receiver) reached() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cursor
}

// close ends taking and reading.
func (r *receiver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.changed.Broadcast()
}
