package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"

	dm "github.com/pndaproject/deployment-manager"
)

const (
	blockSize = 512
	// maxPadding is how many zero bytes may follow the end marker; tar fills
	// up to a multiple of its record size, usually 10 KiB.
	maxPadding = 64 << 10
)

// stream is the body with its layers: limited wire, gzip if there is one,
// limited tar.
type stream struct {
	wire     *wire
	buffered *bufio.Reader // of the wire
	packed   bool
	unpacked *counter
	at       int64  // where the present header begins, in what is unpacked
	last     string // the last entry that was named
	pending  extended
	extended []byte // memory for extended headers
	block    [blockSize]byte
}

// wire counts and limits the body, and keeps its first failure: the layers
// above pass on no causes.
type wire struct {
	ctx   context.Context
	body  io.Reader
	left  int64
	limit int64
	err   error
}

func (w *wire) Read(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if err := w.ctx.Err(); err != nil {
		w.err = dm.Errorf(dm.Unavailable, op, "the upload was aborted").Because(err)
		return 0, w.err
	}
	// One byte more than is allowed tells a body that ends at the limit from
	// one that goes on.
	n, err := w.body.Read(p[:min(int64(len(p)), w.left+1)])
	if int64(n) > w.left {
		w.err = dm.Errorf(dm.TooLarge, op, "the archive has more than %d bytes", w.limit)
		return int(w.left), w.err
	}
	w.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = bodyFault(err)
		err = w.err
	}
	return n, err
}

func bodyFault(err error) error {
	var known *dm.Error
	if errors.As(err, &known) {
		return dm.Wrap(op, err)
	}
	return dm.Errorf(dm.Invalid, op, "unexpected end of the body").Because(err)
}

// errUnpacked is what counter fails with at its limit.
var errUnpacked = errors.New("unpacked limit")

// counter limits what comes out of the gzip layer.
type counter struct {
	r    io.Reader
	read int64
	max  int64
}

func (c *counter) Read(p []byte) (int, error) {
	if c.read >= c.max && len(p) > 0 {
		// Only a stream that goes on is too large.
		var one [1]byte
		n, err := c.r.Read(one[:])
		if n == 0 {
			return 0, err
		}
		return 0, errUnpacked
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.max-c.read)])
	c.read += int64(n)
	return n, err
}

func openStream(ctx context.Context, body io.Reader, limits Limits) (*stream, error) {
	s := &stream{wire: &wire{ctx: ctx, body: body, left: limits.Wire, limit: limits.Wire}}
	s.buffered = bufio.NewReaderSize(s.wire, 64<<10)
	head, err := s.buffered.Peek(blockSize)
	s.unpacked = &counter{r: s.buffered, max: limits.Unpacked}
	switch {
	case s.wire.err != nil:
		return nil, s.wire.err
	case len(head) == 0:
		return nil, dm.Errorf(dm.Invalid, op, "the archive is empty: it has no bytes").WithHint(hintSend)
	case err != nil && !errors.Is(err, io.EOF):
		return nil, s.fault(err)
	case !bytes.HasPrefix(head, []byte(gzipMagic)):
		return s, foreign("the body", head)
	}
	s.packed = true
	z, err := openMembers(s.buffered)
	if err != nil {
		return nil, s.fault(err)
	}
	// Buffered, so that its beginning can be looked at.
	content := bufio.NewReaderSize(z, blockSize)
	s.unpacked.r = content
	if head, err = content.Peek(blockSize); err != nil && !errors.Is(err, io.EOF) {
		return nil, s.fault(err)
	}
	if len(head) == 0 {
		return nil, dm.Errorf(dm.Invalid, op, "the archive is empty: its gzip has no content").WithHint(hintMake)
	}
	return s, foreign("the content of the gzip", head)
}

// fault says why reading failed.
func (s *stream) fault(err error) error {
	var known *dm.Error
	switch {
	case s.wire.err != nil:
		return s.wire.err
	case errors.As(err, &known):
		return err
	case errors.Is(err, errUnpacked):
		return dm.Errorf(dm.TooLarge, op, "the archive unpacks to more than %d bytes", s.unpacked.max)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return dm.Errorf(dm.Invalid, op, "the archive is truncated, %s", s.place(s.unpacked.read)).WithHint(hintCheck)
	case errors.Is(err, gzip.ErrChecksum):
		return dm.Errorf(dm.Invalid, op, "the archive is corrupt: gzip checksum mismatch").WithHint(hintCheck)
	}
	return dm.Errorf(dm.Invalid, op, "the archive is corrupt: invalid gzip data, %s", s.place(s.unpacked.read)).WithHint(hintCheck).Because(err)
}

// place is a byte of the tar, and the last entry that was named before it.
func (s *stream) place(at int64) string {
	text := fmt.Sprintf("at byte %d", at)
	if s.packed {
		text += " of the unpacked data"
	}
	if s.last != "" {
		text += fmt.Sprintf(", after the header of \"%s\"", shown(s.last))
	}
	return text
}

var errMalformed = errors.New("malformed")

func malformed(format string, args ...any) error {
	return dm.Errorf(dm.Invalid, op, "not a readable tar: "+format, args...).WithHint(hintMake).Because(errMalformed)
}

// placed adds to a fault of the tar's form where it is.
func (s *stream) placed(err error) error {
	var e *dm.Error
	if errors.Is(err, errMalformed) && errors.As(err, &e) {
		e.Message += ", " + s.place(s.at)
	}
	return err
}

// full reads all of p.
func (s *stream) full(p []byte) error {
	if _, err := s.most(p); err != nil {
		return s.fault(err)
	}
	return nil
}

// most reads all of p or up to the end. The error is io.EOF exactly when what is
// unpacked ends there as it should.
func (s *stream) most(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var read int
		read, err = s.unpacked.Read(p[n:])
		n += read
	}
	if n == len(p) {
		err = nil // the reader below tells it again
	}
	return n, err
}

// fits refuses an entry by what its header declares, before reading it.
func (s *stream) fits(h *header) error {
	if h.size > s.unpacked.max-s.unpacked.read {
		return s.fault(errUnpacked)
	}
	return nil
}

// skip passes over what is left of an entry's data, and over the zero bytes
// that fill its last block.
func (s *stream) skip(h *header) error {
	if _, err := io.CopyN(io.Discard, s.unpacked, h.size-h.read); err != nil {
		return s.fault(err)
	}
	padding := s.block[:-h.size&(blockSize-1)]
	if err := s.full(padding); err != nil {
		return err
	}
	if !zero(padding) {
		return malformed("data is hidden after the end of the file \"%s\"", shown(h.name))
	}
	return nil
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// end reads what follows the end marker, up to the end of the body, so that
// every checksum of gzip is checked and nothing is hidden.
func (s *stream) end() error {
	for padding := 0; ; {
		s.at = s.unpacked.read
		n, err := s.most(s.block[:])
		padding += n
		switch {
		case !zero(s.block[:n]) && n == blockSize && sumHolds(s.block[:]):
			return s.placed(malformed("a second archive follows the end of the first; put all files into one"))
		case !zero(s.block[:n]):
			return s.placed(malformed("trailing data after the end of the archive"))
		case padding > maxPadding:
			return malformed("more than %d zero bytes follow the end of the archive", maxPadding)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return s.fault(err)
		}
	}
}
