package githttp

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// headSize is how much of a body is read before a git process is started for
// it. Nearly every request of a fetch fits, so that a client that sends slowly
// holds memory but no process.
const headSize = 64 << 10

// body reads a request body under its limits. Reads come from one goroutine,
// close and failure from another.
type body struct {
	source     io.Reader // of expanded bytes
	rc         *http.ResponseController
	pace       pace
	end        time.Time // of the whole request
	wire, room int64     // bytes that may still come, as sent and expanded

	mu    sync.Mutex  // held during a Read
	err   error       // what ended the body; io.EOF at its end
	ended func(error) // is told err, once, before the reader is; may be nil

	state   sync.Mutex // never held while waiting
	drained bool       // everything sent was read
	closed  bool       // nobody wants more
}

// newBody prepares to read r's body. The error is for the client.
func newBody(r *http.Request, rc *http.ResponseController, l Limits) (*body, error) {
	const op = "githttp.body"
	if r.ContentLength > l.Wire {
		return nil, tooLarge(op, l.Wire)
	}
	b := &body{rc: rc, pace: newPace(l.Rate, l.Idle), end: time.Now().Add(l.Duration), wire: l.Wire, room: l.Expanded}
	sent := &wireReader{b: b, r: r.Body}
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
		b.source = sent
	case "gzip", "x-gzip":
		b.source = &gzipReader{from: sent}
	default:
		return nil, dm.Errorf(dm.Invalid, op, "the content encoding is not supported; gzip is").
			Because(&refused{http.StatusUnsupportedMediaType})
	}
	return b, nil
}

func tooLarge(op string, limit int64) error {
	return dm.Errorf(dm.TooLarge, op, "the request is larger than the limit of %d bytes", limit)
}

// Read reads expanded bytes and remembers what ended the body.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.source.Read(p[:min(int64(len(p)), b.room+1)])
	if int64(n) > b.room {
		n, err = int(b.room), dm.Errorf(dm.TooLarge, "githttp.body", "the request is too large when it is expanded")
	}
	b.room -= int64(n)
	if b.err = explain(err); b.err != nil && b.ended != nil {
		b.ended(b.err)
	}
	return n, b.err
}

// explain turns the errors of connection and compression into answers.
func explain(err error) error {
	const op = "githttp.body"
	var known *dm.Error
	switch {
	case err == nil || errors.Is(err, io.EOF) || errors.As(err, &known):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		return dm.Errorf(dm.Unavailable, op, "the request did not arrive in time").Because(&refused{http.StatusRequestTimeout})
	}
	return dm.Errorf(dm.Invalid, op, "the request body could not be read").Because(err)
}

// failure is what ended the body too early, nil when it ended well or goes on.
func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.err, io.EOF) {
		return nil
	}
	return b.err
}

// close ends a blocked Read and all later ones. It returns when nobody reads
// the request any more, and tells whether all of it was read.
func (b *body) close() (drained bool) {
	b.state.Lock()
	drained, b.closed = b.drained, true
	if !drained {
		_ = b.rc.SetReadDeadline(past)
	}
	b.state.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = errors.New("the request is over")
	}
	return drained
}

// finish reads what is left behind what git has read, normally nothing but the
// mark of the end, and closes. With all it reads the whole rest within the
// limits: who is still sending a push that git refused reads nothing of the
// reasons when the connection breaks.
func (b *body) finish(all bool) (drained bool) {
	if all {
		_, _ = io.Copy(io.Discard, b)
		return b.close()
	}
	b.state.Lock()
	if !b.drained {
		b.end = time.Now().Add(lingering)
		_ = b.rc.SetReadDeadline(b.end)
	}
	b.state.Unlock()
	_, _ = io.CopyN(io.Discard, b, headSize)
	return b.close()
}

// past is a deadline that fails at once.
var past = time.Unix(1, 0)

// extend moves the deadline to what is left from now, unless close has ended
// reading. Connections without deadlines are served without.
func (b *body) extend(now time.Time) {
	b.state.Lock()
	defer b.state.Unlock()
	if b.closed {
		return
	}
	deadline := now.Add(b.pace.left)
	if deadline.After(b.end) {
		deadline = b.end
	}
	_ = b.rc.SetReadDeadline(deadline)
}

// drain notes the end of what was sent. The server goes on reading to notice
// that the client left; to it a deadline would look like that.
func (b *body) drain() {
	b.state.Lock()
	defer b.state.Unlock()
	b.drained = true
	if !b.closed {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
}

// wireReader reads bytes as sent, with a deadline that moves on with them.
type wireReader struct {
	b *body
	r io.Reader
}

func (w *wireReader) Read(p []byte) (int, error) {
	begin := time.Now()
	w.b.extend(begin)
	n, err := w.r.Read(p[:min(int64(len(p)), w.b.wire+1, w.b.pace.bytes())])
	w.b.pace.brought(n, time.Since(begin))
	if w.b.wire -= int64(n); w.b.wire < 0 {
		return 0, dm.Errorf(dm.TooLarge, "githttp.body", "the request is too large")
	}
	if errors.Is(err, io.EOF) {
		w.b.drain()
	}
	return n, err
}

// gzipReader expands from its first Read on: making a gzip.Reader reads.
type gzipReader struct {
	from io.Reader
	gz   *gzip.Reader
}

func (g *gzipReader) Read(p []byte) (int, error) {
	if g.gz == nil {
		gz, err := gzip.NewReader(g.from)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // an empty body is not an empty gzip stream
		}
		if err != nil {
			return 0, err
		}
		g.gz = gz
	}
	return g.gz.Read(p)
}
