package gitstore

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// deployedTrees are the trees with which a version was deployed, and since when.
type deployedTrees map[plumbing.Hash]time.Time

// pinned checks that the package's files in an application are those of a
// deployment, which came before.
func (v *verifier) pinned(d told, content contentEntry, earlier []contentEntry) {
	ref := content.spec.Package
	if v.s.index.sound(repo.Package(ref.Name)) != nil {
		return // nobody can tell now
	}
	since, deployed := v.deployments(ref)[content.packageTree]
	switch {
	case deployed:
		v.after(d, since, "the deploy of "+ref.String())
	case slices.ContainsFunc(earlier, func(c contentEntry) bool { return c.spec.Package == ref && c.packageTree == content.packageTree }):
		// told of that one
	case len(v.deployments(ref)) == 0:
		v.problem("%s is made from %s, and the record has no %s of it", d.what, ref, repo.Deployed(ref.Version))
	default:
		v.problem("%s has files in %s/ with which %s was never deployed", d.what, packageTree, ref)
	}
}

// deployments reads how a version was deployed, once in a run of verify.
func (v *verifier) deployments(ref dm.PackageRef) deployedTrees {
	if trees, ok := v.deployed[ref]; ok {
		return trees
	}
	trees := deployedTrees{}
	v.deployed[ref] = trees
	dir := v.s.data.Path(repo.Package(ref.Name))
	tip, err := repo.ReadRef(dir, repo.Deployed(ref.Version))
	if err != nil || tip.IsZero() {
		return trees // told of the package
	}
	list, _, err := chain(context.Background(), repo.Open(dir), tip, plumbing.ZeroHash)
	if err != nil {
		return trees // told of the package
	}
	for _, c := range list {
		t := parseTrailers(c.Message)
		if _, ok := trees[c.TreeHash]; !ok && dm.Phase(t[trailerPhase]) == dm.Deployed {
			trees[c.TreeHash] = parseStamp(t).Time
		}
	}
	return trees
}

// uploaded is one of a version's, which stands, was replaced or was withdrawn.
type uploaded struct {
	tag    plumbing.Hash
	tree   plumbing.Hash
	d      told
	number int  // under refs/superseded; 0 of the one that stands
	gone   told // the withdrawal; zero when there was none
}

// uploads reads those of every version, in the order in which they came.
func (v *verifier) uploads() map[string][]uploaded {
	all := map[string][]uploaded{}
	for ref, h := range v.heads {
		version, standing := strings.CutPrefix(ref, repo.TagPrefix)
		u := uploaded{tag: h}
		if !standing {
			text, earlier := strings.CutPrefix(ref, repo.SupersededPrefix)
			if !earlier {
				continue
			}
			var number string
			version, number, _ = strings.Cut(text, "/")
			u.number, _ = strconv.Atoi(number)
		}
		t, err := v.objects.Tag(h)
		if err == nil && t.TargetType == plumbing.TagObject {
			u.gone = told{"tag " + h.String(), parseTrailers(t.Message), parseStamp(parseTrailers(t.Message))}
			v.called(u.gone, t.Message, "Withdraw "+v.r.Name+"-"+version)
			u.tag = t.Target
			t, err = v.objects.Tag(t.Target)
		}
		if err != nil {
			continue // told before
		}
		c, err := v.objects.Commit(t.Target)
		if err != nil {
			continue // told before
		}
		u.tree = c.TreeHash
		u.d = told{"tag " + u.tag.String(), parseTrailers(t.Message), parseStamp(parseTrailers(t.Message))}
		v.called(u.d, t.Message, "Publish "+v.r.Name+"-"+version)
		all[version] = append(all[version], u)
	}
	for _, list := range all {
		slices.SortFunc(list, func(a, b uploaded) int {
			if a.number == 0 || b.number == 0 {
				return b.number - a.number // the one that stands is the last
			}
			return a.number - b.number
		})
	}
	return all
}

// versions checks the order of uploads, withdrawals and decisions of a package.
func (v *verifier) versions(ctx context.Context) {
	all := v.uploads()
	for _, list := range all {
		for i, u := range list {
			v.past(u.d)
			if u.gone.what != "" {
				v.past(u.gone)
				v.after(u.gone, u.d.stamp.Time, u.d.what)
			}
			if i == 0 || list[i-1].tag == u.tag {
				continue // a withdrawal that a crash broke off leaves one twice
			}
			before := list[i-1].d
			if list[i-1].gone.what != "" {
				before = list[i-1].gone
			}
			v.after(u.d, before.stamp.Time, before.what)
		}
	}
	v.dated(v.chainOf(ctx, repo.Main))
	for ref := range v.heads {
		if version, ok := strings.CutPrefix(ref, repo.DeployedPrefix); ok {
			commits := v.chainOf(ctx, ref)
			v.dated(commits)
			v.decided(commits, version, all[version])
		}
	}
}

// dated checks that each commit of a chain is dated after the one before.
func (v *verifier) dated(commits []*object.Commit) {
	var last told
	for _, c := range commits {
		t := parseTrailers(c.Message)
		d := told{"commit " + c.Hash.String(), t, parseStamp(t)}
		v.past(d)
		if last.what != "" {
			v.after(d, last.stamp.Time, last.what)
		}
		last = d
	}
}

// decided checks that deploys and undeploys of a version take turns, and that
// what was deployed had been uploaded.
func (v *verifier) decided(commits []*object.Commit, version string, uploads []uploaded) {
	before := outcomeEntry{phase: dm.NotDeployed}
	ref, err := dm.ParsePackageRef(v.r.Name + "-" + version)
	if err != nil {
		return // told before
	}
	for _, c := range commits {
		t := parseTrailers(c.Message)
		d, o := told{"commit " + c.Hash.String(), t, parseStamp(t)}, parseOutcome(c)
		v.called(d, c.Message, outcomeSubject(ref, o, d.stamp))
		switch d.stamp.Verb {
		case dm.Deploy:
			if before.phase != dm.NotDeployed {
				v.problem("%s deploys what is %s", d.what, before.phase)
			}
		case dm.Undeploy:
			if before.phase != dm.Deployed || before.tree != o.tree {
				v.problem("%s undeploys other files than were deployed", d.what)
			}
		}
		if o.phase == dm.Deployed {
			i := slices.IndexFunc(uploads, func(u uploaded) bool { return u.tree == o.tree })
			if i < 0 {
				v.problem("%s deploys files that nobody uploaded as %s", d.what, version)
			} else {
				v.after(d, uploads[i].d.stamp.Time, uploads[i].d.what)
			}
			if want := deployedText(ref, d.stamp); o.information != want {
				v.problem("%s says %q, want %q", d.what, o.information, want)
			}
		}
		before = o
	}
}
