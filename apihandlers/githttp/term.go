package githttp

import (
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

// bodyEnded is called at the end of a push's body. One that broke off ends the
// push; what really happened is told by the status.
func (t *term) bodyEnded(err error) {
	switch {
	case !errors.Is(err, io.EOF):
		t.cancel()
	case t.attend() && t.timer.Stop():
		t.timer.Reset(t.finish)
	}
}

// end gives everything back. It is called when nobody reads the body any more.
func (t *term) end() {
	t.attend()
	t.timer.Stop()
	t.cancel()
}
