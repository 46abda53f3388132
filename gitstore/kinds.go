package gitstore

import (
	"context"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/audit"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// kind is all that sets the repositories of one kind apart from the others'.
type kind struct {
	repo.Kind
	recover func(s *Store, ctx context.Context, name, dir string, heads repo.Refs) error
	verify  func(v *audit.Verifier, ctx context.Context)
	atRest  func(s *Store, name string) bool // nothing more is expected in it
}

// kinds are those there are, in the order in which they are read: a later one
// builds on what earlier ones hold.
func kinds() []kind {
	nothing := func(string) bool { return false }
	unread := func(*Store, context.Context, string, string, repo.Refs) error { return nil } // it is written while the server starts
	onlyMain := func(ref string) bool { return ref == repo.Main }
	return []kind{
		{
			Kind: repo.Kind{Name: dm.PackageRepository, Remembers: func(ref string) bool {
				return strings.HasPrefix(ref, repo.TagPrefix) || strings.HasPrefix(ref, repo.SupersededPrefix) || strings.HasPrefix(ref, repo.DeployedPrefix)
			}},
			recover: (*Store).recoverPackage, verify: (*audit.Verifier).Package, atRest: (*Store).packageAtRest,
		},
		{
			Kind:    repo.Kind{Name: dm.ApplicationRepository, Remembers: func(ref string) bool { return ref == repo.Main || ref == repo.Observed }},
			recover: (*Store).recoverApplication, verify: (*audit.Verifier).Application, atRest: (*Store).applicationAtRest,
		},
		{
			Kind:    repo.Kind{Name: dm.WorkspaceRepository, Remembers: nothing},
			recover: (*Store).recoverWorkspace, verify: (*audit.Verifier).Workspace, atRest: func(*Store, string) bool { return false },
		},
		{Kind: repo.Kind{Name: repo.Blank.Kind, Single: true, Remembers: nothing}, recover: unread},
		{Kind: repo.Kind{Name: repo.Tools.Kind, Single: true, Remembers: nothing}, recover: unread},
		{Kind: repo.Kind{Name: repo.Sweeps.Kind, Single: true, Remembers: onlyMain}, recover: (*Store).recoverSweeps},
	}
}

// kindOf is the row of a repository's kind.
func kindOf(r dm.Repository) kind {
	all := kinds()
	return all[slices.IndexFunc(all, func(k kind) bool { return k.Name == r.Kind })]
}

// folderKinds are the rows as the disk needs them.
func folderKinds() (list []repo.Kind) {
	for _, k := range kinds() {
		list = append(list, k.Kind)
	}
	return list
}
