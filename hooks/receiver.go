package hooks

import (
	"slices"
	"sync"

	dm "github.com/pndaproject/deployment-manager"
)

// maxQueuedBytes bounds the texts in one queue: an explanation may be long, and
// anybody may cause one.
const maxQueuedBytes = 16 << 20

// receiver is the bounded queue in front of one address. Events of one id
// leave it one after the other; an id that waits for its receiver does not
// hold up the others.
type receiver struct {
	address string
	limit   int

	mu      sync.Mutex
	changed *sync.Cond      // of mu: an event can perhaps be taken, or the queue was closed
	queue   []dm.Event      // oldest first
	bytes   int             // of the texts in queue
	inHand  map[string]bool // ids that a sender delivers now
	closed  bool            // take returns false when the queue is empty
}

func newReceiver(address string, limit int) *receiver {
	r := &receiver{address: address, limit: limit, inHand: map[string]bool{}}
	r.changed = sync.NewCond(&r.mu)
	return r
}

// push adds e and returns the oldest events, for which there was no room beside
// it.
func (r *receiver) push(e dm.Event) (dropped []dm.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += textOf(e)
	n := 0
	for n < len(r.queue) && (len(r.queue)-n >= r.limit || r.bytes > maxQueuedBytes) {
		r.bytes -= textOf(r.queue[n])
		n++
	}
	dropped = slices.Clone(r.queue[:n])
	r.queue = append(slices.Delete(r.queue, 0, n), e)
	r.changed.Signal()
	return dropped
}

// textOf is the size of what an event says.
func textOf(e dm.Event) int { return len(e.ID) + len(e.Information) + len(e.RequestID) }

// take waits for the oldest event of an id that is not in hand, and takes the
// id into hand. ok = false when the queue is closed and empty.
func (r *receiver) take() (e dm.Event, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		i := slices.IndexFunc(r.queue, func(e dm.Event) bool { return !r.inHand[e.ID] })
		if i >= 0 {
			e = r.queue[i]
			r.queue = slices.Delete(r.queue, i, i+1)
			r.bytes -= textOf(e)
			r.inHand[e.ID] = true
			return e, true
		}
		if r.closed && len(r.queue) == 0 {
			return dm.Event{}, false
		}
		r.changed.Wait()
	}
}

// done gives the id free.
func (r *receiver) done(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.inHand, id)
	r.changed.Broadcast()
}

// close lets the senders end when the queue is empty.
func (r *receiver) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.changed.Broadcast()
}
