package pack

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
)

const (
	chunkSize   = 256 << 10
	chunkCount  = 4 // read ahead of hashing and deflating
	chunkBlocks = 8 // stored blocks that are written at once
)

// open is one entry being streamed. It holds the Writer's lock from begin to
// end, so that nothing comes between its parts.
type open struct {
	w      *Writer
	offset int64
	crc    uint32
	namer  namer
}

// begin starts an entry; the caller must call end or unlock.
func (w *Writer) begin(size int64) (*open, error) {
	w.mu.Lock()
	if w.err != nil {
		return nil, w.err
	}
	o := &open{w: w, offset: w.offset, namer: newNamer(plumbing.BlobObject, size)}
	_, err := o.Write(AppendEntryHeader(nil, plumbing.BlobObject, size))
	return o, err
}

// Write appends bytes of the pack's entry.
func (o *open) Write(p []byte) (int, error) {
	o.crc = crc32.Update(o.crc, crc32.IEEETable, p)
	if o.w.single != nil {
		_, _ = o.w.single.Write(p)
	}
	return len(p), o.w.write(p)
}

// end gives the entry its name, or takes it back when it is not to be written.
func (o *open) end(entry *Entry) error {
	w := o.w
	name, err := o.namer.name()
	if err != nil {
		return err
	}
	entry.Hash = name
	if w.isNew(name) {
		w.objects = append(w.objects, object{name, o.offset, o.crc})
		return nil
	}
	w.single = nil
	if err := w.buffered.Flush(); err != nil {
		return fmt.Errorf("write pack: %w", err)
	}
	if err := w.file.Truncate(o.offset); err != nil {
		return fmt.Errorf("take back a duplicate: %w", err)
	}
	if _, err := w.file.Seek(o.offset, io.SeekStart); err != nil {
		return fmt.Errorf("take back a duplicate: %w", err)
	}
	w.offset = o.offset
	return nil
}

// streaming runs write for one entry and keeps the failure.
func (w *Writer) streaming(entry *Entry, write func(*open) error) error {
	defer w.mu.Unlock()
	o, err := w.begin(entry.Size)
	if err == nil {
		err = write(o)
	}
	if err == nil {
		err = o.end(entry)
	}
	if err != nil && w.err == nil {
		w.err = err
	}
	return err
}

// Stored writes one blob of exactly size bytes as stored blocks, so that
// OpenStored can read it at any place. A size of -1 means that it is not
// known: the bytes go through a temporary file first.
func (w *Writer) Stored(size int64, r io.Reader) (*Entry, error) {
	const op = "pack.Stored"
	if err := w.usable(); err != nil {
		return nil, dm.Wrap(op, err)
	}
	if size < 0 {
		spool, n, err := w.spool(r)
		if err != nil {
			return nil, dm.Wrap(op, w.fail(err))
		}
		defer func() { _ = spool.Close() }() // it has no name any more
		size, r = n, spool
	}
	w.expectSingle()
	entry := &Entry{Size: size}
	err := w.streaming(entry, func(o *open) error { return o.stored(size, r) })
	return entry, dm.Wrap(op, err)
}

// expectSingle starts the trailer while the bytes pass by if this is the first
// object: an archive's pack has no other, and need not be read again.
func (w *Writer) expectSingle() {
	w.pending.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.single = nil
	if len(w.objects) == 0 {
		w.single = sha1.New()
		header := packHeader(1)
		_, _ = w.single.Write(header[:])
	}
}

func packHeader(count int) [HeaderSize]byte {
	h := [HeaderSize]byte{'P', 'A', 'C', 'K', 0, 0, 0, 2}
	binary.BigEndian.PutUint32(h[8:], uint32(count))
	return h
}

// spool copies r into a file without a name and returns it at its start.
func (w *Writer) spool(r io.Reader) (*os.File, int64, error) {
	f, err := os.CreateTemp(w.cfg.Dir, "tmp_blob_*")
	if err != nil {
		return nil, 0, err
	}
	err = os.Remove(f.Name())
	var n int64
	if err == nil {
		n, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{r}, make([]byte, chunkSize))
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, n, nil
}

// stored writes size bytes of r as stored blocks.
func (o *open) stored(size int64, r io.Reader) error { return writeStored(o, size, r, o.namer) }

// stream writes one large blob: this goroutine reads, a second one hashes,
// deflates and writes.
func (w *Writer) stream(entry *Entry, r io.Reader) error {
	return w.streaming(entry, func(o *open) error {
		w.single = nil
		if w.large == nil {
			var err error
			if w.large, err = newDeflater(); err != nil {
				return err
			}
		}
		first := make([]byte, chunkSize)
		if n, err := io.ReadFull(r, first); err != nil {
			return shortRead(err, int64(n), entry.Size)
		}
		write := o.stored
		if w.large.shrinks(first) {
			write = o.deflated
		}
		return pipeline(entry.Size, first, r, write)
	})
}

// pipeline reads size bytes, those of first before those of r, while write
// consumes them on another goroutine. It returns when both have ended.
func pipeline(size int64, first []byte, r io.Reader, write func(int64, io.Reader) error) error {
	c := &chunks{full: make(chan []byte, chunkCount), free: make(chan []byte, chunkCount)}
	for range chunkCount - 1 {
		c.free <- make([]byte, chunkSize)
	}
	c.full <- first
	result := make(chan error, 1)
	go func() {
		err := write(size, c)
		c.drain()
		result <- err
	}()
	failed := c.fill(size, int64(len(first)), r)
	close(c.full)
	if err := <-result; failed == nil {
		return err
	}
	return failed
}

// chunks carries bytes between two goroutines in buffers that go round. Read
// is called by one of them, fill by the other.
type chunks struct {
	full, free    chan []byte
	current, rest []byte
}

func (c *chunks) fill(size, done int64, r io.Reader) error {
	for done < size {
		chunk := (<-c.free)[:min(size-done, chunkSize)]
		n, err := io.ReadFull(r, chunk)
		if err != nil {
			return shortRead(err, done+int64(n), size)
		}
		done += int64(n)
		c.full <- chunk
	}
	return expectEnd(r, size)
}

func (c *chunks) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		if c.current != nil {
			c.free <- c.current[:cap(c.current)]
		}
		var ok bool
		if c.current, ok = <-c.full; !ok {
			return 0, io.EOF
		}
		c.rest = c.current
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// drain takes what is left, so that fill is never kept waiting for a buffer.
func (c *chunks) drain() {
	if c.current != nil {
		c.free <- c.current[:cap(c.current)]
		c.current = nil
	}
	for chunk := range c.full {
		c.free <- chunk[:cap(chunk)]
	}
}

// deflated writes size bytes of r as a compressed zlib stream.
func (o *open) deflated(size int64, r io.Reader) error {
	z := o.w.large.z
	z.Reset(o)
	buffer := make([]byte, 64<<10)
	for done := int64(0); done < size; {
		n, err := io.ReadFull(r, buffer[:min(size-done, int64(len(buffer)))])
		if err != nil {
			return shortRead(err, done+int64(n), size)
		}
		_, _ = o.namer.Write(buffer[:n])
		if _, err := z.Write(buffer[:n]); err != nil {
			return err
		}
		done += int64(n)
	}
	return z.Close()
}
