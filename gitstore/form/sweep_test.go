package form

import (
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

func TestSweepComesBack(t *testing.T) {
	t.Parallel()
	for i, text := range hostile {
		x := Sweep{
			Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Rule: "workspaces" + text, Before: two,
			Taken: []Swept{{User: "ana <a>", Main: one.String(), Began: two.String()}},
		}
		objects := kept(t, &x)
		want := x
		want.Rule = dm.Printable(x.Rule)
		got, err := DecodeSweep(objects, commitOf(t, objects, x.Commit))
		if err != nil {
			t.Fatal(err)
		}
		comesBack(t, &got, &want)
		if i == 3 {
			named(t, x.Commit, "33a149098a699358447f8a5291bd793cbb381311")
		}
	}
}
