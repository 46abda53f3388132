package gitstore

import (
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// kind is all that sets the repositories of one kind apart from the others'.
type kind struct {
	FolderKind
}

// kinds are those there are, in the order in which they are read: a later one
// builds on what earlier ones hold.
var kinds = [...]kind{
	{FolderKind{Name: dm.PackageRepository, Remembers: func(ref string) bool {
		return strings.HasPrefix(ref, tagPrefix) || strings.HasPrefix(ref, supersededPrefix) || strings.HasPrefix(ref, deployedPrefix)
	}}},
	{FolderKind{Name: dm.ApplicationRepository, Remembers: func(ref string) bool { return ref == mainRef || ref == observedRef }}},
	{FolderKind{Name: dm.WorkspaceRepository, Remembers: func(string) bool { return false }}},
	{FolderKind{Name: blankRepository.Kind, Single: true, Remembers: func(string) bool { return false }}},
	{FolderKind{Name: sweepsRepository.Kind, Single: true, Remembers: func(ref string) bool { return ref == mainRef }}},
}

func folderKinds() (list []FolderKind) {
	for _, k := range kinds {
		list = append(list, k.FolderKind)
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
