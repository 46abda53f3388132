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

// Find returns the path of the pack in an objects/pack folder that holds the
// object. Kind NotFound when none does.
func Find(dir string, h plumbing.Hash) (packPath string, err error) {
	const op = "pack.Find"
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", dm.Wrap(op, err)
	}
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".idx")
		if !ok || !strings.HasPrefix(base, "pack-") {
			continue
		}
		packPath := filepath.Join(dir, base+".pack")
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
	return "", dm.Errorf(dm.NotFound, op, "no pack holds the object %s", h)
}

// lookup finds the offset of an object in a pack through its index, reading
// only the few places that a binary search needs.
func lookup(packPath string, h plumbing.Hash) (offset int64, found bool, err error) {
	f, err := os.Open(strings.TrimSuffix(packPath, ".pack") + ".idx")
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = f.Close() }() // only read from
	var head [indexHeader + fanoutSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return 0, false, fmt.Errorf("read index: %w", err)
	}
	if !bytes.HasPrefix(head[:], []byte{0xff, 't', 'O', 'c', 0, 0, 0, 2}) {
		return 0, false, errors.New("read index: not of version 2")
	}
	fanout := func(i int) int64 {
		return int64(binary.BigEndian.Uint32(head[indexHeader+4*i:]))
	}
	count, low, high := fanout(255), int64(0), fanout(int(h[0]))
	if h[0] > 0 {
		low = fanout(int(h[0]) - 1)
	}
	if count > largestIndex || high > count || low > high {
		return 0, false, errors.New("read index: its table is not in order")
	}
	at, found, err := search(f, h, low, high)
	if err != nil || !found {
		return 0, false, err
	}
	offset, err = offsetAt(f, count, at)
	return offset, err == nil, err
}

// search looks for h among the sorted names number low to high-1.
func search(f *os.File, h plumbing.Hash, low, high int64) (at int64, found bool, err error) {
	var name plumbing.Hash
	for low < high {
		middle := (low + high) / 2
		if _, err := f.ReadAt(name[:], indexHeader+fanoutSize+middle*20); err != nil {
			return 0, false, fmt.Errorf("read index: %w", err)
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

func offsetAt(f *os.File, count, at int64) (int64, error) {
	table := indexHeader + fanoutSize + count*24
	var b [8]byte
	if _, err := f.ReadAt(b[:4], table+at*4); err != nil {
		return 0, fmt.Errorf("read index: %w", err)
	}
	offset := int64(binary.BigEndian.Uint32(b[:]))
	if offset < largeOffset {
		return offset, nil
	}
	if _, err := f.ReadAt(b[:], table+count*4+(offset-largeOffset)*8); err != nil {
		return 0, fmt.Errorf("read index: %w", err)
	}
	return int64(binary.BigEndian.Uint64(b[:])), nil
}
