package gitstore

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/receive"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// validate judges a package as its deploy would. top is its outer directory.
// What files makes may take memory, so it is made when it is this one's turn.
func (s *Store) validate(ctx context.Context, ref dm.PackageRef, top string, files func() (*treefs.Sketch, error)) (dm.Validation, error) {
	room, err := s.planning.Enter(ctx)
	if err != nil {
		return dm.Validation{}, err
	}
	defer room.End()
	f, err := files()
	if err != nil {
		return dm.Validation{}, err
	}
	return s.Planner.Validate(ref, top, f)
}

// judged validates an upload that has arrived whole.
func (s *Store) judged(ctx context.Context, ref dm.PackageRef, up *receive.Upload) error {
	v, err := s.validate(ctx, ref, up.Top, up.Sketch)
	up.Findings, up.Notes = dm.Few(dm.FindingTexts(v.Findings)), dm.Few(v.Notes)
	return err
}
