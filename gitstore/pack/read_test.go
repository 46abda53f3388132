package pack_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// TestOpenBeforeCommit reads back what was written, small and large, deflated
// and stored, while more is still to come.
func TestOpenBeforeCommit(t *testing.T) {
	t.Parallel()
	w, err := pack.Create(pack.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	noise := make([]byte, 3<<20)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	var contents [][]byte
	for round := range 2 {
		contents = append(contents, nil, fmt.Appendf(nil, "round %d", round), bytes.Repeat([]byte("text "), 1<<19), noise[round:], noise[:1000+round])
		var entries []*pack.Entry
		for _, content := range contents {
			e, err := w.Blob(int64(len(content)), bytes.NewReader(content))
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, e)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		for i, e := range entries {
			r, err := w.Open(e.Hash)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, contents[i]) || r.Close() != nil {
				t.Errorf("round %d, content %d: %d bytes, %v, want %d", round, i, len(got), err, len(contents[i]))
			}
		}
	}
	if _, err := w.Open(plumbing.NewHash("0123456789012345678901234567890123456789")); err == nil {
		t.Error("an object that is not there opens")
	}
	if _, err := w.Commit(""); err != nil {
		t.Error(err)
	}
}
