package hooks

import (
	"slices"
	"sync"

	dm "github.com/pndaproject/deployment-manager"
)

// receiver is the bounded queue in front of one address. Events of one id
// leave it one after the other; an id that waits for its receiver does not
// hold up the others.
type receiver struct {
	address string
	limit   int

	mu      sync.Mutex
	changed *sync.Cond      // of mu: an event can perhaps be taken, or the queue was closed
	queue   []dm.Event      // oldest first
	inHand  map[string]bool // ids that a sender delivers now
	closed  bool            // take returns false when the queue is empty
}

func newReceiver(address string, limit int) *receiver {
	r := &receiver{address: address, limit: limit, inHand: map[string]bool{}}
	r.changed = sync.NewCond(&r.mu)
	return r
}

// push adds e and returns the oldest event when there was no room for both.
func (r *receiver) push(e dm.Event) (dropped dm.Event, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if full = len(r.queue) >= r.limit; full {
		dropped = r.queue[0]
		r.queue = slices.Delete(r.queue, 0, 1)
	}
	r.queue = append(r.queue, e)
	r.changed.Signal()
	return dropped, full
}

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
