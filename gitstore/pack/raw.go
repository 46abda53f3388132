package pack

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/klauspost/compress/zlib"

	dm "github.com/pndaproject/deployment-manager"
)

// Reader finds objects in the finished packs of a folder. What it hands out is
// as it is stored, so that it can go to another pack without being deflated again.
// Has may be called from many goroutines.
type Reader struct {
	packs []*openPack
	made  map[place][]byte // contents that others differ from
	kept  int64            // bytes in made
	work  int64            // bytes that were made of differences
}

// openPack is one pack with its index in memory.
type openPack struct {
	*index
	path   string
	file   *os.File // once something was read of it
	begins []int64  // of its entries, in order; the last one is where the trailer begins
}

// Raw is an object that is stored whole.
type Raw struct {
	Name plumbing.Hash
	Type plumbing.ObjectType
	Size int64
	zlib *io.SectionReader
	head []byte // before the data
	crc  uint32 // of both, by the index
}

// OpenAll reads the indexes of an objects/pack folder. The caller closes the
// Reader. Packs that come later are not seen; an index whose pack is gone has
// nothing, as when a repack was broken off while it removed what it had replaced.
func OpenAll(dir string) (*Reader, error) {
	const op = "pack.OpenAll"
	packs, err := indexed(dir)
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	r := &Reader{}
	for _, path := range packs {
		_, err := os.Lstat(path)
		var x *index
		if err == nil {
			x, err = loadIndex(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // repacked away since the folder was read
		}
		if err != nil {
			return nil, dm.Wrap(op, err)
		}
		r.packs = append(r.packs, &openPack{index: x, path: path})
	}
	// The largest first: it has most of what is asked for.
	slices.SortStableFunc(r.packs, func(a, b *openPack) int { return cmp.Compare(b.objects, a.objects) })
	return r, nil
}

// Close closes the packs.
func (r *Reader) Close() {
	for _, p := range r.packs {
		if p.file != nil {
			_ = p.file.Close() // only read from
		}
	}
}

// Has tells whether one of the packs holds the object.
func (r *Reader) Has(h plumbing.Hash) bool {
	for _, p := range r.packs {
		if _, found, err := p.find(h); err == nil && found {
			return true
		}
	}
	return false
}

// mostCovering bounds how many packs Cover shares: each costs a few files, and
// every reader looks into it.
const mostCovering = 8

// Cover chooses the packs to share for the sake of some objects: those with a
// .keep file of which at least half of the bytes are wanted. It returns them, and
// the objects that are in none of them.
func (r *Reader) Cover(names []plumbing.Hash) (packs []string, rest []plumbing.Hash, err error) {
	type cover struct {
		p     *openPack
		names []plumbing.Hash
		bytes int64
	}
	var covers []*cover
	for _, p := range r.packs {
		if _, err := os.Lstat(strings.TrimSuffix(p.path, ".pack") + ".keep"); err == nil {
			covers = append(covers, &cover{p: p})
		}
	}
	for _, h := range names {
		found := false
		for _, c := range covers {
			at, ok, err := c.p.find(h)
			if err != nil {
				return nil, nil, dm.Wrap("pack.Cover", err)
			}
			if !ok {
				continue
			}
			begin, end, err := c.p.extent(at)
			if err != nil {
				return nil, nil, dm.Wrap("pack.Cover", err)
			}
			c.names, c.bytes, found = append(c.names, h), c.bytes+end-begin, true
			break
		}
		if !found {
			rest = append(rest, h)
		}
	}
	slices.SortStableFunc(covers, func(a, b *cover) int { return cmp.Compare(b.bytes, a.bytes) })
	for _, c := range covers {
		switch {
		case len(c.names) == 0:
		case len(packs) < mostCovering && 2*c.bytes >= c.p.begins[len(c.p.begins)-1]:
			packs = append(packs, c.p.path)
		default:
			rest = append(rest, c.names...)
		}
	}
	return packs, rest, nil
}

// Whole finds an object that is stored whole; ok is false for one that is not
// there, or there only as a difference from another one.
func (r *Reader) Whole(h plumbing.Hash) (raw Raw, ok bool, err error) {
	for _, p := range r.packs {
		at, found, err := p.find(h)
		if err == nil && found {
			raw, ok, err = p.whole(h, at)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue // repacked away since the folder was read
		}
		if ok || err != nil {
			return raw, ok, dm.Wrap("pack.Whole", err)
		}
	}
	return Raw{}, false, nil
}

// open opens the pack's file and learns where its entries begin.
func (p *openPack) open() (err error) {
	if p.file != nil {
		return nil
	}
	begins, err := p.offsets()
	if err != nil {
		return err
	}
	file, err := os.Open(p.path)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close() // only read from
		return err
	}
	p.file, p.begins = file, append(begins, info.Size()-TrailerSize)
	return nil
}

// extent is where entry number at begins and ends.
func (p *openPack) extent(at int64) (begin, end int64, err error) {
	if begin, err = p.offset(at); err != nil {
		return 0, 0, err
	}
	end, err = p.end(begin)
	return begin, end, err
}

// end is where the entry that begins at begin ends.
func (p *openPack) end(begin int64) (int64, error) {
	if err := p.open(); err != nil {
		return 0, err
	}
	next, _ := slices.BinarySearch(p.begins, begin+1)
	if next == len(p.begins) {
		return begin, nil // the pack is cut
	}
	return p.begins[next], nil
}

func (p *openPack) whole(h plumbing.Hash, at int64) (Raw, bool, error) {
	begin, end, err := p.extent(at)
	if err != nil {
		return Raw{}, false, err
	}
	var head [16]byte
	n, err := p.file.ReadAt(head[:min(int64(len(head)), max(0, end-begin))], begin)
	if err != nil {
		return Raw{}, false, fmt.Errorf("read pack: %w", err)
	}
	kind, size, used, err := entryHeader(head[:n])
	if err != nil || kind.IsDelta() || !kind.Valid() {
		return Raw{}, false, err
	}
	crc, err := p.crc(at)
	start := begin + int64(used)
	return Raw{h, kind, size, io.NewSectionReader(p.file, start, end-start), head[:used], crc}, err == nil, err
}

// Copy writes the object as it is stored. Its name is believed: the pack that it
// comes from was indexed, which inflates all of it; since then its bytes have not
// changed, or Copy fails.
func (w *Writer) Copy(raw Raw) (*Entry, error) {
	const op = "pack.Copy"
	if err := w.usable(); err != nil {
		return nil, dm.Wrap(op, err)
	}
	w.pending.Wait()
	entry := &Entry{Hash: raw.Name, Size: raw.Size}
	if !w.claim(raw.Name) {
		return entry, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &open{w: w, offset: w.offset}
	w.single = nil
	_, err := o.Write(AppendEntryHeader(nil, raw.Type, raw.Size))
	if err == nil {
		_, err = raw.zlib.Seek(0, io.SeekStart)
	}
	sum := crc32.NewIEEE()
	_, _ = sum.Write(raw.head)
	if err == nil {
		_, err = io.CopyBuffer(io.MultiWriter(o, sum), struct{ io.Reader }{raw.zlib}, make([]byte, chunkSize))
	}
	if err == nil && sum.Sum32() != raw.crc {
		err = fmt.Errorf("copy %s: its bytes are not those that were indexed", raw.Name)
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

// Open reads the object's content. It is for one use at a time.
func (raw Raw) Open() (io.Reader, error) {
	if _, err := raw.zlib.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	r, err := zlib.NewReader(bufio.NewReaderSize(raw.zlib, int(min(raw.zlib.Size(), chunkSize))))
	return r, dm.Wrap("pack.Open", err)
}
