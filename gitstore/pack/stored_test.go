package pack_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// commitStored makes a pack of one stored blob and returns its path.
func commitStored(t testing.TB, r repository, content []byte, size int64) (string, plumbing.Hash) {
	t.Helper()
	w := r.create(t)
	e, err := w.Stored(size, bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.Commit("")
	if err != nil {
		t.Fatal(err)
	}
	return pack.Path(r.pack, p.Name), e.Hash
}

func open(t testing.TB, path string, blob plumbing.Hash) *pack.StoredBlob {
	t.Helper()
	s, err := pack.OpenStored(path, blob)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStoredBlobIsReadAnywhere(t *testing.T) {
	t.Parallel()
	r := newFolder(t)
	for _, size := range []int{0, 1, 2, 65534, 65535, 65536, 131069, 131070, 131071, 524279, 524280, 524281, 3<<20 + 77} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			content := noise(size)
			path, blob := commitStored(t, r, content, int64(size))
			s := open(t, path, blob)
			if s.Size() != int64(size) {
				t.Errorf("size %d, want %d", s.Size(), size)
			}
			if size < 70_000 { // it reads byte by byte
				if err := iotest.TestReader(s, content); err != nil {
					t.Error(err)
				}
			}
			var all bytes.Buffer
			if n, err := open(t, path, blob).WriteTo(&all); err != nil || n != int64(size) || !bytes.Equal(all.Bytes(), content) {
				t.Errorf("WriteTo wrote %d bytes, %v", n, err)
			}
			random := rand.New(rand.NewPCG(1, uint64(size)))
			for range 50 {
				off := random.IntN(size + 1)
				p := make([]byte, random.IntN(300_000))
				n, err := s.ReadAt(p, int64(off))
				want := content[off:min(off+len(p), size)]
				if !bytes.Equal(p[:n], want) || (err != nil) != (n < len(p)) || err != nil && !errors.Is(err, io.EOF) {
					t.Fatalf("ReadAt(%d bytes, %d) = %d, %v, want %d bytes", len(p), off, n, err, len(want))
				}
				if _, err := s.Seek(int64(off), io.SeekStart); err != nil {
					t.Fatal(err)
				}
				n, err = io.ReadFull(s, p)
				if !bytes.Equal(p[:n], want) {
					t.Fatalf("reading %d bytes at %d gives %d, %v", len(p), off, n, err)
				}
			}
			if _, err := s.Seek(-1, io.SeekStart); dm.KindOf(err) != dm.Invalid {
				t.Errorf("a negative place: %v", err)
			}
			if _, err := s.ReadAt(nil, -1); dm.KindOf(err) != dm.Invalid {
				t.Errorf("a negative offset: %v", err)
			}
		})
	}
}

// The size of a body that comes in chunks is not known before its end.
func TestStoredOfUnknownSize(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	content := noise(1<<20 + 5)
	known, blob := commitStored(t, r, content, int64(len(content)))
	r2 := newRepository(t)
	unknown, blob2 := commitStored(t, r2, content, -1)
	if blob != blob2 || filepath.Base(known) != filepath.Base(unknown) {
		t.Errorf("the same bytes give %s in %s and %s in %s", blob, known, blob2, unknown)
	}
	if got := r2.git(t, nil, "cat-file", "blob", blob2.String()); got != string(content) {
		t.Errorf("git reads %d bytes that differ", len(got))
	}
	w := r2.create(t)
	if _, err := w.Stored(-1, iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
	w.Abort()
	if got := r2.files(t); len(got) != 2 {
		t.Errorf("left behind: %v", got)
	}
}

// A pack of one stored blob gets its trailer without being read again; git
// checks that it is right, also when a second object came after all.
func TestTrailerOfStoredPacks(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	for name, more := range map[string][]byte{"alone": nil, "same again": noise(200_000), "with another": []byte("more")} {
		w := r.create(t)
		if _, err := w.Stored(200_000, bytes.NewReader(noise(200_000))); err != nil {
			t.Fatal(err)
		}
		if more != nil {
			if _, err := w.Add(plumbing.BlobObject, more); err != nil {
				t.Fatal(err)
			}
		}
		p, err := w.Commit("")
		if err != nil {
			t.Fatal(err)
		}
		r.git(t, nil, "verify-pack", pack.Path(r.pack, p.Name))
		if want := map[string]int{"alone": 1, "same again": 1, "with another": 2}[name]; p.Objects != want {
			t.Errorf("%s: %d objects, want %d", name, p.Objects, want)
		}
	}
}

func TestOtherFormsAreTold(t *testing.T) {
	t.Parallel()
	r := newFolder(t)
	path, _ := commitStored(t, r, noise(100), 100)
	w := r.create(t)
	blob, err := w.Add(plumbing.BlobObject, text(100_000))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := w.Add(plumbing.TreeObject, nil)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.Commit("")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []plumbing.Hash{blob, tree} {
		if _, err := pack.OpenStored(pack.Path(r.pack, p.Name), h); !errors.Is(err, pack.ErrNotStored) {
			t.Errorf("got %v, want ErrNotStored", err)
		}
		if _, err := pack.OpenStored(path, h); dm.KindOf(err) != dm.NotFound {
			t.Errorf("got %v, want not found", err)
		}
	}
}

func TestCutPackIsNotTheEnd(t *testing.T) {
	t.Parallel()
	r := newFolder(t)
	path, blob := commitStored(t, r, noise(300_000), 300_000)
	s := open(t, path, blob)
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 100_000); err != nil {
		t.Fatal(err)
	}
	if n, err := s.WriteTo(io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("WriteTo = %d, %v, want an unexpected end", n, err)
	}
	if _, err := pack.OpenStored(path, blob); !errors.Is(err, pack.ErrNotStored) {
		t.Errorf("got %v, want ErrNotStored", err)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	r := newFolder(t)
	where := map[plumbing.Hash]string{}
	for i := range 3 {
		w := r.create(t)
		var hashes []plumbing.Hash
		for j := range 400 {
			h, err := w.Add(plumbing.BlobObject, fmt.Appendf(nil, "%d %d", i, j))
			if err != nil {
				t.Fatal(err)
			}
			hashes = append(hashes, h)
		}
		p, err := w.Commit("")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hashes {
			where[h] = pack.Path(r.pack, p.Name)
		}
	}
	for h, want := range where {
		if got, err := pack.Find(r.pack, h); err != nil || got != want {
			t.Fatalf("Find(%s) = %s, %v, want %s", h, got, err, want)
		}
	}
	for _, h := range []string{"", "ff", strings.Repeat("f", 40)} {
		if _, err := pack.Find(r.pack, plumbing.NewHash(h)); dm.KindOf(err) != dm.NotFound {
			t.Errorf("Find(%q): %v, want not found", h, err)
		}
	}
	if err := os.WriteFile(filepath.Join(r.pack, "pack-x.idx"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := pack.Find(r.pack, plumbing.ZeroHash); dm.KindOf(err) != dm.Internal {
		t.Errorf("a damaged index: %v", err)
	}
}

// Another folder gets the same file, git reads it there, and gc leaves it.
func TestLink(t *testing.T) {
	t.Parallel()
	r, other := newRepository(t), newRepository(t)
	path, blob := commitStored(t, r, noise(1000), 1000)
	if err := os.WriteFile(strings.TrimSuffix(path, ".pack")+".keep", []byte("shared\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing is left to do
		if err := pack.Link(path, other.pack); err != nil {
			t.Fatal(err)
		}
	}
	linked := filepath.Join(other.pack, filepath.Base(path))
	a, errA := os.Stat(path)
	b, errB := os.Stat(linked)
	if errA != nil || errB != nil || !os.SameFile(a, b) {
		t.Errorf("not the same file: %v, %v", errA, errB)
	}
	other.git(t, nil, "update-ref", "refs/keep/x", blob.String())
	other.git(t, nil, "gc", "-q", "--prune=now")
	if got := other.git(t, nil, "cat-file", "blob", blob.String()); got != string(noise(1000)) {
		t.Errorf("git reads %d bytes that differ", len(got))
	}
	if b, err := os.Stat(linked); err != nil || !os.SameFile(a, b) {
		t.Errorf("gc broke the link: %v", err)
	}
	if err := pack.Link(filepath.Join(r.pack, "pack-none.pack"), other.pack); err == nil {
		t.Error("a pack that does not exist can be linked")
	}
}
