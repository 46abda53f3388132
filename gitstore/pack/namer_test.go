package pack

import (
	"os"
	"testing"

	"github.com/pjbgf/sha1cd"

	dm "github.com/pndaproject/deployment-manager"
)

// testdata/shattered-1.head is the first 320 bytes of the first of the two
// files of https://shattered.io, up to the end of the colliding blocks. Git's
// header in front of a blob would disarm it, so the namer starts without one.
func TestNamerNoticesCollisionAttack(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/shattered-1.head")
	if err != nil {
		t.Fatal(err)
	}
	n := namer{sha1cd.New()}
	n.Write(content)
	if _, err := n.name(); dm.KindOf(err) != dm.Invalid {
		t.Errorf("got %v, want an error of kind invalid", err)
	}
	if _, err := nameOf(3, content); err != nil {
		t.Errorf("as a blob the same bytes are harmless, got %v", err)
	}
}
