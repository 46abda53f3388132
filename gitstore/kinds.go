package gitstore

import (
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// kind is all that sets the repositories of one kind apart from the others'.
type kind struct {
	repo.Kind
}

// kinds are those there are, in the order in which they are read: a later one
// builds on what earlier ones hold.
var kinds = [...]kind{
	{repo.Kind{Name: dm.PackageRepository, Remembers: func(ref string) bool {
		return strings.HasPrefix(ref, repo.TagPrefix) || strings.HasPrefix(ref, repo.SupersededPrefix) || strings.HasPrefix(ref, repo.DeployedPrefix)
	}}},
	{repo.Kind{Name: dm.ApplicationRepository, Remembers: func(ref string) bool { return ref == repo.Main || ref == repo.Observed }}},
	{repo.Kind{Name: dm.WorkspaceRepository, Remembers: func(string) bool { return false }}},
	{repo.Kind{Name: repo.Blank.Kind, Single: true, Remembers: func(string) bool { return false }}},
	{repo.Kind{Name: repo.Sweeps.Kind, Single: true, Remembers: func(ref string) bool { return ref == repo.Main }}},
}

func folderKinds() (list []repo.Kind) {
	for _, k := range kinds {
		list = append(list, k.Kind)
	}
	return list
}

// repositoryKinds are those of which there are many.
func repositoryKinds() (list []dm.RepositoryKind) {
	for _, k := range kinds {
		if !k.Single {
			list = append(list, k.Name)
		}
	}
	return list
}
