package archive

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"

	dm "github.com/pndaproject/deployment-manager"
)

// members reads the members of a gzip as one stream, as gzip does: bgzip writes
// one for each 64 KiB, and "cat a.gz b.gz" is a gzip too. What it does not do as
// gzip is to pass over what stands behind the last member: only zero bytes may,
// with which some programs fill up to the size of a record.
type members struct {
	from   *bufio.Reader
	gzip   *gzip.Reader
	begun  int64 // members
	read   int64 // bytes that came out
	ended  error
	ending [512]byte
}

// A member costs work even when nothing comes out of it. freeMembers may be of
// any size; more must hold as much as one block of a tar, on average.
const freeMembers = 4 << 10

func openMembers(from *bufio.Reader) (*members, error) {
	z, err := gzip.NewReader(from)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &members{from: from, gzip: z, begun: 1}, nil
}

// Read ends with io.EOF only when the checksum of every member was right and the
// body is at its end.
func (m *members) Read(p []byte) (int, error) {
	if m.ended != nil {
		return 0, m.ended
	}
	for {
		n, err := m.gzip.Read(p)
		m.read += int64(n)
		if errors.Is(err, io.EOF) {
			err = m.next()
		}
		m.ended = err
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// next goes on to the next member; io.EOF when there is none.
func (m *members) next() error {
	switch head, err := m.from.Peek(2); {
	case len(head) == 0:
		return err
	case head[0] == 0:
		return m.padding()
	case head[0] != gzipMagic[0] || len(head) == 2 && head[1] != gzipMagic[1]:
		return errBehind
	}
	if m.begun++; m.begun > freeMembers+m.read/blockSize {
		return dm.Errorf(dm.Invalid, op, "the gzip data has %d members, almost all of them empty", m.begun).WithHint(hintMake)
	}
	if err := m.gzip.Reset(m.from); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF // within the header
		}
		return err
	}
	m.gzip.Multistream(false)
	return nil
}

// padding reads zero bytes up to the end of the body.
func (m *members) padding() error {
	for padded := 0; padded <= maxPadding; {
		n, err := m.from.Read(m.ending[:])
		padded += n
		if !zero(m.ending[:n]) {
			return errBehind
		}
		if err != nil {
			return err
		}
	}
	return dm.Errorf(dm.Invalid, op, "more than %d zero bytes follow the end of the gzip data", maxPadding)
}

// errBehind is a fault of what stands behind the last member.
var errBehind = dm.Errorf(dm.Invalid, op, "trailing data after the end of the gzip data").
	WithHint("send the archive alone")
