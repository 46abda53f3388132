package pack

import (
	"bufio"
	"bytes"
	"crypto/sha1"
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

	dm "github.com/pndaproject/deployment-manager"
)

const (
	indexHeader  = 8
	fanoutSize   = 256 * 4
	largeOffset  = 1 << 31
	largestIndex = 1 << 30 // objects; a count above is not an index of ours
)

// writeIndex writes the index of the finished pack called name to a durable
// temporary file and returns its path.
func (w *Writer) writeIndex(name plumbing.Hash) (path string, err error) {
	f, err := os.CreateTemp(w.cfg.Dir, "tmp_idx_*")
	if err != nil {
		return "", err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			_ = os.Remove(f.Name())
			err = fmt.Errorf("write index: %w", err)
		}
	}()
	slices.SortFunc(w.objects, func(a, b object) int { return bytes.Compare(a.name[:], b.name[:]) })
	sum := sha1.New()
	buffered := bufio.NewWriterSize(f, 64<<10)
	if _, err := io.MultiWriter(buffered, sum).Write(indexTables(w.objects, name)); err != nil {
		return "", err
	}
	if _, err := buffered.Write(sum.Sum(nil)); err != nil {
		return "", err
	}
	if err := buffered.Flush(); err != nil {
		return "", err
	}
	return f.Name(), seal(f)
}

// indexTables is an index, version 2, without its own checksum. objects are
// sorted by name.
func indexTables(objects []object, pack plumbing.Hash) []byte {
	b := make([]byte, 0, indexHeader+fanoutSize+28*len(objects)+2*sha1.Size)
	b = append(b, 0xff, 't', 'O', 'c', 0, 0, 0, 2)
	next := 0
	for first := range 256 {
		for next < len(objects) && int(objects[next].name[0]) <= first {
			next++
		}
		b = binary.BigEndian.AppendUint32(b, uint32(next))
	}
	for _, o := range objects {
		b = append(b, o.name[:]...)
	}
	for _, o := range objects {
		b = binary.BigEndian.AppendUint32(b, o.crc)
	}
	var large []byte
	for _, o := range objects {
		if o.offset < largeOffset {
			b = binary.BigEndian.AppendUint32(b, uint32(o.offset))
			continue
		}
		b = binary.BigEndian.AppendUint32(b, largeOffset|uint32(len(large)/8))
		large = binary.BigEndian.AppendUint64(large, uint64(o.offset))
	}
	b = append(b, large...)
	return append(b, pack[:]...)
}

// index finds the objects of one pack. It reads from a file what a look-up needs,
// or from memory when there are many.
type index struct {
	from    io.ReaderAt
	size    int64
	objects int64
	fanout  [256]uint32
}

var errIndexOrder = errors.New("read index: its fan-out table is not sorted")

func newIndex(from io.ReaderAt, size int64) (*index, error) {
	var head [indexHeader + fanoutSize]byte
	if _, err := from.ReadAt(head[:], 0); err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	if !bytes.HasPrefix(head[:], []byte{0xff, 't', 'O', 'c', 0, 0, 0, 2}) {
		return nil, errors.New("read index: not of version 2")
	}
	x := &index{from: from, size: size}
	for i := range x.fanout {
		x.fanout[i] = binary.BigEndian.Uint32(head[indexHeader+4*i:])
		if i > 0 && x.fanout[i] < x.fanout[i-1] {
			return nil, errIndexOrder
		}
	}
	x.objects = int64(x.fanout[255])
	if x.objects > largestIndex || size < indexHeader+fanoutSize+x.objects*28 {
		return nil, errIndexOrder
	}
	return x, nil
}

// loadIndex reads the whole index of a pack into memory.
func loadIndex(packPath string) (*index, error) {
	content, err := os.ReadFile(indexPath(packPath))
	if err != nil {
		return nil, err
	}
	return newIndex(bytes.NewReader(content), int64(len(content)))
}

func indexPath(packPath string) string { return strings.TrimSuffix(packPath, ".pack") + ".idx" }

func (x *index) read(b []byte, at int64) error {
	if _, err := x.from.ReadAt(b, at); err != nil {
		return fmt.Errorf("read index: %w", err)
	}
	return nil
}

// name is that of object number at, in the order of names.
func (x *index) name(at int64) (h plumbing.Hash, err error) {
	return h, x.read(h[:], indexHeader+fanoutSize+at*20)
}

// find tells the number of an object.
func (x *index) find(h plumbing.Hash) (at int64, found bool, err error) {
	low, high := int64(0), int64(x.fanout[h[0]])
	if h[0] > 0 {
		low = int64(x.fanout[h[0]-1])
	}
	for low < high {
		middle := (low + high) / 2
		name, err := x.name(middle)
		if err != nil {
			return 0, false, err
		}
		switch bytes.Compare(h[:], name[:]) {
		case 0:
			return middle, true, nil
		case -1:
			high = middle
		default:
			low = middle + 1
		}
	}
	return 0, false, nil
}

// crc is the checksum of object number at, as it stands in the pack.
func (x *index) crc(at int64) (uint32, error) {
	var b [4]byte
	err := x.read(b[:], indexHeader+fanoutSize+x.objects*20+at*4)
	return binary.BigEndian.Uint32(b[:]), err
}

// offset is where object number at begins in the pack.
func (x *index) offset(at int64) (int64, error) {
	small := indexHeader + fanoutSize + x.objects*24
	var b [8]byte
	if err := x.read(b[:4], small+at*4); err != nil {
		return 0, err
	}
	offset := int64(binary.BigEndian.Uint32(b[:]))
	if offset < largeOffset {
		return offset, nil
	}
	err := x.read(b[:], small+x.objects*4+(offset-largeOffset)*8)
	return int64(binary.BigEndian.Uint64(b[:])), err
}

// offsets are those of all objects, in their order in the pack.
func (x *index) offsets() ([]int64, error) {
	all := make([]int64, x.objects)
	for i := range all {
		var err error
		if all[i], err = x.offset(int64(i)); err != nil {
			return nil, err
		}
	}
	slices.Sort(all)
	return all, nil
}

// Names lists the objects of a pack, whose own file may be gone. errors.As Broken:
// the bytes of the index are wrong.
func Names(packPath string) ([]plumbing.Hash, error) {
	const op = "pack.Names"
	if _, err := checkIndex(indexPath(packPath)); err != nil {
		return nil, dm.Wrap(op, err)
	}
	x, err := loadIndex(packPath)
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	names := make([]plumbing.Hash, x.objects)
	for i := range names {
		if names[i], err = x.name(int64(i)); err != nil {
			return nil, dm.Wrap(op, err)
		}
	}
	return names, nil
}

// indexed lists the packs of an objects/pack folder that have an index.
func indexed(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var packs []string
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), ".idx"); ok && strings.HasPrefix(base, "pack-") {
			packs = append(packs, filepath.Join(dir, base+".pack"))
		}
	}
	return packs, nil
}

// Find returns the path of the pack in an objects/pack folder that holds the
// object. Kind NotFound when none does.
func Find(dir string, h plumbing.Hash) (packPath string, err error) {
	const op = "pack.Find"
	packs, err := indexed(dir)
	if err != nil {
		return "", dm.Wrap(op, err)
	}
	for _, packPath := range packs {
		_, found, err := lookup(packPath, h)
		if errors.Is(err, fs.ErrNotExist) {
			continue // repacked away since the folder was read
		}
		if err != nil {
			return "", dm.Wrap(op, err)
		}
		if found {
			return packPath, nil
		}
	}
	return "", dm.Errorf(dm.NotFound, op, "no pack has the object %s", h)
}

// lookup finds the offset of an object in a pack, reading only the few places
// of the index that a binary search needs.
func lookup(packPath string, h plumbing.Hash) (offset int64, found bool, err error) {
	f, err := os.Open(indexPath(packPath))
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return 0, false, err
	}
	x, err := newIndex(f, info.Size())
	if err != nil {
		return 0, false, err
	}
	at, found, err := x.find(h)
	if err != nil || !found {
		return 0, false, err
	}
	offset, err = x.offset(at)
	return offset, err == nil, err
}
