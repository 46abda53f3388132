package past

import (
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// TestPastsAreBounded asks for more histories than fit.
func TestPastsAreBounded(t *testing.T) {
	t.Parallel()
	c := &cache{most: 30}
	names := []dm.ApplicationName{"a", "b", "c"}
	fill := func(app dm.ApplicationName, size int) *entry {
		p := c.of(repo.Application(app))
		c.resize(repo.Application(app), p, size)
		return p
	}
	first := fill("a", 10)
	fill("b", 10)
	fill("c", 10)
	if c.of(repo.Application("a")) != first || c.size != 30 {
		t.Errorf("three that fit: %d bytes, the first is kept: %t", c.size, c.of(repo.Application("a")) == first)
	}
	fill("d", 10) // b was not asked for longest
	for _, app := range append(names, "d") {
		if _, kept := c.byRepo[repo.Application(app)]; kept != (app != "b") {
			t.Errorf("%s is kept: %t", app, kept)
		}
	}
	gone := c.of(repo.Application("a"))
	fill("huge", 31)
	if c.size != 0 || len(c.byRepo) != 0 {
		t.Errorf("one that is larger than all: %d bytes, %d kept", c.size, len(c.byRepo))
	}
	c.resize(repo.Application("a"), gone, 20)
	if c.size != 0 {
		t.Errorf("one that was forgotten while it was read counts %d bytes", c.size)
	}
}
