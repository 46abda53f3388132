package apihandlers

import (
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// BodyLimits bound one request body.
type BodyLimits struct {
	Size  int64         // bytes
	Stall time.Duration // longest wait for the next Progress bytes; 0 means DefaultStall
	// Archive tells that the body is a file that may be compressed by itself, see
	// coding.
	Archive bool
}

// DefaultStall is how long a body may stand still.
const DefaultStall = 30 * time.Second

// progress is how many bytes must arrive within one stall time. A client that
// sends single bytes makes no progress.
const progress = 4 << 10

// Body is a request body with a limit of bytes and a rolling deadline: a slow
// body that moves may take any time, one that stands still is cut. It remembers
// what went wrong, because those who read it wrap errors in their own words.
type Body struct {
	in       io.Reader
	deadline func(time.Time) error
	stall    time.Duration
	left     time.Duration // of the present stall time
	got      int           // bytes within it
	end      error         // io.EOF or the fault, once reached
	coding   *coding       // nil for a body that is sent as it is
	coded    error         // what was wrong with the coding
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
	b := &Body{
		in:       http.MaxBytesReader(w, r.Body, limits.Size),
		deadline: http.NewResponseController(w).SetReadDeadline,
		stall:    limits.Stall,
		left:     limits.Stall,
	}
	if isCoded {
		b.coding = &coding{body: b, archive: limits.Archive, room: limits.Size, limit: limits.Size}
	}
	return b, nil
}

// Length is how many bytes Read will give in all, -1 when that is not known.
func (b *Body) Length(r *http.Request) int64 {
	if b.coding != nil {
		return -1
	}
	return r.ContentLength
}

// Read gives the body without its Content-Encoding.
func (b *Body) Read(p []byte) (int, error) {
	if b.coding != nil {
		return b.coding.Read(p)
	}
	return b.read(p)
}

func tooLarge(limit int64) error {
	return dm.Errorf(dm.TooLarge, "read body", "the body is larger than %d bytes", limit)
}

// read counts only the time spent waiting for the client against the deadline,
// not the time that the reader of the body takes for its own work.
func (b *Body) read(p []byte) (int, error) {
	if b.end != nil {
		return 0, b.end
	}
	start := time.Now()
	// Where the connection takes no deadline (a test's recorder) none is needed.
	_ = b.deadline(start.Add(b.left))
	n, err := b.in.Read(p)
	b.got += n
	if b.got >= progress {
		b.got, b.left = 0, b.stall
	} else {
		b.left -= time.Since(start)
	}
	switch {
	case errors.Is(err, io.EOF):
		// From here on the server watches the connection for the client's
		// going away; a deadline would look like that.
		_ = b.deadline(time.Time{})
		b.end = io.EOF
	case err != nil:
		b.end = bodyFault(err)
	}
	return n, b.end
}

// Fault returns what went wrong with the client's sending, if anything did. A
// handler answers with it in place of what the body's reader made of it.
func (b *Body) Fault() error {
	if fault := b.wireFault(); fault != nil {
		return fault
	}
	return b.coded
}

func (b *Body) wireFault() error {
	if errors.Is(b.end, io.EOF) {
		return nil
	}
	return b.end
}

func bodyFault(err error) error {
	const op = "read body"
	var limit *http.MaxBytesError
	var timeout net.Error
	switch {
	case errors.As(err, &limit):
		return tooLarge(limit.Limit)
	case errors.As(err, &timeout) && timeout.Timeout():
		return &httpFault{requestTimeout, dm.Errorf(dm.Invalid, op, "the body stopped arriving").Because(err)}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return dm.Errorf(dm.Invalid, op, "the body ended before its end was announced").Because(err)
	}
	return dm.Errorf(dm.Invalid, op, "the body could not be read").Because(err)
}
