package githttp

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// answer passes on what git writes. The status is sent with git's first byte
// and not before: until then a failure can still be told.
type answer struct {
	w         http.ResponseWriter
	rc        *http.ResponseController
	idle      time.Duration
	operation operation
	protocol  string

	mu      sync.Mutex // held during a Write
	started bool
	err     error // of the connection

	state  sync.Mutex // never held while waiting
	closed bool       // nobody may write any more
}

// Write gives the client a new term for each piece. Progress of a push is sent
// at once; and when its client is gone the rest of the answer goes nowhere,
// because git would die of an error while it changes the repository.
func (a *answer) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.extend() {
		return 0, errOver
	}
	a.begin()
	if a.operation != receive {
		n, err := a.w.Write(p)
		if err != nil {
			a.err = err
		}
		return n, err
	}
	if a.err == nil {
		_, a.err = a.w.Write(p)
	}
	if a.err == nil {
		a.err = a.rc.Flush()
	}
	return len(p), nil
}

// past is a deadline that fails at once.
var past = time.Unix(1, 0)

// errOver is the error of a Write after close.
var errOver = errors.New("the answer is over")

// extend moves the deadline on, unless close was called.
func (a *answer) extend() bool {
	a.state.Lock()
	defer a.state.Unlock()
	if !a.closed {
		_ = a.rc.SetWriteDeadline(time.Now().Add(a.idle))
	}
	return !a.closed
}

// close refuses all later Writes and breaks off one that is blocked, which
// happens when git was ended and the client does not read. It returns when
// nobody uses the ResponseWriter any more.
func (a *answer) close() {
	if !a.mu.TryLock() {
		a.state.Lock()
		a.closed = true
		_ = a.rc.SetWriteDeadline(past)
		a.state.Unlock()
		a.mu.Lock()
	}
	defer a.mu.Unlock()
	a.state.Lock()
	defer a.state.Unlock()
	a.closed = true
}

// begin sends status and headers, once; the caller holds mu or is alone. Below
// version 2 the advertisement begins with the name of the service; version 2
// has dropped it.
func (a *answer) begin() {
	if a.started {
		return
	}
	a.started = true
	if !a.operation.advertises() {
		noCache(a.w.Header())
		a.w.Header().Set("Content-Type", a.operation.contentType("result"))
		a.w.WriteHeader(http.StatusOK)
		return
	}
	advertisement(a.w, a.operation)
	if a.protocol != "version=2" {
		line := "# service=" + a.operation.service() + "\n"
		_, a.err = fmt.Fprintf(a.w, "%04x%s0000", len(line)+4, line)
	}
}

// advertisement sends status and headers of an answer to the first step.
func advertisement(w http.ResponseWriter, o operation) {
	noCache(w.Header())
	w.Header().Set("Content-Type", o.contentType("advertisement"))
	w.WriteHeader(http.StatusOK)
}

// noCache sets the headers that git's own server sets.
func noCache(h http.Header) {
	h.Set("Expires", "Fri, 01 Jan 1980 00:00:00 GMT")
	h.Set("Pragma", "no-cache")
	h.Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
}
