package index

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// GapsOfPackage finds refs that others of a package prove to have been there.
// follows are the parents of uploads.
func GapsOfPackage(objects *repo.Objects, name dm.PackageName, entry *Package, heads repo.Refs, follows map[plumbing.Hash]plumbing.Hash) ([]repair.Finding, error) {
	list, counted := gapsOfSuperseded(heads)
	for v, o := range entry.Outcomes {
		if _, ok := entry.Version(v); !ok && counted[v.String()] == 0 && o.Tree != repo.EmptyTree {
			list = append(list, repair.Finding{Ref: repo.Tag(v), Why: fmt.Sprintf("it is missing, %s is of its files", repo.Deployed(v))})
		}
	}
	uploads := map[plumbing.Hash]bool{}
	for _, v := range entry.Versions {
		uploads[v.Commit] = true
	}
	earlier := false
	for _, c := range slices.AppendSeq([]plumbing.Hash{entry.Main}, maps.Keys(follows)) {
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

// GapsOfApplication finds whether main or the outcomes were set back.
func GapsOfApplication(ctx context.Context, objects *repo.Objects, e *Application, heads repo.Refs) ([]repair.Finding, error) {
	var list []repair.Finding
	for ref, h := range heads {
		n, err := strconv.Atoi(strings.TrimPrefix(ref, repo.DeploymentPrefix))
		if err != nil || n <= e.Deployments || h == e.Main {
			continue
		}
		if follows, err := repair.LeadsTo(ctx, objects, h, e.Main); err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		} else if follows {
			list = append(list, repair.Finding{Ref: repo.Main, Why: fmt.Sprintf("it was rewound, %s follows it", ref)})
			break
		}
	}
	if e.Observed == nil {
		if followed, err := answeredBefore(ctx, objects, e.Main); err != nil || followed {
			list = append(list, repair.Finding{Ref: repo.Observed, Why: "it is missing, and a change is only accepted when the one before it has an outcome"})
			return list, err
		}
		return list, nil
	}
	if ok, err := repair.LeadsTo(ctx, objects, e.Main, plumbing.NewHash(string(e.Observed.Desired))); err != nil || !ok {
		list = append(list, repair.Finding{Ref: repo.Main, Why: fmt.Sprintf("it was rewound, the last outcome is of %.40s, which is not on it", e.Observed.Desired)})
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
