package gitstore

import (
	"errors"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
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
			err := openObjects(t.TempDir()).read("tree", emptyTree, func() error {
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

// TestBeginning holds the name of the commit to what is written.
func TestBeginning(t *testing.T) {
	t.Parallel()
	w, err := pack.Create(pack.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if h, err := addBeginning(w); err != nil || h != beginning {
		t.Errorf("the commit is %s, want %s (%v)", h, beginning, err)
	}
	pushed := plumbing.NewHash("1111111111111111111111111111111111111111")
	before := plumbing.NewHash("2222222222222222222222222222222222222222")
	for _, test := range []struct {
		name    string
		parents []plumbing.Hash
		want    plumbing.Hash
	}{
		{"first", nil, plumbing.ZeroHash},
		{"by REST", []plumbing.Hash{before}, before},
		{"first, by push", []plumbing.Hash{beginning, pushed}, plumbing.ZeroHash},
		{"by push", []plumbing.Hash{before, pushed}, before},
		{"by a push of main itself", []plumbing.Hash{before, before}, before},
	} {
		if got := parentOf(&object.Commit{ParentHashes: test.parents}); got != test.want {
			t.Errorf("%s: the commit before is %s, want %s", test.name, got, test.want)
		}
	}
}
