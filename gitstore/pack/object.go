package pack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/adler32"
	"io"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zlib"
	"github.com/pjbgf/sha1cd"

	dm "github.com/pndaproject/deployment-manager"
)

// namer computes the name of one object and notices collision attacks.
type namer struct{ sha hash.Hash }

func newNamer(t plumbing.ObjectType, size int64) namer {
	n := namer{sha1cd.New()}
	header := append([]byte(t.String()), ' ')
	header = append(strconv.AppendInt(header, size, 10), 0)
	_, _ = n.Write(header)
	return n
}

// Write never fails.
func (n namer) Write(p []byte) (int, error) { return n.sha.Write(p) }

func (n namer) name() (plumbing.Hash, error) {
	var h plumbing.Hash
	collision := false
	if r, ok := n.sha.(sha1cd.CollisionResistantHash); ok {
		var sum []byte
		sum, collision = r.CollisionResistantSum(nil)
		copy(h[:], sum)
	} else {
		copy(h[:], n.sha.Sum(nil))
	}
	if collision {
		return h, dm.Errorf(dm.Invalid, "pack.Writer", "the content of a file was made for a SHA-1 collision attack")
	}
	return h, nil
}

func nameOf(t plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	n := newNamer(t, int64(len(content)))
	_, _ = n.Write(content)
	return n.name()
}

// AppendEntryHeader writes type and size as every object of a pack starts.
func AppendEntryHeader(b []byte, t plumbing.ObjectType, size int64) []byte {
	c := byte(t)<<4 | byte(size&0x0f)
	size >>= 4
	for size > 0 {
		b = append(b, c|0x80)
		c = byte(size & 0x7f)
		size >>= 7
	}
	return append(b, c)
}

// A zlib stream of stored blocks: every block but the last is full, so that
// the place of each byte follows by arithmetic.
const (
	blockSize   = 65535
	blockHeader = 5
	zlibHeader  = 2
	zlibTrailer = 4
)

// storedSize is the length of size bytes as a zlib stream of stored blocks.
func storedSize(size int64) int64 {
	blocks := max(1, (size+blockSize-1)/blockSize)
	return zlibHeader + blocks*blockHeader + size + zlibTrailer
}

func putZlibHeader(b []byte) { b[0], b[1] = 0x78, 0x01 }

func putBlockHeader(b []byte, length int, last bool) {
	b[0] = 0
	if last {
		b[0] = 1
	}
	binary.LittleEndian.PutUint16(b[1:], uint16(length))
	binary.LittleEndian.PutUint16(b[3:], ^uint16(length))
}

// writeStored writes size bytes of r to w as a zlib stream of stored blocks, and
// shows them to seen. It reads into the places that the bytes have between the
// headers of blocks, so that they are never copied.
func writeStored(w io.Writer, size int64, r io.Reader, seen io.Writer) error {
	adler := adler32.New()
	chunk := make([]byte, min(chunkBlocks*(blockHeader+blockSize), storedSize(size)))
	putZlibHeader(chunk)
	if _, err := w.Write(chunk[:zlibHeader]); err != nil {
		return err
	}
	for done, last := int64(0), false; !last; {
		used := 0
		for b := 0; b < chunkBlocks && !last; b++ {
			n := int(min(size-done, blockSize))
			last = done+int64(n) == size
			putBlockHeader(chunk[used:], n, last)
			content := chunk[used+blockHeader : used+blockHeader+n]
			got, err := io.ReadFull(r, content)
			if err != nil && n > 0 {
				return shortRead(err, done+int64(got), size)
			}
			_, _ = seen.Write(content)
			_, _ = adler.Write(content)
			done += int64(n)
			used += blockHeader + n
		}
		if _, err := w.Write(chunk[:used]); err != nil {
			return err
		}
	}
	if err := expectEnd(r, size); err != nil {
		return err
	}
	_, err := w.Write(adler.Sum(nil))
	return err
}

// appendStored appends content as a zlib stream of stored blocks.
func appendStored(b, content []byte) []byte {
	out := appender(b)
	_ = writeStored(&out, int64(len(content)), bytes.NewReader(content), io.Discard) // neither can fail
	return out
}

// deflater compresses one object after another at a fast level.
type deflater struct{ z *zlib.Writer }

func newDeflater() (*deflater, error) {
	z, err := zlib.NewWriterLevel(io.Discard, zlib.BestSpeed)
	if err != nil {
		return nil, fmt.Errorf("make a zlib writer: %w", err)
	}
	return &deflater{z}, nil
}

// sampleSize is how much of a content decides whether deflating it pays.
const sampleSize = 32 << 10

// shrinks tells by a sample whether deflating content is worth the time; what
// saves less than a thirty-second part is not.
func (d *deflater) shrinks(content []byte) bool {
	sample := content[:min(len(content), sampleSize)]
	var n byteCount
	d.z.Reset(&n)
	if _, err := d.z.Write(sample); err != nil {
		return false
	}
	if err := d.z.Close(); err != nil {
		return false
	}
	return int(n) < len(sample)-len(sample)/32
}

type byteCount int

func (n *byteCount) Write(p []byte) (int, error) {
	*n += byteCount(len(p))
	return len(p), nil
}

// appendDeflated appends content as a zlib stream to b, stored where
// compressing it saves nothing.
func (d *deflater) appendDeflated(b, content []byte) []byte {
	if len(content) > 2*sampleSize && !d.shrinks(content) {
		return appendStored(b, content)
	}
	out := appender(b)
	d.z.Reset(&out)
	_, err := d.z.Write(content)
	if err == nil {
		err = d.z.Close()
	}
	if err != nil || int64(len(out)-len(b)) > storedSize(int64(len(content))) {
		return appendStored(out[:len(b)], content)
	}
	return out
}

// appendSmall is appendDeflated without a deflater: what a Writer needs that
// only gets a few trees and commits.
func appendSmall(b, content []byte) []byte {
	out := appender(append(b, 0x78, 0x01))
	err := flate.StatelessDeflate(&out, content, true, nil)
	if err != nil || int64(len(out)-len(b)+zlibTrailer) > storedSize(int64(len(content))) {
		return appendStored(out[:len(b)], content)
	}
	return binary.BigEndian.AppendUint32(out, adler32.Checksum(content))
}

type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}
