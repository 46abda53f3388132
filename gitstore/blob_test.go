package gitstore_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestArchiveInAnotherForm lets somebody's git repack an archive, which the
// server never does. It is still read at any place.
func TestArchiveInAnotherForm(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	content := notebook("flow-1.0.0", "one")
	h.publish("ana", "flow-1.0.0.tar.gz", content)
	keeps, err := filepath.Glob(h.dir + "/packages/flow.git/objects/pack/*.keep")
	check(t, err)
	for _, keep := range keeps {
		check(t, os.Remove(keep))
	}
	h.git("packages/flow.git", "repack", "-q", "-a", "-d", "-F")
	a, err := h.OpenArchive(ctx, file(t, "flow-1.0.0.tar.gz"))
	check(t, err)
	defer a.Close()
	for _, from := range []int{0, 100, 10} {
		_, err := a.Seek(int64(from), io.SeekStart)
		check(t, err)
		if got, err := io.ReadAll(a); err != nil || !bytes.Equal(got, content[from:]) || a.Size != int64(len(content)) {
			t.Errorf("from %d on: %d bytes of %d, %v", from, len(got), a.Size, err)
		}
	}
	left, err := os.ReadDir(h.dir + "/tmp")
	if err != nil || len(left) != 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}
