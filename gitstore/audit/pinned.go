package audit

import (
	"context"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// deployedTrees are the trees with which a version was deployed, and since when.
type deployedTrees map[plumbing.Hash]time.Time

// pinned checks that the package's files in an application are those of a
// deployment, which came before.
func (v *Verifier) pinned(d told, c form.Change, earlier []form.Change) {
	ref := c.Spec.Package
	if v.Service.Sound(repo.Package(ref.Name)) != nil {
		return // nobody can tell now
	}
	since, deployed := v.deployments(ref)[c.Package]
	switch {
	case deployed:
		v.after(d, since, "the deploy of "+ref.String())
	case slices.ContainsFunc(earlier, func(e form.Change) bool { return e.Spec.Package == ref && e.Package == c.Package }):
		// told of that one
	case len(v.deployments(ref)) == 0:
		v.problem("%s is made from %s, and the record has no %s of it", d.what, ref, repo.Deployed(ref.Version))
	default:
		v.problem("%s has files in %s/ with which %s was never deployed", d.what, form.PackageTree, ref)
	}
}

// deployments reads how a version was deployed, once in a run of verify.
func (v *Verifier) deployments(ref dm.PackageRef) deployedTrees {
	if trees, ok := v.deployed[ref]; ok {
		return trees
	}
	trees := deployedTrees{}
	v.deployed[ref] = trees
	dir := v.Data.Path(repo.Package(ref.Name))
	tip, err := repo.ReadRef(dir, repo.Deployed(ref.Version))
	if err != nil || tip.IsZero() {
		return trees // told of the package
	}
	list, _, err := form.Chain(context.Background(), repo.Open(dir), tip, plumbing.ZeroHash)
	if err != nil {
		return trees // told of the package
	}
	for _, c := range list {
		d := form.DecodeDecision(c)
		if _, ok := trees[d.Tree]; !ok && d.Phase == dm.Deployed {
			trees[d.Tree] = d.Time
		}
	}
	return trees
}

// uploaded is one of a version's, which stands, was replaced or was withdrawn.
type uploaded struct {
	tag    plumbing.Hash
	commit plumbing.Hash
	tree   plumbing.Hash
	d      told
	number int  // under refs/superseded; 0 of the one that stands
	gone   told // the withdrawal; zero when there was none
}

// versions checks the order of uploads and withdrawals of a package.
func (v *Verifier) versions(uploads map[string][]uploaded) {
	for _, list := range uploads {
		slices.SortFunc(list, func(a, b uploaded) int {
			if a.number == 0 || b.number == 0 {
				return b.number - a.number // the one that stands is the last
			}
			return a.number - b.number
		})
		for i, u := range list {
			v.past(u.d)
			if u.gone.what != "" {
				v.past(u.gone)
				v.after(u.gone, u.d.Time, u.d.what)
			}
			if i == 0 || list[i-1].tag == u.tag {
				continue // a withdrawal that a crash broke off leaves one twice
			}
			before := list[i-1].d
			if list[i-1].gone.what != "" {
				before = list[i-1].gone
			}
			v.after(u.d, before.Time, before.what)
		}
	}
}

// dated checks that each of a chain is dated after the one before.
func (v *Verifier) dated(list []told) {
	for i, d := range list {
		v.past(d)
		if i > 0 {
			v.after(d, list[i-1].Time, list[i-1].what)
		}
	}
}
