package receive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/klauspost/compress/zlib"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// expansion bounds what a pack may become when it is expanded.
type expansion struct {
	Object  int64 // bytes of one object
	All     int64 // bytes of all objects together
	Objects int64 // how many there may be
}

// count returns a reader of pack that expands it as it passes, and ends with an
// error of kind TooLarge at the first object that is over a limit. A difference
// counts as what it makes, by its own word, which git holds it to. What is no
// pack ends with an error of kind Invalid. Its WriteTo holds a few kilobytes,
// however large an object is; Read is not meant to be used.
func count(pack io.Reader, most expansion) io.Reader { return &counter{pack: pack, most: most} }

type counter struct {
	pack io.Reader
	most expansion
	all  int64

	in   *bufio.Reader // of what passes
	zlib io.ReadCloser
}

// Read implements io.Reader for the type's sake: io.Copy calls WriteTo.
func (c *counter) Read([]byte) (int, error) {
	return 0, errors.New("a counted pack is read by WriteTo")
}

// WriteTo implements io.WriterTo: whatever is read of the pack is written to w.
func (c *counter) WriteTo(w io.Writer) (int64, error) {
	passed := &passing{r: c.pack, w: w}
	c.in = bufio.NewReaderSize(passed, 16<<10)
	err := c.count()
	if err == nil {
		_, err = io.Copy(w, c.pack) // what follows is git's to judge; there should be nothing
	}
	if passed.failed != nil {
		err = passed.failed // git has had enough, and says why
	}
	return passed.n, err
}

// passing passes on what is read through it.
type passing struct {
	r      io.Reader
	w      io.Writer
	n      int64
	failed error
}

func (p *passing) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if n > 0 && p.failed == nil {
		var written int
		written, p.failed = p.w.Write(b[:n])
		p.n += int64(written)
	}
	if p.failed != nil {
		return 0, p.failed
	}
	return n, err
}

const countOp = "receive.count"

// count reads the pack up to its trailer.
func (c *counter) count() error {
	var head [pack.HeaderSize]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		return malformed(err)
	}
	if string(head[:4]) != "PACK" {
		return malformed(errors.New("bad signature"))
	}
	objects := int64(binary.BigEndian.Uint32(head[8:]))
	if objects > c.most.Objects {
		return dm.Errorf(dm.TooLarge, countOp, "the push has %d objects, at most %d are allowed", objects, c.most.Objects).
			WithHint("push without the history, from a clone made with --depth 1")
	}
	for range objects {
		if err := c.entry(); err != nil {
			return err
		}
	}
	var trailer [pack.TrailerSize]byte
	if _, err := io.ReadFull(c.in, trailer[:]); err != nil {
		return malformed(err)
	}
	return nil
}

// malformed is an error of a pack that breaks off or makes no sense.
func malformed(err error) error {
	var known *dm.Error
	if errors.As(err, &known) {
		return err
	}
	return dm.Errorf(dm.Invalid, countOp, "malformed pack").Because(err)
}

// entry reads one entry.
func (c *counter) entry() error {
	kind, size, err := c.header()
	if err != nil {
		return malformed(err)
	}
	// The data of a difference is held by git as a whole, as an object is.
	if err := c.add(size); err != nil {
		return err
	}
	if err := c.open(); err != nil {
		return malformed(err)
	}
	data := &countingReader{r: c.zlib}
	if kind.IsDelta() {
		result, err := pack.ResultSize(data)
		if err != nil {
			return malformed(err)
		}
		if err := c.add(result); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, io.LimitReader(data, size+1-data.n))
	if err == nil && data.n != size {
		err = fmt.Errorf("an entry has %d bytes or more, and its header says %d", data.n, size)
	}
	if err != nil {
		return malformed(err)
	}
	return nil
}

// add counts size bytes of one object.
func (c *counter) add(size int64) error {
	if size < 0 || size > c.most.Object {
		return dm.Errorf(dm.TooLarge, countOp, "a file or other object of the push has %d bytes, at most %d are allowed", size, c.most.Object)
	}
	if c.all += size; c.all > c.most.All {
		return dm.Errorf(dm.TooLarge, countOp, "the push has more than %d bytes when unpacked", c.most.All).
			WithHint("push without the history, from a clone made with --depth 1")
	}
	return nil
}

// header reads the head of an entry and what names the base of a difference.
func (c *counter) header() (kind plumbing.ObjectType, size int64, err error) {
	b, err := c.in.ReadByte()
	if err != nil {
		return 0, 0, pack.NoEnd(err)
	}
	kind, size = plumbing.ObjectType(b>>4&7), int64(b&15)
	for shift := 4; b&0x80 != 0; shift += 7 {
		if b, err = c.in.ReadByte(); err != nil {
			return 0, 0, pack.NoEnd(err)
		}
		if shift > 55 {
			return 0, 0, errors.New("object size too large")
		}
		size |= int64(b&0x7f) << shift
	}
	switch kind {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return kind, size, nil
	case plumbing.REFDeltaObject:
		_, err = c.in.Discard(pack.TrailerSize)
		return kind, size, pack.NoEnd(err)
	case plumbing.OFSDeltaObject:
		for range 10 {
			if b, err = c.in.ReadByte(); err != nil || b&0x80 == 0 {
				return kind, size, pack.NoEnd(err)
			}
		}
		return 0, 0, errors.New("delta base offset out of range")
	}
	return 0, 0, fmt.Errorf("unknown object type %d", kind)
}

// open begins to inflate an entry. bufio.Reader is read byte by byte, so nothing
// behind its end is taken.
func (c *counter) open() (err error) {
	if c.zlib == nil {
		c.zlib, err = zlib.NewReader(c.in)
		return pack.NoEnd(err)
	}
	return pack.NoEnd(c.zlib.(zlib.Resetter).Reset(c.in, nil))
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
