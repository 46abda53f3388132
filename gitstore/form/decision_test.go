package form

import (
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

func TestDecisionComesBack(t *testing.T) {
	t.Parallel()
	for i, text := range hostile {
		list := []Decision{
			{Stamp: stamps(dm.Deploy)[i], Package: ref, Phase: dm.Deployed, Tree: one, Before: two},
			{Stamp: stamps(dm.Deploy)[i], Package: ref, Phase: dm.NotDeployed, Information: text, Tree: repo.EmptyTree},
			{Stamp: stamps(dm.Undeploy)[i], Package: ref, Phase: dm.NotDeployed, Tree: one, Before: three},
		}
		objects := kept(t, &list[0], &list[1], &list[2])
		for _, d := range list {
			want := d
			want.Stamp, want.Information = clean(d.Stamp), dm.Printable(d.Information)
			got := DecodeDecision(commitOf(t, objects, d.Commit))
			comesBack(t, &got, &want)
			if i == 3 && d.Phase == dm.Deployed {
				named(t, d.Commit, "c1557542335bb8f9502723d1081d53cc7c996dca")
			}
		}
	}
}
