package pack_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// TestContent reads objects that git stored as long chains of differences, of
// both kinds, and compares them with what git itself reads.
func TestContent(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"--delta-base-offset", "--no-delta-base-offset"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			source := newRepository(t)
			random := rand.New(rand.NewPCG(3, 4))
			want, ids := map[plumbing.Hash]string{}, ""
			text := strings.Repeat("a line of many\n", 500)
			for i := range 60 {
				at := random.IntN(len(text))
				text = text[:at] + fmt.Sprintf(" change %d ", i) + text[at:]
				id := strings.TrimSpace(source.git(t, []byte(text), "hash-object", "-w", "--stdin"))
				want[plumbing.NewHash(id)] = text
				ids += id + "\n"
			}
			source.git(t, []byte(ids), "pack-objects", "-q", "--window=4", "--depth=50", kind, source.pack+"/pack")
			packs, err := pack.OpenAll(source.pack)
			if err != nil {
				t.Fatal(err)
			}
			defer packs.Close()
			deltas := 0
			for h, text := range want {
				if _, whole, _ := packs.Whole(h); !whole {
					deltas++
				}
				kind, size, ok, err := packs.Stat(h)
				if kind != plumbing.BlobObject || size != int64(len(text)) || !ok || err != nil {
					t.Errorf("%s is a %s of %d bytes, %v, %v; want a blob of %d", h, kind, size, ok, err, len(text))
				}
				got, ok, err := packs.Content(h, 1<<20)
				if string(got) != text || !ok || err != nil {
					t.Errorf("%s: %d bytes, %v, %v; want %d", h, len(got), ok, err, len(text))
				}
				if _, ok, err := packs.Content(h, int64(len(text))-1); ok || err != nil {
					t.Errorf("%s over the limit: %v, %v", h, ok, err)
				}
			}
			if deltas < 40 {
				t.Errorf("%d differences, want most of %d", deltas, len(want))
			}
			missing := plumbing.NewHash(strings.Repeat("1", 40))
			if _, _, ok, err := packs.Stat(missing); ok || err != nil {
				t.Errorf("an object that is not there: %v %v", ok, err)
			}
			if _, ok, err := packs.Content(missing, 10); ok || err != nil {
				t.Errorf("an object that is not there: %v %v", ok, err)
			}
		})
	}
}

// TestContentOfRubbish: a pack that is not as it was indexed makes nothing panic.
func TestContentOfRubbish(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w, err := pack.Create(pack.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	content := strings.Repeat("content ", 40)
	name, err := w.Add(plumbing.BlobObject, []byte(content))
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
		for _, mask := range []byte{0x55, 0x70, 0x60, 0x50, 0x80} {
			broken := bytes.Clone(sound)
			broken[at] ^= mask
			if err := os.WriteFile(path, broken, 0o600); err != nil {
				t.Fatal(err)
			}
			packs, err := pack.OpenAll(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, size, ok, err := packs.Stat(name); at == 12 && ok && err == nil && size == int64(len(content)) && mask != 0x70 {
				t.Errorf("the head with %#x is as before", mask)
			}
			if got, ok, err := packs.Content(name, 1<<20); ok && err == nil && len(got) > 1<<10 {
				t.Errorf("byte %d with %#x: %d bytes", at, mask, len(got))
			}
			packs.Close()
		}
	}
}
