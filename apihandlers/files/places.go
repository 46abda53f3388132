package files

import (
	"context"
	"sync"

	dm "github.com/pndaproject/deployment-manager"
)

// places bounds how many files are on their way at once. Half of them are the most
// that one application has, so that pods which read slowly keep nobody else's waiting.
type places struct {
	most int

	mu      sync.Mutex
	of      map[dm.ApplicationName]int
	taken   int
	changed chan struct{} // closed when a place was given back
}

func newPlaces(most int) *places {
	return &places{most: most, of: map[dm.ApplicationName]int{}, changed: make(chan struct{})}
}

// take waits for a place until ctx ends. ok = false when there was none.
func (p *places) take(ctx context.Context, app dm.ApplicationName) (giveBack func(), ok bool) {
	for {
		changed, ok := p.try(app)
		if ok {
			return func() { p.back(app) }, true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, false
		}
	}
}

func (p *places) try(app dm.ApplicationName) (changed <-chan struct{}, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken == p.most || p.of[app] >= (p.most+1)/2 {
		return p.changed, false
	}
	p.taken++
	p.of[app]++
	return nil, true
}

func (p *places) back(app dm.ApplicationName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[app]--; p.of[app] == 0 {
		delete(p.of, app)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}
