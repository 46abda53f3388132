package gitstore

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
)

// Has implements dm.GitTransport.
func (s *Store) Has(r dm.Repository) error {
	_, err := s.served(r)
	return err
}

// served is the directory that answers for a repository.
func (s *Store) served(r dm.Repository) (dir string, err error) {
	if err := s.index.sound(r); err != nil {
		return "", err
	}
	dir = s.repositoryDir(r)
	if exists(dir) {
		return dir, nil
	}
	if r.Kind == dm.WorkspaceRepository {
		return s.blankDir(), nil
	}
	return "", dm.Errorf(dm.NotFound, "gitstore.Has", "there is no repository %s/%s.git", r.Kind, r.Name)
}

// UploadPack implements dm.GitTransport.
func (s *Store) UploadPack(ctx context.Context, r dm.Repository, round dm.UploadRound) error {
	dir, err := s.served(r)
	if err != nil {
		return err
	}
	return s.git.UploadPack(ctx, dir, round)
}
