package gitstore

import (
	"sync"

	dm "github.com/pndaproject/deployment-manager"
)

// maxPast bounds what is remembered of histories, in bytes as lines count them:
// some 100,000 changes with their outcomes. The histories that were not asked
// for longest are read again when they are.
const maxPast = 128 << 20

// lineSize estimates the memory of a line whose texts are parts of a message,
// which they keep alive. long are those that have no small bound.
func lineSize(long ...string) int {
	n := 960
	for _, text := range long {
		n += len(text)
	}
	return n
}

// pasts remembers what was read of histories. A commit never changes, so what
// was read once holds for ever, and only what came since has to be read.
type pasts struct {
	mu     sync.Mutex
	byRepo map[dm.Repository]*past
	uses   uint64 // counts the calls of of, to tell old from new
	size   int    // of all
	most   int    // 0 means maxPast
}

// past is what was read of one repository.
type past struct {
	mu          sync.Mutex // held while it is read and extended
	application applicationPast
	pkg         packagePast

	used uint64 // guarded by pasts.mu, like size
	size int
}

// of returns the past of r; the caller locks it.
func (c *pasts) of(r dm.Repository) *past {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.byRepo[r]
	if p == nil {
		if c.byRepo == nil {
			c.byRepo = map[dm.Repository]*past{}
		}
		p = &past{}
		c.byRepo[r] = p
	}
	c.uses++
	p.used = c.uses
	return p
}

// resize notes how large the past of r has become and forgets the oldest until
// all fit. One that is too large for itself is forgotten too: who asks for it
// has it in hand already.
func (c *pasts) resize(r dm.Repository, p *past, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byRepo[r] != p {
		return // forgotten while it was read
	}
	c.size += size - p.size
	p.size = size
	most := c.most
	if most == 0 {
		most = maxPast
	}
	for c.size > most {
		c.forgetOldest()
	}
}

// forgetOldest needs mu.
func (c *pasts) forgetOldest() {
	var oldest dm.Repository
	var used uint64
	for r, p := range c.byRepo {
		if used == 0 || p.used < used {
			oldest, used = r, p.used
		}
	}
	c.size -= c.byRepo[oldest].size
	delete(c.byRepo, oldest)
}
