package gitstore

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
)

// PackageOwner implements dm.Owners.
func (s *Store) PackageOwner(name dm.PackageName) dm.UserName {
	if e := s.index.Package(name); e != nil {
		return e.Owner
	}
	return ""
}

// admitPackage asks admission for a change of what the repository offers.
func (s *Store) admitPackage(ctx context.Context, actor dm.Actor, verb dm.Verb, ref dm.PackageRef) error {
	_, err := s.Admission.Admit(ctx, dm.AdmissionRequest{Actor: actor, Verb: verb, Package: ref, PackageOwner: s.PackageOwner(ref.Name)})
	return err
}
