package apihandlers

import dm "github.com/pndaproject/deployment-manager"

// ListedPackage is one package in the list that both of PNDA's services give.
type ListedPackage struct {
	Name     dm.PackageName  `json:"name"`
	Versions []ListedVersion `json:"latest_versions"`
}

// ListedVersion is one version of a ListedPackage.
type ListedVersion struct {
	Version string `json:"version"`
	File    string `json:"file"`
}

// Listing turns the record's list into JSON values; empty lists are never
// null.
func Listing(packages []dm.PackageListing) []ListedPackage {
	list := make([]ListedPackage, len(packages))
	for i, p := range packages {
		versions := make([]ListedVersion, len(p.Versions))
		for j, f := range p.Versions {
			versions[j] = ListedVersion{f.Ref.Version.String(), f.String()}
		}
		list[i] = ListedPackage{p.Name, versions}
	}
	return list
}
