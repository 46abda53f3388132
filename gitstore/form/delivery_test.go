package form

import (
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

func TestDeliveryComesBack(t *testing.T) {
	t.Parallel()
	for i, stamp := range stamps(dm.Create) {
		c := Change{Stamp: stamp, Spec: dm.Spec{Name: "noon-run", Package: ref}, Deployment: i, Commit: one}
		for _, removed := range []bool{false, true} {
			d := DeliveryOf("noon-run", c)
			d.Removed, d.Tree, d.Before = removed, two, three
			want := d
			want.Stamp = clean(d.Stamp)
			got := DecodeDelivery(commitOf(t, kept(t, &d), d.Commit))
			comesBack(t, &got, &want)
			if i == 3 && !removed {
				named(t, d.Commit, "7be45154197997a2e9694422b650888bc3ec8b44")
			}
		}
	}
}
