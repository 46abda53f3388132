package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
)

// ErrNotStored says that a blob is in the pack, but not in the form in which
// Stored writes it; it has to be read through git.
var ErrNotStored = errors.New("the blob is not in stored form")

// StoredBlob reads a blob that Stored wrote, at any place, without inflating
// anything. Read, Seek and WriteTo are for one goroutine; ReadAt for many.
type StoredBlob struct {
	file  *os.File
	start int64 // of the first block's header
	size  int64
	at    int64 // of the next Read

	ahead  []byte // bytes read ahead of at
	buffer []byte
}

var (
	_ io.ReadSeekCloser = (*StoredBlob)(nil)
	_ io.ReaderAt       = (*StoredBlob)(nil)
	_ io.WriterTo       = (*StoredBlob)(nil)
)

// OpenStored opens a blob of the pack at packPath, see Find and Path. The
// caller closes it. Kind NotFound when the pack does not have the blob;
// errors.Is ErrNotStored when it is in another form.
func OpenStored(packPath string, blob plumbing.Hash) (*StoredBlob, error) {
	const op = "pack.OpenStored"
	offset, found, err := lookup(packPath, blob)
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	if !found {
		return nil, dm.Errorf(dm.NotFound, op, "the pack does not hold the object %s", blob)
	}
	f, err := os.Open(packPath)
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	s, err := openStored(f, offset)
	if err != nil {
		_ = f.Close() // only read from
		return nil, dm.Wrap(op, err)
	}
	return s, nil
}

// openStored checks the form by the entry's header, its first and its last
// block and the room between them.
func openStored(f *os.File, offset int64) (*StoredBlob, error) {
	var head [16]byte
	n, err := f.ReadAt(head[:], offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read pack: %w", err)
	}
	kind, size, used, err := entryHeader(head[:n])
	if err != nil {
		return nil, err
	}
	if kind != plumbing.BlobObject {
		return nil, ErrNotStored
	}
	s := &StoredBlob{file: f, start: offset + int64(used) + zlibHeader, size: size}
	var want [zlibHeader + blockHeader]byte
	putZlibHeader(want[:])
	putBlockHeader(want[zlibHeader:], int(min(size, blockSize)), size <= blockSize)
	if err := s.expect(want[:], s.start-zlibHeader); err != nil {
		return nil, err
	}
	if size > blockSize {
		last := (size - 1) / blockSize
		putBlockHeader(want[:], int(size-last*blockSize), true)
		if err := s.expect(want[:blockHeader], s.start+last*(blockHeader+blockSize)); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// expect compares the bytes at a place of the pack.
func (s *StoredBlob) expect(want []byte, at int64) error {
	got := make([]byte, len(want))
	if _, err := s.file.ReadAt(got, at); errors.Is(err, io.EOF) {
		return ErrNotStored
	} else if err != nil {
		return fmt.Errorf("read pack: %w", err)
	}
	if string(got) != string(want) {
		return ErrNotStored
	}
	return nil
}

// entryHeader reads what AppendEntryHeader writes.
func entryHeader(b []byte) (t plumbing.ObjectType, size int64, used int, err error) {
	var shift uint
	for i, c := range b {
		if i == 0 {
			t, size, shift = plumbing.ObjectType(c>>4&7), int64(c&0x0f), 4
		} else {
			if shift > 60 || shift == 60 && c&0x7f > 7 {
				break // more than 63 bits
			}
			size |= int64(c&0x7f) << shift
			shift += 7
		}
		if c < 0x80 {
			return t, size, i + 1, nil
		}
	}
	return 0, 0, 0, errors.New("read pack: malformed object header")
}

// Size is the number of bytes.
func (s *StoredBlob) Size() int64 { return s.size }

// Close closes the pack's file.
func (s *StoredBlob) Close() error { return s.file.Close() }

// chunk reads about want bytes of content at off with one read of the file
// and returns those that it got, in buffer's memory.
func (s *StoredBlob) chunk(buffer []byte, off int64) ([]byte, error) {
	skip := off % blockSize
	from := s.start + off/blockSize*(blockHeader+blockSize)
	if skip > 0 {
		from += blockHeader + skip
	}
	// The room that the rest of the content takes, with its block headers.
	room := s.size - off
	if skip > 0 {
		if inBlock := min(room, blockSize-skip); room > inBlock {
			room += (room - inBlock + blockSize - 1) / blockSize * blockHeader
		}
	} else {
		room += (room + blockSize - 1) / blockSize * blockHeader
	}
	raw := buffer[:min(int64(len(buffer)), room)]
	if _, err := s.file.ReadAt(raw, from); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // the pack is cut, which is not the blob's end
		}
		return nil, fmt.Errorf("read pack: %w", err)
	}
	return s.unblock(raw, off, skip > 0)
}

// unblock moves the content of raw together, checking the headers of blocks on
// the way. inside says that raw starts within a block.
func (s *StoredBlob) unblock(raw []byte, off int64, inside bool) ([]byte, error) {
	out, rest := raw[:0], raw
	for len(rest) > 0 {
		at := off + int64(len(out))
		if !inside {
			if len(rest) < blockHeader {
				break
			}
			want := min(s.size-at, blockSize)
			if int64(binary.LittleEndian.Uint16(rest[1:])) != want {
				return nil, fmt.Errorf("%w: a block header is not where it belongs", ErrNotStored)
			}
			rest = rest[blockHeader:]
		}
		inside = false
		n := min(int64(len(rest)), blockSize-at%blockSize)
		out = append(out, rest[:n]...)
		rest = rest[n:]
	}
	return out, nil
}

// ReadAt is io.ReaderAt.
func (s *StoredBlob) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, dm.Errorf(dm.Invalid, "pack.ReadAt", "negative offset")
	}
	done := 0
	buffer := make([]byte, min(int64(len(p))+int64(len(p))/blockSize*blockHeader+2*blockHeader, readSize))
	for done < len(p) && off < s.size {
		content, err := s.chunk(buffer, off)
		if err != nil {
			return done, err
		}
		n := copy(p[done:], content)
		done, off = done+n, off+int64(n)
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// readSize is how much of the pack one read takes: whole blocks.
const readSize = 8 * (blockHeader + blockSize)

// fill makes the bytes at s.at ready in ahead.
func (s *StoredBlob) fill() (err error) {
	if s.at >= s.size {
		return io.EOF
	}
	if s.buffer == nil {
		s.buffer = make([]byte, min(readSize, storedSize(s.size)))
	}
	s.ahead, err = s.chunk(s.buffer, s.at)
	return err
}

// Read is io.Reader.
func (s *StoredBlob) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(s.ahead) == 0 {
		if err := s.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.ahead)
	s.ahead, s.at = s.ahead[n:], s.at+int64(n)
	return n, nil
}

// Seek is io.Seeker.
func (s *StoredBlob) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.size
	}
	if offset < 0 {
		return 0, dm.Errorf(dm.Invalid, "pack.Seek", "negative offset")
	}
	if offset != s.at {
		s.at, s.ahead = offset, nil
	}
	return offset, nil
}

// WriteTo writes the rest of the blob in large pieces.
func (s *StoredBlob) WriteTo(to io.Writer) (total int64, err error) {
	for {
		if len(s.ahead) == 0 {
			if err := s.fill(); errors.Is(err, io.EOF) {
				return total, nil
			} else if err != nil {
				return total, err
			}
		}
		n, err := to.Write(s.ahead)
		s.ahead, s.at, total = s.ahead[n:], s.at+int64(n), total+int64(n)
		if err != nil {
			return total, err
		}
	}
}
