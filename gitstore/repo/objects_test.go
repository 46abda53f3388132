package repo

import (
	"errors"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// TestReadOutlivesMaintenance: while a repack removes packs one after the
// other, several looks in a row can name a pack that goes before it is opened.
func TestReadOutlivesMaintenance(t *testing.T) {
	t.Parallel()
	damaged := errors.New("invalid checksum")
	tests := []struct {
		name  string
		fails []error // of the first looks; the last one for ever when endless
		end   bool    // endless
		looks int
	}{
		{"found at once", nil, false, 1},
		{"replaced", []error{dotgit.ErrPackfileNotFound}, false, 2},
		{"replaced again and again", []error{dotgit.ErrPackfileNotFound, plumbing.ErrObjectNotFound, dotgit.ErrPackfileNotFound}, false, 4},
		{"not there", []error{plumbing.ErrObjectNotFound}, true, readAttempts},
		{"damaged", []error{damaged}, true, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			looks := 0
			err := Open(t.TempDir()).read("tree", EmptyTree, func() error {
				looks++
				switch {
				case looks <= len(tt.fails):
					return tt.fails[looks-1]
				case tt.end:
					return tt.fails[len(tt.fails)-1]
				}
				return nil
			})
			if (err != nil) != tt.end || looks != tt.looks {
				t.Errorf("got %v after %d looks, want an error: %t, after %d", err, looks, tt.end, tt.looks)
			}
		})
	}
}
