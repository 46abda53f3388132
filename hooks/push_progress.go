package hooks

import (
	"context"
	"fmt"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// watcher is where a push began to follow the stream, for the transitions of one
// change of an application.
type watcher struct {
	app     dm.ApplicationName
	request string // of the change
	after   uint64 // number of the event before it
}

// events is how many are read at once.
const events = 100

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
	timed, cancel := context.WithTimeout(ctx, s.cfg.Relay)
	defer cancel()
	for settled := false; !settled && t.err == nil; {
		list, err := s.cfg.Events.Events(timed, w.after, events)
		if err != nil {
			if ctx.Err() == nil {
				t.say(fmt.Sprintf("%s: still in progress", w.app))
			}
			break
		}
		for _, e := range list {
			w.after = e.Seq
			if !settled && e.Kind == dm.ApplicationEvent && e.ID == string(w.app) && e.RequestID == w.request {
				sayEvent(t, e)
				settled = !e.State.Working()
			}
		}
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
