package apihandlers

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// BodyLimits bound one request body.
type BodyLimits struct {
	Size     int64         // bytes as sent
	Expanded int64         // bytes without the Content-Encoding; 0 means Size
	Stall    time.Duration // longest time that a client may stand still, see pace; 0 means DefaultStall
	Until    time.Time     // when all of it must be there; zero means no such time
	// Archive tells that the body is a file that may be compressed by itself, see
	// coding.
	Archive bool
}

// DefaultStall is how long a body may stand still.
const DefaultStall = 30 * time.Second

// Body is a request body with a limit of bytes and a rolling deadline: a slow
// body that moves may take any time, one that stands still or falls behind its
// pace is cut. It remembers what went wrong, because those who read it wrap
// errors in their own words. Reads come from one goroutine at a time; the other
// methods may be called from another.
type Body struct {
	sent   sent
	source io.Reader // without the coding
	room   int64     // bytes that may still come from source
	limit  int64

	mu  sync.Mutex // held during a Read
	end error      // io.EOF or the fault, once reached
}

// OpenBody checks what can be known before a byte is read, so that a client
// that waits for "100 Continue" never sends a body that would be refused.
func OpenBody(w http.ResponseWriter, r *http.Request, limits BodyLimits) (*Body, error) {
	isCoded, err := isCoded(w, r)
	if err != nil {
		return nil, err
	}
	if r.ContentLength > limits.Size {
		return nil, tooLarge(limits.Size)
	}
	if limits.Stall <= 0 {
		limits.Stall = DefaultStall
	}
	b := &Body{room: limits.Size, limit: limits.Size, sent: sent{
		in: r.Body, room: limits.Size, limit: limits.Size, until: limits.Until, chunked: r.ContentLength < 0,
		pace:     pace{limits.Stall, limits.Stall},
		deadline: http.NewResponseController(w).SetReadDeadline,
	}}
	b.source = &b.sent
	if isCoded {
		b.source = &coding{sent: &b.sent, archive: limits.Archive}
		if limits.Expanded > 0 {
			b.room, b.limit = limits.Expanded, limits.Expanded
		}
	}
	return b, nil
}

// Length is how many bytes Read will give in all, -1 when that is not known.
func (b *Body) Length(r *http.Request) int64 {
	if b.source != &b.sent {
		return -1
	}
	return r.ContentLength
}

// Read gives the body without its Content-Encoding.
func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end != nil {
		return 0, b.end
	}
	n, err := b.source.Read(p[:min(int64(len(p)), b.room+1)])
	if int64(n) > b.room {
		n, err = int(b.room), tooLarge(b.limit)
	}
	b.room -= int64(n)
	b.end = b.explain(err)
	return n, b.end
}

// explain finds the words for what ended the body. What is wrong with the sending
// comes first: the coding only missed the rest.
func (b *Body) explain(err error) error {
	switch {
	case b.sent.fault != nil:
		return b.sent.fault
	case err == nil, errors.Is(err, io.EOF), dm.KindOf(err) == dm.TooLarge:
		return err
	}
	return dm.Errorf(dm.Invalid, "read body", "the body is not valid gzip, as its Content-Encoding says").Because(err)
}

// Fault returns what went wrong with the client's sending, if anything did. A
// handler answers with it in place of what the body's reader made of it. It waits
// for a Read that is under way.
func (b *Body) Fault() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.end, io.EOF) {
		return nil
	}
	return b.end
}

// Hurry gives what is still to come no more time than d.
func (b *Body) Hurry(d time.Duration) { b.sent.hurry(time.Now().Add(d)) }

// Stop ends a Read that waits, and all later ones. When it returns nobody reads
// the request any more; whole tells whether all that was sent had been read.
func (b *Body) Stop() (whole bool) {
	whole = b.sent.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.end == nil {
		b.end = dm.Errorf(dm.Invalid, "read body", "the request is over")
	}
	return whole
}

// sent reads the bytes as they were sent, with a deadline that moves on with them.
type sent struct {
	in          io.Reader
	room, limit int64 // bytes
	chunked     bool
	pace        pace
	deadline    func(time.Time) error
	fault       error // of the sending; never io.EOF

	mu      sync.Mutex // of the deadline; never held while waiting
	until   time.Time
	drained bool // the end was seen
	stopped bool // nobody wants more
}

// Read counts only the time spent waiting for the client against the deadline,
// not the time that the reader of the body takes for its own work.
func (s *sent) Read(p []byte) (int, error) {
	begin := time.Now()
	s.extend(begin)
	most := min(int64(len(p)), s.room+1)
	if s.chunked {
		most = min(most, s.pace.bytes())
	}
	n, err := s.in.Read(p[:most])
	s.pace.brought(n, time.Since(begin))
	if s.room -= int64(n); s.room < 0 {
		n, err = n-1, tooLarge(s.limit)
	}
	switch {
	case errors.Is(err, io.EOF):
		s.drain()
	case err != nil:
		s.fault = bodyFault(err)
	}
	return n, err
}

// past is a deadline that fails at once.
var past = time.Unix(1, 0)

// extend moves the deadline to what is left from now, unless stop was called.
// Where the connection takes no deadline (a test's recorder) none is needed.
func (s *sent) extend(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	deadline := now.Add(s.pace.left)
	if !s.until.IsZero() && deadline.After(s.until) {
		deadline = s.until
	}
	_ = s.deadline(deadline)
}

// drain notes the end. From here on the server watches the connection for the
// client's going away; a deadline would look like that.
func (s *sent) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drained = true
	if !s.stopped {
		_ = s.deadline(time.Time{})
	}
}

func (s *sent) hurry(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.drained && !s.stopped {
		s.until = until
		_ = s.deadline(until)
	}
}

func (s *sent) stop() (drained bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if !s.drained {
		_ = s.deadline(past)
	}
	return s.drained
}

func tooLarge(limit int64) error {
	return dm.Errorf(dm.TooLarge, "read body", "the body is larger than %d bytes", limit)
}

func bodyFault(err error) error {
	const op = "read body"
	var timeout net.Error
	switch {
	case dm.KindOf(err) == dm.TooLarge:
		return err
	case errors.As(err, &timeout) && timeout.Timeout():
		return &httpFault{requestTimeout, dm.Errorf(dm.Invalid, op, "timed out reading the body").Because(err)}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return dm.Errorf(dm.Invalid, op, "unexpected end of the body").Because(err)
	}
	return dm.Errorf(dm.Invalid, op, "the body could not be read").Because(err)
}
