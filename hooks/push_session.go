package hooks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/hooks/hook"
)

// What becomes of a push, as the counter names it.
const (
	pushUnjudged = "unjudged" // git ended before it asked: nothing to do, or a pack that fsck refused
	pushRefused  = "refused"
	pushFailed   = "failed" // the server is at fault or is not available
	pushDry      = "dry run"
	pushAccepted = "accepted" // all refs
)

// pushSession is one push from when it has arrived.
type pushSession struct {
	push    dm.Push
	request string // id of the request that pushes

	// Guarded by PushServer.mu.
	entered bool   // its hook has come
	cancel  func() // ends the hook, as far as it can be ended

	running sync.WaitGroup // the hook at work

	// Of the hook at work; before and after it nobody touches them.
	outcome string
	asked   asked
	refs    []dm.PushedRef // what is asked, understood
	news    *watcher       // of the application, nil when no progress is relayed
	done    []acceptedRef  // what has been made true
}

// repository is where the push goes, for the log.
func (p *pushSession) repository() string {
	r := p.push.Repository()
	return string(r.Kind) + "/" + r.Name
}

// acceptedRef is one ref with what became of it.
type acceptedRef struct {
	ref     dm.PushedRef
	outcome dm.PushOutcome
}

// serve answers one hook program. ctx ends when the server stops, late a little
// after that.
func (s *PushServer) serve(ctx, late context.Context, conn *net.UnixConn) {
	defer conn.Close()
	stopReading := func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) } // a failure shows at the next read
	unblock := context.AfterFunc(ctx, stopReading)
	defer unblock()
	t := &talk{conn: conn}
	_ = conn.SetReadDeadline(time.Now().Add(helloTimeout))
	if ctx.Err() != nil { // the deadline above has perhaps undone that of the stop
		return
	}
	id, err := hook.ReadHello(conn)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		s.cfg.Log.Warn("malformed message from a hook program", "err", err)
		t.say("malformed message from this hook program")
		t.exit(1)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	p, err := s.enter(id, cancel)
	if err != nil {
		s.cfg.Log.Warn("a hook program was refused", "err", err)
		t.sayError("", err)
		t.exit(1)
		return
	}
	defer p.running.Done()
	_ = conn.SetReadDeadline(time.Time{})
	defer context.AfterFunc(ctx, stopReading)() // of the hook's own time, and again of the server's
	t.exit(s.answer(dm.WithRequestID(ctx, p.request), dm.WithRequestID(late, p.request), cancel, p, t))
}

// enter finds the session, whose hook may come once.
func (s *PushServer) enter(id string, cancel func()) (*pushSession, error) {
	const op = "hooks.enter"
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.sessions[id]
	switch {
	case p == nil:
		return nil, dm.Errorf(dm.Forbidden, op, "unknown push")
	case p.entered:
		return nil, dm.Errorf(dm.Forbidden, op, "this push has had its answer")
	}
	p.entered, p.cancel = true, cancel
	p.running.Add(1)
	return p, nil
}

// answer takes the push or refuses it, reports that to git, and tells how it goes
// on. A panic is one push's failure, not the server's: what is judged comes from
// outside.
func (s *PushServer) answer(ctx, late context.Context, cancel func(), p *pushSession, t *talk) (exit int) {
	defer func() {
		if r := recover(); r != nil {
			s.cfg.Log.Error("hook panicked", "panic", r, "stack", string(debug.Stack()), "repository", p.repository(), "request_id", p.request)
			p.outcome = pushFailed
			t.say("internal error")
			exit = 2
		}
	}()
	p.outcome = pushFailed
	var err error
	if p.asked, err = readAsked(t.conn, t); err != nil {
		t.say("protocol error between git and the server")
		s.cfg.Log.Error("malformed push from git", "repository", p.repository(), "request_id", p.request, "err", s.orLate(ctx, err))
		return 2
	}
	var gone sync.WaitGroup
	defer gone.Wait()
	defer t.conn.CloseRead() // ends the wait below
	gone.Go(func() {
		_, _ = io.Copy(io.Discard, t.conn) // until the program is gone
		cancel()
	})
	var report bytes.Buffer
	options, faults := s.judge(ctx, p, t)
	switch {
	case len(faults) > 0:
		refuseAll(&report, p.asked.commands, faults)
	case p.asked.atomic && len(p.refs) > 1:
		p.outcome = pushRefused
		refuseAll(&report, p.asked.commands, []error{
			dm.Errorf(dm.Invalid, "hooks.answer", "versions are published one by one, push without --atomic"),
		})
	case ctx.Err() != nil: // nobody waits for it any more, and nothing is begun
		p.outcome = pushFailed
		refuseAll(&report, p.asked.commands, []error{s.orLate(ctx, nil)})
	case options.dry:
		p.outcome = pushDry
		moveNone(&report, p.refs)
	default:
		s.acceptAll(late, p, t, &report)
	}
	report.WriteString(flushPacket)
	if _, err := t.Write(report.Bytes()); err != nil {
		s.cfg.Log.Warn("a push was gone before its result was reported", "repository", p.repository(), "request_id", p.request, "outcome", p.outcome, "err", err)
	}
	s.tellProgress(ctx, p, t)
	return 0
}

// judge looks at every ref and option before any is accepted, and tells
// everything that is wrong at once.
func (s *PushServer) judge(ctx context.Context, p *pushSession, t *talk) (pushOptions, []error) {
	p.outcome = pushRefused
	options, faults := parseOptions(p.asked.options)
	refs, more := understand(p.push.Repository(), p.asked.commands)
	faults = append(faults, more...)
	for _, fault := range faults {
		t.sayError("", fault)
	}
	for _, ref := range refs {
		ref.Reason, ref.Faulty = options.reason, options.faulty
		p.refs = append(p.refs, ref)
		outcome, err := p.push.Judge(ctx, ref)
		if err != nil {
			err = s.orLate(ctx, err)
			s.refuse(p, t, ref, err)
			faults = append(faults, refFault{ref.Name, err})
			continue
		}
		if options.dry {
			t.say(wouldSay(p.push.Repository(), ref, outcome))
			t.sayNotes(outcome.Notes)
		}
	}
	return options, faults
}

// acceptAll makes the changes one after the other; one that fails does not hold
// up the others, because each stands for itself. ctx outlives the client: once a
// change is begun it is brought to its end.
func (s *PushServer) acceptAll(ctx context.Context, p *pushSession, t *talk, report io.Writer) {
	if r := p.push.Repository(); r.Kind == dm.ApplicationRepository {
		// Before anything moves, so that the first transition is not missed.
		p.news = &watcher{dm.ApplicationName(r.Name), p.request, s.cfg.Events.Newest()}
	}
	p.outcome = pushAccepted
	for _, ref := range p.refs {
		ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		made, err := p.push.Accept(ctx, ref)
		cancel()
		if err != nil {
			s.refuse(p, t, ref, err)
			ng(report, ref.Name, replyTo(err).message)
			continue
		}
		p.done = append(p.done, acceptedRef{ref, made})
		t.sayNotes(made.Notes)
		ok(report, ref.Name, made.Ref)
	}
}

// refuse tells why a ref is not taken. What stays hidden from the person goes to
// the log.
func (s *PushServer) refuse(p *pushSession, t *talk, ref dm.PushedRef, err error) {
	failed := t.sayError(quoted(ref.Name), err)
	if !failed {
		if p.outcome != pushFailed {
			p.outcome = pushRefused
		}
		return
	}
	p.outcome = pushFailed
	level := slog.LevelWarn
	if dm.KindOf(err) == dm.Internal {
		level = slog.LevelError
	}
	s.cfg.Log.Log(context.Background(), level, "a ref was rejected", "repository", p.push.Repository().Name,
		"request_id", p.request, "err", err)
}

// orLate puts what really happened in place of err when the hook's time or the
// server's has come to an end.
func (s *PushServer) orLate(ctx context.Context, err error) error {
	const op = "hooks.judge"
	switch cause := ctx.Err(); {
	case errors.Is(cause, context.DeadlineExceeded):
		return dm.Errorf(dm.Unavailable, op, "the push could not be checked within %s", s.cfg.Timeout).Because(err)
	case cause != nil:
		return dm.Errorf(dm.Unavailable, op, "the push was aborted").Because(err)
	}
	return err
}
