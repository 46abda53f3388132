package gitstore_test

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
)

// TestUploadsOverTheLimit sends more than may come, with and without saying so
// before: as a new version, and as one that is there, of which only the digest
// is taken.
func TestUploadsOverTheLimit(t *testing.T) {
	t.Parallel()
	fits := notebook("flow-1.0.0", "one")
	noise := make([]byte, 4096) // which does not compress
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	long := notebook("flow-1.1.0", hex.EncodeToString(noise))
	h := open(t, t.TempDir(), func(c *gitstore.Config) { c.Limits = archive.Limits{Wire: int64(len(fits))} })
	h.publish("ana", "flow-1.0.0.tgz", fits)
	before := h.snapshot()
	for _, name := range []string{"flow-1.0.0.tgz", "flow-1.1.0.tgz"} {
		for _, size := range []int64{int64(len(long)), -1} {
			_, err := h.Publish(ctx, as("ana"), file(t, name), bytes.NewReader(long), size)
			if dm.KindOf(err) != dm.TooLarge {
				t.Errorf("%s with %d bytes, announced as %d: got %v, want TooLarge", name, len(long), size, err)
			}
		}
	}
	if after := h.snapshot(); after != before {
		t.Errorf("the refused uploads changed\n%s\nto\n%s", before, after)
	}
	h.sound()
}
