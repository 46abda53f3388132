package pack

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// A pack may be larger than the 2 GiB that an index's first table can tell.
func TestIndexOfLargePacks(t *testing.T) {
	t.Parallel()
	offsets := []int64{12, 1<<31 - 1, 1 << 31, 1<<32 + 5, 5 << 32}
	var objects []object
	for i, offset := range offsets {
		objects = append(objects, object{plumbing.Hash{byte(i * 50), 1}, offset, uint32(i)})
	}
	base := filepath.Join(t.TempDir(), "pack-x")
	// The checksum at the end is for git; look-ups do not read it.
	if err := os.WriteFile(base+".idx", indexTables(objects, plumbing.ZeroHash), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, o := range objects {
		got, found, err := lookup(base+".pack", o.name)
		if err != nil || !found || got != offsets[i] {
			t.Errorf("object %d: got %d, %v, %v, want %d", i, got, found, err, offsets[i])
		}
	}
	if _, found, err := lookup(base+".pack", plumbing.Hash{50, 2}); found || err != nil {
		t.Errorf("an object that is not there: %v, %v", found, err)
	}
}

func TestDamagedIndexesAreErrors(t *testing.T) {
	t.Parallel()
	whole := string(indexTables([]object{{plumbing.Hash{1}, 12, 0}}, plumbing.ZeroHash))
	for name, content := range map[string]string{
		"empty":           "",
		"cut in its head": whole[:500],
		"cut in names":    whole[:indexHeader+fanoutSize+10],
		"cut in offsets":  whole[:indexHeader+fanoutSize+25],
		"version 1":       strings.Replace(whole, "\x00\x00\x00\x02", "\x00\x00\x00\x01", 1),
		"table falls":     whole[:indexHeader] + "\xff" + whole[indexHeader+1:],
		"count too large": whole[:indexHeader+255*4] + "\xff" + whole[indexHeader+255*4+1:],
	} {
		base := filepath.Join(t.TempDir(), "pack-x")
		if err := os.WriteFile(base+".idx", []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, h := range []plumbing.Hash{{1}, {0}} {
			if _, found, err := lookup(base+".pack", h); err == nil && found {
				t.Errorf("%s: an object was found", name)
			} else if err == nil && h[0] == 1 {
				t.Errorf("%s: no error", name)
			}
		}
	}
}

func TestEntryHeaders(t *testing.T) {
	t.Parallel()
	for _, size := range []int64{0, 1, 15, 16, 2047, 2048, 1<<20 + 3, 1 << 32, 1<<62 + 1} {
		for _, kind := range []plumbing.ObjectType{plumbing.CommitObject, plumbing.BlobObject, plumbing.TagObject} {
			b := AppendEntryHeader(nil, kind, size)
			gotKind, gotSize, used, err := entryHeader(append(b, 0x80, 0x80))
			if err != nil || gotKind != kind || gotSize != size || used != len(b) {
				t.Errorf("%v of %d bytes reads back as %v of %d in %d of %d bytes, %v", kind, size, gotKind, gotSize, used, len(b), err)
			}
		}
	}
	for _, b := range []string{"", "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if _, _, _, err := entryHeader([]byte(b)); err == nil {
			t.Errorf("%q is accepted", b)
		}
	}
}
