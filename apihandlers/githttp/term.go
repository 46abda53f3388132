package githttp

import (
	"bufio"
	"context"
	"errors"
	"io"
	"time"
)

// term is how long git may work for one request. It ends when the client
// leaves and at the limit of the whole request, but not for a push that has
// arrived: git must not be killed while it changes the repository, so from
// then on it has a time of its own.
type term struct {
	cancel context.CancelFunc
	timer  *time.Timer
	attend func() bool // ends the watch over the client
	finish time.Duration
}

func newTerm(q *request, l Limits) (context.Context, *term) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(q.Context()))
	return ctx, &term{
		cancel: cancel, finish: l.Finish,
		timer:  time.AfterFunc(l.Duration, cancel),
		attend: context.AfterFunc(q.Context(), cancel),
	}
}

// bodyEnded returns what to do at the end of a push's body. Where it broke off,
// git's answer is cut before git can notice and report it as a broken pack:
// what really happened is told by the status.
func (t *term) bodyEnded(a *answer) func(error) {
	return func(err error) {
		switch {
		case !errors.Is(err, io.EOF):
			a.close()
			t.cancel()
		case t.attend() && t.timer.Stop():
			t.timer.Reset(t.finish)
		}
	}
}

// end gives everything back. It is called when nobody reads the body any more.
func (t *term) end() {
	t.attend()
	t.timer.Stop()
	t.cancel()
}

// lastByte holds the last byte of a body back until the end of the request was
// seen. git has the whole of a push only with that byte, so it changes nothing
// as long as a failure of the body still ends it.
type lastByte struct{ in *bufio.Reader }

func (l *lastByte) Read(p []byte) (int, error) {
	switch rest, err := l.in.Peek(2); {
	case err == nil:
		return l.in.Read(p[:min(len(p), l.in.Buffered()-1)])
	case errors.Is(err, io.EOF) && len(rest) > 0:
		return l.in.Read(p)
	default:
		return 0, err
	}
}
