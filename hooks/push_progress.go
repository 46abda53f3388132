package hooks

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// Tee makes one sink of several; each gets every event, in their order. A nil
// sink is left out.
func Tee(sinks ...dm.EventSink) dm.EventSink {
	var t tee
	for _, s := range sinks {
		if s != nil {
			t = append(t, s)
		}
	}
	return t
}

type tee []dm.EventSink

// Emit implements dm.EventSink.
func (t tee) Emit(e dm.Event) {
	for _, s := range t {
		s.Emit(e)
	}
}

// progress hands transitions of applications to the pushes that wait for them.
type progress struct {
	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

// watcher waits for the transitions of one change of an application.
type watcher struct {
	app     dm.ApplicationName
	request string // of the change; "" takes those of any
	events  chan dm.Event
}

// transitions is how many events a watcher keeps until they are read. A change
// has two; the rest is for one that is tried several times.
const transitions = 16

func (p *progress) watch(app dm.ApplicationName, request string) *watcher {
	w := &watcher{app, request, make(chan dm.Event, transitions)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watchers == nil {
		p.watchers = map[*watcher]struct{}{}
	}
	p.watchers[w] = struct{}{}
	return w
}

// forget ends watching; of nil it does nothing.
func (p *progress) forget(w *watcher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.watchers, w)
}

// emit never blocks: what a watcher has no room for is lost to it, and it will
// point to the address where the state can be seen.
func (p *progress) emit(e dm.Event) {
	if e.Kind != dm.ApplicationEvent {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.watchers {
		if string(w.app) != e.ID || w.request != "" && w.request != e.RequestID {
			continue
		}
		select {
		case w.events <- e:
		default:
		}
	}
}

// tellProgress says what has become of the push so far and what to do next.
func (s *PushServer) tellProgress(ctx context.Context, p *pushSession, t *talk) {
	r := p.push.Repository()
	for _, d := range p.done {
		switch {
		case d.ref.Version != nil:
			id := dm.PackageRef{Name: dm.PackageName(r.Name), Version: *d.ref.Version}
			if !d.outcome.Changed {
				t.say(fmt.Sprintf("%s already exists with the same files", id))
				continue
			}
			t.say(fmt.Sprintf("%s is published; deploy it with: %s", id, s.cfg.Deploy(p.push.Actor(), id)))
		case !d.outcome.Changed:
			t.say(fmt.Sprintf("%s is unchanged", r.Name))
		case p.news != nil:
			s.relay(ctx, p.news, t)
		}
	}
}

// relay tells each transition until the application has settled, the time for
// it is over, or the client is gone.
func (s *PushServer) relay(ctx context.Context, w *watcher, t *talk) {
	over := time.NewTimer(s.cfg.Relay)
	defer over.Stop()
	for settled := false; !settled && t.err == nil; {
		select {
		case e := <-w.events:
			sayEvent(t, e)
			settled = !e.State.Working()
			continue
		case <-over.C:
			t.say(fmt.Sprintf("%s: still in progress", w.app))
		case <-ctx.Done():
		}
		break
	}
	if address := s.cfg.Address(w.app); address != "" {
		t.say("watch it at " + address)
	}
}

// maxInformation is how many lines of an explanation are told; the rest can be
// read at the address.
const maxInformation = 20

// sayEvent says one transition, with its explanation when there is one.
// Working states carry none: it could only be that of an earlier change.
func sayEvent(t *talk, e dm.Event) {
	text := e.ID + ": " + string(e.State)
	information := strings.TrimSpace(e.Information)
	if information == "" || e.State.Working() {
		t.say(text)
		return
	}
	lines := strings.Split(information, "\n")
	t.say(text + ": " + strings.TrimSpace(lines[0]))
	for _, more := range lines[1:min(len(lines), maxInformation)] {
		t.say("  " + strings.TrimSpace(more))
	}
}

// wouldSay is what a dry run says of a ref that would be taken.
func wouldSay(r dm.Repository, ref dm.PushedRef, o dm.PushOutcome) string {
	switch {
	case ref.Version != nil && o.Changed:
		return fmt.Sprintf("dry run: %s would be published", dm.PackageRef{Name: dm.PackageName(r.Name), Version: *ref.Version})
	case o.Changed:
		return fmt.Sprintf("dry run: the change of %s would be accepted", r.Name)
	}
	return fmt.Sprintf("dry run: %s would change nothing", quoted(ref.Name))
}
