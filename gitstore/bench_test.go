package gitstore_test

import (
	"fmt"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// BenchmarkCreate measures one create from the call until CREATED, each for
// one of ten users.
func BenchmarkCreate(b *testing.B) {
	h := open(b, b.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	n := 0
	for b.Loop() {
		app := dm.ApplicationName(fmt.Sprintf("app-%d", n))
		check(b, h.Create(ctx, as(dm.UserName(fmt.Sprintf("user-%d", n%10))), dm.Spec{Name: app, Package: v}))
		h.settle(app)
		n++
	}
}
