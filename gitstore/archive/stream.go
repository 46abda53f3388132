package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
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
		w.err = dm.Errorf(dm.Unavailable, op, "the upload was given up").Because(err)
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
	return dm.Errorf(dm.Invalid, op, "the body could not be read to its end").Because(err)
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

// foreign are archives that people upload by mistake.
var foreign = [...]struct{ magic, name string }{
	{"PK\x03\x04", "a zip file"}, {"PK\x05\x06", "a zip file"}, {"BZh", "compressed with bzip2"},
	{"\xfd7zXZ\x00", "compressed with xz"}, {"\x28\xb5\x2f\xfd", "compressed with zstd"}, {"7z\xbc\xaf", "a 7z file"},
}

func openStream(ctx context.Context, body io.Reader, limits Limits) (*stream, error) {
	s := &stream{wire: &wire{ctx: ctx, body: body, left: limits.Wire, limit: limits.Wire}}
	s.buffered = bufio.NewReaderSize(s.wire, 64<<10)
	head, err := s.buffered.Peek(6)
	switch {
	case s.wire.err != nil:
		return nil, s.wire.err
	case len(head) == 0:
		return nil, dm.Errorf(dm.Invalid, op, "the archive is empty: it has no bytes")
	case err != nil && !errors.Is(err, io.EOF):
		return nil, s.fault(err)
	}
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return nil, dm.Errorf(dm.Invalid, op, "the archive is %s", f.name).WithHint("make it with 'tar czf'")
		}
	}
	s.unpacked = &counter{r: s.buffered, max: limits.Unpacked}
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		s.packed = true
		z, err := gzip.NewReader(s.buffered)
		if err != nil {
			return nil, s.fault(err)
		}
		z.Multistream(false)
		s.unpacked.r = z
	}
	return s, nil
}

// fault says why reading failed.
func (s *stream) fault(err error) error {
	switch {
	case s.wire.err != nil:
		return s.wire.err
	case errors.Is(err, errUnpacked):
		return dm.Errorf(dm.TooLarge, op, "the archive unpacks to more than %d bytes", s.unpacked.max)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return dm.Errorf(dm.Invalid, op, "the archive is cut off: it ends too early")
	case errors.Is(err, gzip.ErrChecksum):
		return dm.Errorf(dm.Invalid, op, "the archive is damaged: the gzip checksum is wrong")
	}
	return dm.Errorf(dm.Invalid, op, "the archive is damaged: it can't be unpacked with gzip").Because(err)
}

func malformed(format string, args ...any) error {
	return dm.Errorf(dm.Invalid, op, "not a readable tar: "+format, args...)
}

// full reads all of p.
func (s *stream) full(p []byte) error {
	if _, err := io.ReadFull(s.unpacked, p); err != nil {
		return s.fault(err)
	}
	return nil
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
		return malformed("bytes are hidden behind the end of the file %q", shown(h.name))
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
// the gzip trailer is checked and nothing is hidden.
func (s *stream) end() error {
	buffer := make([]byte, 8<<10)
	padding := 0
	for {
		n, err := s.unpacked.Read(buffer)
		padding += n
		switch {
		case !zero(buffer[:n]):
			return malformed("bytes follow the end of the archive")
		case padding > maxPadding:
			return malformed("more than %d zero bytes follow the end of the archive", maxPadding)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s.fault(err)
		}
	}
	if !s.packed {
		return nil
	}
	switch _, err := s.buffered.ReadByte(); {
	case err == nil:
		return dm.Errorf(dm.Invalid, op, "the archive is followed by more bytes after the end of its gzip data")
	case !errors.Is(err, io.EOF):
		return s.fault(err)
	}
	return nil
}
