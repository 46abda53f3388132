package past

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
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

// cache remembers what was read of histories. A commit never changes, so what
// was read once holds for ever, and only what came since has to be read.
type cache struct {
	mu     sync.Mutex
	byRepo map[dm.Repository]*entry
	uses   uint64 // counts the calls of of, to tell old from new
	size   int    // of all
	most   int    // 0 means maxPast
}

// entry is what was read of one repository.
type entry struct {
	mu          sync.Mutex // held while it is read and extended
	application applicationPast
	pkg         packagePast

	used uint64 // guarded by mu of the cache, like size
	size int
}

// of returns the past of r; the caller locks it.
func (c *cache) of(r dm.Repository) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.byRepo[r]
	if p == nil {
		if c.byRepo == nil {
			c.byRepo = map[dm.Repository]*entry{}
		}
		p = &entry{}
		c.byRepo[r] = p
	}
	c.uses++
	p.used = c.uses
	return p
}

// resize notes how large the past of r has become and forgets the oldest until
// all fit. One that is too large for itself is forgotten too: who asks for it
// has it in hand already.
func (c *cache) resize(r dm.Repository, p *entry, size int) {
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
func (c *cache) forgetOldest() {
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

// ofApplication brings what is known of an application's history up to its tips and
// calls do with it, which must not keep it. The repository's lock is not needed:
// what the tips lead to never changes.
func (c *cache) ofApplication(ctx context.Context, r dm.Repository, dir string, main, observed plumbing.Hash, do func(*applicationPast) error) error {
	p := c.of(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.application.knows(main, observed) {
		err := p.application.extend(ctx, repo.Open(dir), main, observed)
		c.resize(r, p, p.application.size)
		if err != nil {
			return fmt.Errorf("history of %s: %w", r.Name, err)
		}
	}
	return do(&p.application)
}

// ofPackage does it for a package, up to tips. git lists refs while another packs
// them.
func (c *cache) ofPackage(ctx context.Context, git *gitcmd.Git, r dm.Repository, dir string, tips packageTips, do func(*packagePast) error) error {
	p := c.of(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pkg.state != tips.State {
		next, err := readPackage(ctx, git, dir, tips, p.pkg.lines)
		if err != nil {
			return fmt.Errorf("history of %s: %w", r.Name, err)
		}
		p.pkg = *next
		c.resize(r, p, p.pkg.size)
	}
	return do(&p.pkg)
}
