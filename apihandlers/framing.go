package apihandlers

import (
	"bytes"
	"context"
	"net/http"
	"sync"

	dm "github.com/pndaproject/deployment-manager"
)

// A request with both Content-Length and Transfer-Encoding says in two ways where
// it ends. A proxy in front may go by the one and this server by the other; then
// what is body to the proxy is the next request to the server, with the rights of
// whoever uses the connection next. net/http goes by Transfer-Encoding and drops
// the other without a word, so that no handler can tell. Two things are done:
//
//   - After every request in chunks the connection is closed, as RFC 9112 section
//     6.3 demands of those with both. What follows it is never read as a request.
//   - Where the connection speaks plain HTTP its first lines are looked at as they
//     arrive, and both is 400.

// connectionKey finds the *connection in the context of its requests.
type connectionKey struct{}

// withConnection is for http.Server.ConnContext.
func withConnection(ctx context.Context, own *connection) context.Context {
	return context.WithValue(ctx, connectionKey{}, own)
}

// checkFraming closes the connection behind a request in chunks, and refuses one
// that tells a length too.
func checkFraming(w http.ResponseWriter, r *http.Request) error {
	both := false
	if own, ok := r.Context().Value(connectionKey{}).(*connection); ok {
		both = own.head.end()
	}
	if r.ProtoMajor != 1 || len(r.TransferEncoding) == 0 {
		return nil
	}
	w.Header().Set("Connection", "close")
	if both {
		return dm.Errorf(dm.Invalid, "check framing", "the request has both a Content-Length and a Transfer-Encoding")
	}
	return nil
}

// head notices, in the bytes of a connection, whether the header of the request
// that arrives names both. It looks at nothing behind the empty line, so that no
// body is taken for a header.
type head struct {
	mu      sync.Mutex
	over    bool     // the empty line has come, or the handler has begun
	line    [18]byte // the beginning of the line
	n       int      // its length so far; more than line holds is not kept
	length  bool
	chunked bool
}

// begin starts with the next request.
func (h *head) begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over, h.n, h.length, h.chunked = false, 0, false, false
}

// end tells what the header had, and stops looking.
func (h *head) end() (both bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	return h.length && h.chunked
}

// feed looks at bytes as they arrive.
func (h *head) feed(data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(data) > 0 && !h.over {
		part, rest, whole := bytes.Cut(data, []byte("\n"))
		if h.n < len(h.line) {
			copy(h.line[h.n:], part)
		}
		h.n += len(part)
		data = rest
		if whole {
			h.endLine()
		}
	}
}

// endLine judges a line. net/http takes no empty line before a request either.
func (h *head) endLine() {
	line := bytes.ToLower(bytes.TrimRight(h.line[:min(h.n, len(h.line))], "\r"))
	h.n = 0
	switch {
	case len(line) == 0:
		h.over = true
	case bytes.HasPrefix(line, []byte("content-length:")):
		h.length = true
	case bytes.HasPrefix(line, []byte("transfer-encoding:")):
		h.chunked = true
	}
}
