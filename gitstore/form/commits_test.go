package form

import (
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

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
		if got := ParentOf(&object.Commit{ParentHashes: test.parents}); got != test.want {
			t.Errorf("%s: the commit before is %s, want %s", test.name, got, test.want)
		}
	}
}
