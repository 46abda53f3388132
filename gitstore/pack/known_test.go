package pack_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// kept makes a pack of blobs with a .keep file.
func kept(t *testing.T, r repository, contents ...[]byte) (path string, names []plumbing.Hash) {
	t.Helper()
	w := r.create(t)
	for _, content := range contents {
		h, err := w.Add(plumbing.BlobObject, content)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h)
	}
	p, err := w.Commit("kept")
	if err != nil {
		t.Fatal(err)
	}
	return pack.Path(r.pack, p.Name), names
}

// TestKnownObjectsAreNotWritten gives a Writer what is there, in every way.
func TestKnownObjectsAreNotWritten(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	small, large, stored, fresh := noise(1000), noise(2<<20), noise(3000), []byte("fresh")
	path, there := kept(t, r, small, large, stored)
	packs, err := pack.OpenAll(r.pack)
	if err != nil {
		t.Fatal(err)
	}
	defer packs.Close()
	w, err := pack.Create(pack.Config{Dir: r.pack, Known: packs.Has})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, content := range [][]byte{small, large, fresh} {
		if _, err := w.Blob(int64(len(content)), bytes.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Stored(int64(len(stored)), bytes.NewReader(stored)); err != nil {
		t.Fatal(err)
	}
	if h, err := w.Add(plumbing.BlobObject, small); err != nil || h != there[0] {
		t.Errorf("the name of what is there is %s, %v", h, err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	spared := w.Spared()
	plumbing.HashesSort(spared)
	want := slices.Clone(there)
	plumbing.HashesSort(want)
	if !slices.Equal(spared, want) {
		t.Errorf("spared are %v, want %v", spared, want)
	}
	p, err := w.Commit("")
	if err != nil || p.Objects != 1 || p.Size > 100 {
		t.Errorf("the pack is %+v, %v, want one object", p, err)
	}
	r.git(t, nil, "fsck", "--strict", "--full")
	names, err := pack.Names(path)
	if err != nil || !slices.Equal(names, want) {
		t.Errorf("the names are %v, %v, want %v", names, err, want)
	}
	if err := os.Truncate(strings.TrimSuffix(path, ".pack")+".idx", 1100); err == nil {
		_, err = pack.Names(path)
		if !pack.IsBroken(err) {
			t.Errorf("names of a cut index: %v", err)
		}
	}
}

// TestCover shares packs that are wanted for the most part, and copies the rest.
func TestCover(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	whole, inWhole := kept(t, r, noise(4000), noise(5000))
	_, inPart := kept(t, r, noise(1000), noise(9000))
	w := r.create(t)
	loose, err := w.Add(plumbing.BlobObject, []byte("not kept"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(""); err != nil {
		t.Fatal(err)
	}
	nowhere := plumbing.NewHash(strings.Repeat("1", 40))
	packs, err := pack.OpenAll(r.pack)
	if err != nil {
		t.Fatal(err)
	}
	defer packs.Close()
	linked, rest, err := packs.Cover(slices.Concat(inWhole, inPart[:1], []plumbing.Hash{loose, nowhere}))
	plumbing.HashesSort(rest)
	want := []plumbing.Hash{inPart[0], loose, nowhere}
	plumbing.HashesSort(want)
	if err != nil || !slices.Equal(linked, []string{whole}) || !slices.Equal(rest, want) {
		t.Errorf("linked are %v, the rest is %v, %v; want %s and %v", linked, rest, err, filepath.Base(whole), want)
	}
}

// TestLostPackHasNothing removes a pack and leaves its index, as a repack that was
// broken off does: what it held is written again.
func TestLostPackHasNothing(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	path, there := kept(t, r, noise(1000))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	packs, err := pack.OpenAll(r.pack)
	if err != nil {
		t.Fatal(err)
	}
	defer packs.Close()
	if packs.Has(there[0]) {
		t.Error("an object of a lost pack is taken for one that is there")
	}
}
