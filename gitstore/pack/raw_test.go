package pack_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// TestCopyBetweenPacks takes objects out of packs that git made, some of them
// as differences, and leaves them to git's own check.
func TestCopyBetweenPacks(t *testing.T) {
	t.Parallel()
	source := newRepository(t)
	random := rand.New(rand.NewPCG(1, 2))
	want := map[plumbing.Hash]string{}
	for i := range 20 {
		text := strings.Repeat(fmt.Sprintf("line %d of many\n", i%4), 2000) + fmt.Sprint(random.Uint64())
		if i == 7 {
			text = ""
		}
		file := filepath.Join(t.TempDir(), "content")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		id := strings.TrimSpace(source.git(t, nil, "hash-object", "-w", file))
		want[plumbing.NewHash(id)] = text
	}
	ids := ""
	for h := range want {
		ids += h.String() + "\n"
	}
	source.git(t, []byte(ids), "pack-objects", "-q", "--window=10", filepath.Join(source.pack, "pack"))
	packs, err := pack.OpenAll(source.pack)
	if err != nil {
		t.Fatal(err)
	}
	defer packs.Close()
	target := newRepository(t)
	w, err := pack.Create(pack.Config{Dir: target.pack})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	whole, deltas := 0, 0
	for h, text := range want {
		raw, ok, err := packs.Whole(h)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			deltas++
			continue
		}
		whole++
		for range 2 { // the second time it is there already
			var got bytes.Buffer
			again, _, err := packs.Whole(h)
			if err != nil {
				t.Fatal(err)
			}
			content, err := again.Open()
			if err == nil {
				_, err = got.ReadFrom(content)
			}
			if err != nil {
				t.Fatal(err)
			}
			entry, err := w.Copy(again)
			if err != nil || entry.Hash != h || entry.Size != int64(len(text)) || got.String() != text {
				t.Errorf("copy of %s: %+v, %d bytes, %v", h, entry, got.Len(), err)
			}
		}
		if raw.Size != int64(len(text)) || raw.Type != plumbing.BlobObject {
			t.Errorf("%s is a %s of %d bytes, want %d", h, raw.Type, raw.Size, len(text))
		}
	}
	if whole == 0 || deltas == 0 {
		t.Errorf("%d whole objects and %d differences: want some of both", whole, deltas)
	}
	if _, ok, err := packs.Whole(plumbing.NewHash(strings.Repeat("1", 40))); ok || err != nil {
		t.Errorf("an object that is not there: %v %v", ok, err)
	}
	p, err := w.Commit("")
	if err != nil || p.Objects != whole {
		t.Fatalf("commit: %+v %v", p, err)
	}
	target.git(t, nil, "fsck", "--strict", "--full")
	target.git(t, nil, "verify-pack", pack.Path(target.pack, p.Name))
}

// TestCopyOfDamage wants an error, and a writer that is void, for every byte of
// an entry that is not as it was.
func TestCopyOfDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, err := pack.Create(pack.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	content := []byte(strings.Repeat("content ", 40))
	name, err := w.Add(plumbing.BlobObject, content)
	if err != nil {
		t.Fatal(err)
	}
	p, err := w.Commit("")
	if err != nil {
		t.Fatal(err)
	}
	path := pack.Path(dir, p.Name)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 12; at < len(sound)-20; at++ {
		broken := bytes.Clone(sound)
		broken[at] ^= 0x55
		if err := os.WriteFile(path, broken, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := copyOne(t, dir, name); err == nil {
			t.Errorf("byte %d was changed and nobody noticed", at)
		}
	}
}

func copyOne(t *testing.T, dir string, name plumbing.Hash) error {
	t.Helper()
	packs, err := pack.OpenAll(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer packs.Close()
	raw, ok, err := packs.Whole(name)
	if err != nil || !ok {
		return fmt.Errorf("not whole: %w", err)
	}
	w, err := pack.Create(pack.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	_, err = w.Copy(raw)
	return err
}
