package pack

import (
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/klauspost/compress/zlib"

	dm "github.com/pndaproject/deployment-manager"
)

// Open reads a blob of the pack before it is committed. It is called after
// Flush, when nothing is written; the caller closes what it gets before it goes
// on writing. Kind NotFound: the pack has no such object.
func (w *Writer) Open(h plumbing.Hash) (io.ReadCloser, error) {
	const op = "pack.Open"
	r, err := w.open(h)
	return r, dm.Wrap(op, err)
}

func (w *Writer) open(h plumbing.Hash) (io.ReadCloser, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, w.err
	}
	if err := w.buffered.Flush(); err != nil {
		return nil, fmt.Errorf("write pack: %w", err)
	}
	if len(w.places) != len(w.objects) {
		w.places = make(map[plumbing.Hash]int64, len(w.objects))
		for _, o := range w.objects {
			w.places[o.name] = o.offset
		}
	}
	at, ok := w.places[h]
	if !ok {
		return nil, dm.Errorf(dm.NotFound, "pack.Open", "the pack has no object %s", h)
	}
	var head [16]byte
	n, err := w.file.ReadAt(head[:min(int64(len(head)), w.offset-at)], at)
	if err != nil {
		return nil, fmt.Errorf("read pack: %w", err)
	}
	_, _, used, err := entryHeader(head[:n])
	if err != nil {
		return nil, err
	}
	start := at + int64(used)
	return zlib.NewReader(io.NewSectionReader(w.file, start, w.offset-start))
}
