package pack

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/klauspost/compress/zlib"
	dm "github.com/pndaproject/deployment-manager"
)

// Reader finds objects in the finished packs of a folder as they are stored, so
// that they can go to another pack without being deflated again.
type Reader struct{ packs []*openPack }

// openPack is one pack with the places of its entries.
type openPack struct {
	file    *os.File
	end     int64 // of the last entry
	names   []byte
	offsets []int64 // by name
	sorted  []int64
}

// Raw is an object that is stored whole.
type Raw struct {
	Name plumbing.Hash
	Type plumbing.ObjectType
	Size int64
	zlib *io.SectionReader
}

// OpenAll opens the packs of an objects/pack folder. The caller closes the
// Reader. Packs that come later are not seen.
func OpenAll(dir string) (*Reader, error) {
	const op = "pack.OpenAll"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	r := &Reader{}
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".idx")
		if !ok || !strings.HasPrefix(base, "pack-") {
			continue
		}
		p, err := openIndexed(filepath.Join(dir, base))
		if errors.Is(err, fs.ErrNotExist) {
			continue // repacked away since the folder was read
		}
		if err != nil {
			r.Close()
			return nil, dm.Wrap(op, err)
		}
		r.packs = append(r.packs, p)
	}
	return r, nil
}

// Close closes the packs.
func (r *Reader) Close() {
	for _, p := range r.packs {
		_ = p.file.Close() // only read from
	}
}

func openIndexed(base string) (*openPack, error) {
	index, err := os.ReadFile(base + ".idx")
	if err != nil {
		return nil, err
	}
	const tables = indexHeader + fanoutSize
	if len(index) < tables || !bytes.HasPrefix(index, []byte{0xff, 't', 'O', 'c', 0, 0, 0, 2}) {
		return nil, errors.New("read index: not of version 2")
	}
	count := int(binary.BigEndian.Uint32(index[tables-4:]))
	if count > largestIndex || len(index) < tables+count*28+2*trailerSize {
		return nil, errors.New("read index: its table is not in order")
	}
	p := &openPack{names: index[tables : tables+count*20], offsets: make([]int64, count)}
	small, large := index[tables+count*24:tables+count*28], index[tables+count*28:len(index)-2*trailerSize]
	for i := range p.offsets {
		offset := int64(binary.BigEndian.Uint32(small[4*i:]))
		if offset >= largeOffset {
			at := int(offset-largeOffset) * 8
			if at+8 > len(large) {
				return nil, errors.New("read index: its table is not in order")
			}
			offset = int64(binary.BigEndian.Uint64(large[at:]))
		}
		p.offsets[i] = offset
	}
	p.sorted = slices.Sorted(slices.Values(p.offsets))
	if p.file, err = os.Open(base + ".pack"); err != nil {
		return nil, err
	}
	info, err := p.file.Stat()
	if err != nil {
		_ = p.file.Close() // only read from
		return nil, err
	}
	p.end = info.Size() - trailerSize
	return p, nil
}

// Whole finds an object that is stored whole; ok is false for one that is not
// there, or there only as a difference from another one.
func (r *Reader) Whole(h plumbing.Hash) (raw Raw, ok bool, err error) {
	for _, p := range r.packs {
		at, found := p.find(h)
		if !found {
			continue
		}
		raw, ok, err := p.whole(h, p.offsets[at])
		if ok || err != nil {
			return raw, ok, dm.Wrap("pack.Whole", err)
		}
	}
	return Raw{}, false, nil
}

func (p *openPack) find(h plumbing.Hash) (int, bool) {
	low, high := 0, len(p.offsets)
	for low < high {
		middle := (low + high) / 2
		switch c := bytes.Compare(h[:], p.names[20*middle:20*middle+20]); {
		case c == 0:
			return middle, true
		case c < 0:
			high = middle
		default:
			low = middle + 1
		}
	}
	return 0, false
}

func (p *openPack) whole(h plumbing.Hash, offset int64) (Raw, bool, error) {
	end := p.end
	if next, _ := slices.BinarySearchFunc(p.sorted, offset+1, cmp.Compare[int64]); next < len(p.sorted) {
		end = p.sorted[next]
	}
	var head [16]byte
	n, err := p.file.ReadAt(head[:min(int64(len(head)), max(0, end-offset))], offset)
	if err != nil {
		return Raw{}, false, fmt.Errorf("read pack: %w", err)
	}
	kind, size, used, err := entryHeader(head[:n])
	if err != nil || kind.IsDelta() || !kind.Valid() {
		return Raw{}, false, err
	}
	start := offset + int64(used)
	return Raw{h, kind, size, io.NewSectionReader(p.file, start, end-start)}, true, nil
}

// Copy writes the object as it is stored, and its content to into. Its name is
// believed: the pack that it comes from was indexed, which computes all names.
func (w *Writer) Copy(raw Raw, into io.Writer) (*Entry, error) {
	const op = "pack.Copy"
	if err := w.usable(); err != nil {
		return nil, dm.Wrap(op, err)
	}
	w.pending.Wait()
	entry := &Entry{Hash: raw.Name, Size: raw.Size}
	if !w.claim(raw.Name) {
		return entry, dm.Wrap(op, raw.inflate(raw.zlib, into))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &open{w: w, offset: w.offset}
	w.single = nil
	_, err := o.Write(appendEntryHeader(nil, raw.Type, raw.Size))
	if err == nil {
		err = raw.inflate(io.TeeReader(raw.zlib, o), into)
	}
	if err != nil {
		if w.err == nil {
			w.err = err
		}
		return entry, dm.Wrap(op, err)
	}
	w.objects = append(w.objects, object{raw.Name, o.offset, o.crc})
	return entry, nil
}

// inflate passes on the content of from, and fails unless it has the size that
// the entry's header gives and nothing behind it.
func (raw Raw) inflate(from io.Reader, into io.Writer) error {
	buffered := bufio.NewReaderSize(from, chunkSize)
	z, err := zlib.NewReader(buffered)
	if err != nil {
		return fmt.Errorf("inflate %s: %w", raw.Name, err)
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{into}, struct{ io.Reader }{z}, make([]byte, chunkSize))
	switch {
	case err != nil:
		return fmt.Errorf("inflate %s: %w", raw.Name, err)
	case n != raw.Size:
		return fmt.Errorf("inflate %s: it has %d bytes, and its header says %d", raw.Name, n, raw.Size)
	}
	if _, err := buffered.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("inflate %s: bytes follow its end", raw.Name)
	}
	return nil
}
