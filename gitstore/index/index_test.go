package index

import (
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// TestReservation has two creates of one name under way. When the first ends,
// the name stays reserved for the second.
func TestReservation(t *testing.T) {
	t.Parallel()
	x := New()
	for _, step := range []struct {
		name string
		app  dm.ApplicationName
		free bool // release instead of reserve
		want dm.Kind
	}{
		{"the first", "my-app", false, ""},
		{"another of the same name", "my-app", false, ""},
		{"a spelling beside two", "My_App", false, dm.Invalid},
		{"the first ends", "my-app", true, ""},
		{"a spelling beside one", "My_App", false, dm.Invalid},
		{"the other ends", "my-app", true, ""},
		{"a spelling beside none", "My_App", false, ""},
	} {
		if step.free {
			x.Release(step.app)
		} else if err := x.Reserve(step.app, nil); dm.KindOf(err) != step.want {
			t.Errorf("%s: %v, want kind %q", step.name, err, step.want)
		}
	}
}
