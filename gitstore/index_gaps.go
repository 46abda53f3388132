package gitstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// gapsOfPackage finds refs that others of a package prove to have been there.
// follows are the parents of uploads.
func gapsOfPackage(objects *repo.Objects, name dm.PackageName, entry *packageEntry, heads repo.Refs, follows map[plumbing.Hash]plumbing.Hash) ([]repair.Finding, error) {
	list, counted := gapsOfSuperseded(heads)
	for v, o := range entry.outcomes {
		if _, ok := entry.version(v); !ok && counted[v.String()] == 0 && o.tree != repo.EmptyTree {
			list = append(list, repair.Finding{Ref: repo.Tag(v), Why: fmt.Sprintf("it is missing, %s is of its files", repo.Deployed(v))})
		}
	}
	uploads := map[plumbing.Hash]bool{}
	for _, v := range entry.versions {
		uploads[v.commit] = true
	}
	earlier := false
	for _, c := range append([]plumbing.Hash{entry.main}, keysOf(follows)...) {
		if c.IsZero() || uploads[c] {
			continue
		}
		if !earlier {
			if err := earlierUploads(objects, heads, uploads); err != nil {
				return nil, err
			}
			earlier = true
		}
		if uploads[c] {
			continue
		}
		commit, err := objects.Commit(c)
		if err != nil {
			return nil, err
		}
		// Who wrote something else there is told by verify.
		if of := form.ParseVersion(commit).File.Ref; of.Name == name {
			list = append(list, repair.Finding{Ref: repo.Tag(of.Version), Why: fmt.Sprintf("it is missing, main has its commit %s", c)})
		}
	}
	return list, nil
}

func keysOf(m map[plumbing.Hash]plumbing.Hash) []plumbing.Hash {
	list := make([]plumbing.Hash, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}

// gapsOfSuperseded finds missing numbers of earlier tags, which are given one
// after the other, and returns the highest ones.
func gapsOfSuperseded(heads repo.Refs) (list []repair.Finding, highest map[string]int) {
	highest = map[string]int{}
	for ref := range heads {
		if text, ok := strings.CutPrefix(ref, repo.SupersededPrefix); ok {
			version, number, _ := strings.Cut(text, "/")
			if n, err := strconv.Atoi(number); err == nil {
				highest[version] = max(highest[version], n)
			}
		}
	}
	for version, last := range highest {
		for n := 1; n < last; n++ {
			if ref := repo.SupersededPrefix + version + "/" + strconv.Itoa(n); heads[ref].IsZero() {
				list = append(list, repair.Finding{Ref: ref, Why: fmt.Sprintf("it is missing, number %d came after it", last)})
			}
		}
	}
	return list, highest
}

// earlierUploads adds the commits of uploads that were replaced or withdrawn.
func earlierUploads(objects *repo.Objects, heads repo.Refs, uploads map[plumbing.Hash]bool) error {
	for ref, h := range heads {
		if !strings.HasPrefix(ref, repo.SupersededPrefix) {
			continue
		}
		v, _, err := form.DecodeTag(objects, h)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		uploads[v.Commit] = true
	}
	return nil
}

// gapsOfApplication finds whether main or the outcomes were set back.
func gapsOfApplication(ctx context.Context, objects *repo.Objects, e *appEntry, heads repo.Refs) ([]repair.Finding, error) {
	var list []repair.Finding
	for ref, h := range heads {
		n, err := strconv.Atoi(strings.TrimPrefix(ref, repo.DeploymentPrefix))
		if err != nil || n <= e.deployments || h == e.main {
			continue
		}
		if follows, err := repair.LeadsTo(ctx, objects, h, e.main); err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		} else if follows {
			list = append(list, repair.Finding{Ref: repo.Main, Why: fmt.Sprintf("it was rewound, %s goes on from it", ref)})
			break
		}
	}
	if e.observed == nil {
		if followed, err := answeredBefore(ctx, objects, e.main); err != nil || followed {
			list = append(list, repair.Finding{Ref: repo.Observed, Why: "it is missing, and a change is only accepted when the one before it has an outcome"})
			return list, err
		}
		return list, nil
	}
	if ok, err := repair.LeadsTo(ctx, objects, e.main, plumbing.NewHash(string(e.observed.Desired))); err != nil || !ok {
		list = append(list, repair.Finding{Ref: repo.Main, Why: fmt.Sprintf("it was rewound, the last outcome is of %.40s, which is not on it", e.observed.Desired)})
		return list, err
	}
	return list, nil
}

// answeredBefore tells whether a change follows one that must have an outcome.
func answeredBefore(ctx context.Context, objects *repo.Objects, main plumbing.Hash) (bool, error) {
	for h := main; !h.IsZero() && ctx.Err() == nil; {
		c, err := objects.Commit(h)
		if err != nil {
			return false, err
		}
		change := form.ParseChange(c)
		if h = change.Before; !h.IsZero() && change.Overtakes.IsZero() {
			return true, nil
		}
	}
	return false, ctx.Err()
}
