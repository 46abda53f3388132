package index

import (
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
)

// The cache of defaults is bounded in packages and in about the bytes that they
// take: those of one package may be megabytes.
const (
	maxDefaults     = 4096
	maxDefaultBytes = 32 << 20
)

// Defaults remembers the defaults of packages by the name of their tree.
type Defaults struct {
	mu     sync.Mutex
	byTree map[plumbing.Hash]dm.Defaults
	bytes  int
}

// Get finds those of a tree.
func (c *Defaults) Get(tree plumbing.Hash) (dm.Defaults, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d, ok := c.byTree[tree]
	return d, ok
}

// Put keeps those of a tree, unless they are too large.
func (c *Defaults) Put(tree plumbing.Hash, d dm.Defaults) {
	size := defaultsSize(d)
	if size > maxDefaultBytes/4 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byTree[tree]; ok {
		return
	}
	if c.byTree == nil || len(c.byTree) >= maxDefaults || c.bytes+size > maxDefaultBytes {
		c.byTree, c.bytes = map[plumbing.Hash]dm.Defaults{}, 0
	}
	c.byTree[tree] = d
	c.bytes += size
}

// defaultsSize is about what d takes in memory.
func defaultsSize(d dm.Defaults) int {
	const perEntry = 200
	n := perEntry
	for _, components := range d {
		for _, properties := range components {
			n += perEntry
			for key, value := range properties {
				n += perEntry + len(key) + len(value)
			}
		}
	}
	return n
}
