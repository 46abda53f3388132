package gitstore

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
)

func (s *Store) mendPacks(ctx context.Context, r dm.Repository, dir string) error { return nil }
