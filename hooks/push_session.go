package hooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// What becomes of a push, as the counter names it.
const (
	pushUnjudged = "unjudged" // git ended before it asked: nothing to do, or a pack that fsck refused
	pushRefused  = "refused"
	pushFailed   = "failed" // the server is at fault or is not available
	pushJudged   = "judged" // found good, then git ended before the refs moved
	pushDry      = "dry run"
	pushAccepted = "accepted" // all refs
)

// pushSession is one push on its way through the three hooks.
type pushSession struct {
	push    dm.Push
	request string // id of the request that pushes

	// Guarded by PushServer.mu.
	next   string // the hook that may come next, "" when none may
	cancel func() // ends the hook at work, as far as it can be ended

	running sync.WaitGroup // the hook at work

	// Of the hook at work; between hooks nobody touches them.
	outcome  string
	commands []command      // as pre-receive showed them
	refs     []dm.PushedRef // the same, understood
	dry      bool
	news     *watcher      // of the application, nil when no progress is relayed
	done     []acceptedRef // what proc-receive has made true
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
	h, err := readHello(conn)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		s.cfg.Log.Warn("a hook program could not be understood", "err", err)
		t.say("the server can't understand this hook program")
		t.exit(1)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	p, err := s.enter(h, cancel)
	if err != nil {
		s.cfg.Log.Warn("a hook program was sent away", "hook", h.Hook, "err", err)
		t.sayError("", err)
		t.exit(1)
		return
	}
	defer p.running.Done()
	_ = conn.SetReadDeadline(time.Time{})
	defer context.AfterFunc(ctx, stopReading)() // of the hook's own time, and again of the server's

	var reader sync.WaitGroup
	defer reader.Wait()
	defer conn.Close() // ends the reader
	input, feed := io.Pipe()
	defer input.Close()
	reader.Go(func() {
		feed.CloseWithError(readInput(conn, feed))
		waitForEnd(conn)
		cancel()
	})
	t.in = input
	next, exit := s.answer(dm.WithRequestID(ctx, p.request), dm.WithRequestID(late, p.request), p, h, t)
	s.leave(p, next)
	t.exit(exit)
}

// enter finds the session and lets the hook in when it is its turn.
func (s *PushServer) enter(h hello, cancel func()) (*pushSession, error) {
	const op = "hooks.enter"
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.sessions[h.Session]
	switch {
	case p == nil:
		return nil, dm.Errorf(dm.Forbidden, op, "the server knows nothing of this push")
	case p.next == "" || p.next != h.Hook:
		return nil, dm.Errorf(dm.Forbidden, op, "this hook of the push is not awaited now")
	}
	p.next, p.cancel = "", cancel
	p.running.Add(1)
	return p, nil
}

// leave opens the door for the next hook, before the program hears that it may
// end.
func (s *PushServer) leave(p *pushSession, next string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.next, p.cancel = next, nil
}

// answer does what the hook is for. A panic is one push's failure, not the
// server's: what is judged comes from outside.
func (s *PushServer) answer(ctx, late context.Context, p *pushSession, h hello, t *talk) (next string, exit int) {
	defer func() {
		if r := recover(); r != nil {
			s.cfg.Log.Error("hook panicked", "hook", h.Hook, "panic", r, "stack", string(debug.Stack()), "request_id", p.request)
			p.outcome = pushFailed
			t.say("internal error")
			next, exit = "", 2
		}
	}()
	switch h.Hook {
	case preReceive:
		return s.judge(ctx, p, h, t)
	case procReceive:
		return s.accept(late, p, t)
	default:
		s.tellProgress(ctx, p, t)
		return "", 0
	}
}

// judge is pre-receive: every ref and option is looked at, and everything that
// is wrong is told at once.
func (s *PushServer) judge(ctx context.Context, p *pushSession, h hello, t *talk) (next string, exit int) {
	options, faults := parseOptions(h.Options)
	commands, count, err := readCommands(t.in)
	if err != nil {
		faults = append(faults, err)
	}
	refs, more := understand(p.push.Repository(), commands, count)
	faults = append(faults, more...)
	p.outcome = pushRefused
	for _, fault := range faults {
		t.sayError("", fault)
		exit = 1
	}
	p.commands, p.dry = commands, options.dry
	for _, ref := range refs {
		ref.Reason, ref.Faulty = options.reason, options.faulty
		p.refs = append(p.refs, ref)
		outcome, err := p.push.Judge(ctx, string(h.Quarantine), ref)
		if err != nil {
			exit = max(exit, s.refuse(p, t, ref, s.orLate(ctx, err)))
			continue
		}
		if options.dry {
			t.say(wouldSay(p.push.Repository(), ref, outcome))
			t.sayNotes(outcome.Notes)
		}
	}
	if exit != 0 {
		return "", exit
	}
	p.outcome = pushJudged
	return procReceive, 0
}

// refuse tells why a ref is not taken, and returns the exit status. What stays
// hidden from the person goes to the log.
func (s *PushServer) refuse(p *pushSession, t *talk, ref dm.PushedRef, err error) (exit int) {
	exit = t.sayError(quoted(ref.Name), err)
	p.outcome = pushRefused
	if exit > 1 {
		p.outcome = pushFailed
		level := slog.LevelWarn
		if dm.KindOf(err) == dm.Internal {
			level = slog.LevelError
		}
		s.cfg.Log.Log(context.Background(), level, "a ref was not taken", "repository", p.push.Repository().Name,
			"request_id", p.request, "err", err)
	}
	return exit
}

// orLate puts what really happened in place of err when the hook's time or the
// server's has come to an end.
func (s *PushServer) orLate(ctx context.Context, err error) error {
	const op = "hooks.judge"
	switch cause := ctx.Err(); {
	case errors.Is(cause, context.DeadlineExceeded):
		return dm.Errorf(dm.Unavailable, op, "the push could not be judged within %s", s.cfg.Timeout).Because(err)
	case cause != nil:
		return dm.Errorf(dm.Unavailable, op, "the push was given up").Because(err)
	}
	return err
}

// readInput copies the program's standard input to w until it ends or nobody
// reads it any more.
func readInput(conn io.Reader, w io.Writer) error {
	for {
		kind, payload, err := readFrame(conn)
		switch {
		case err != nil:
			return io.ErrUnexpectedEOF
		case kind != frameInput:
			return fmt.Errorf("a frame %q came in place of input", kind)
		case len(payload) == 0:
			return io.EOF
		}
		if _, err := w.Write(payload); err != nil {
			return err
		}
	}
}

// waitForEnd returns when the program is gone, or the connection's time is over.
func waitForEnd(conn io.Reader) {
	_, _ = io.Copy(io.Discard, onlyReader{conn})
}
