package gitstore

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
)

// admitPackage asks admission for a change of what the repository offers.
func (s *Store) admitPackage(ctx context.Context, actor dm.Actor, verb dm.Verb, ref dm.PackageRef) error {
	_, err := s.Admission.Admit(ctx, dm.AdmissionRequest{Actor: actor, Verb: verb, Package: ref, PackageOwner: s.PackageOwner(ref.Name)})
	return err
}
