package gitstore

import (
	"context"
	"io"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Has implements dm.GitTransport.
func (s *Store) Has(r dm.Repository) error {
	_, err := s.served(s.alive, r)
	return err
}

// Tip implements dm.GitTransport. It needs no lock: a ref is in one of two files at
// any moment, and who reads the first one too early finds it in the second.
func (s *Store) Tip(ctx context.Context, r dm.Repository) (string, error) {
	dir, err := s.served(ctx, r)
	if err != nil {
		return "", err
	}
	tip, err := repo.ReadRef(dir, repo.Main)
	if err != nil {
		return "", dm.Wrap("gitstore.Tip", err)
	}
	return tip.String(), nil
}

// served is the directory that answers for a repository.
func (s *Store) served(ctx context.Context, r dm.Repository) (dir string, err error) {
	if err := s.service.Sound(r); err != nil {
		return "", err
	}
	dir = s.data.Path(r)
	if repo.Exists(dir) {
		return dir, nil
	}
	if r.Kind == dm.WorkspaceRepository {
		return s.workspaces.Absent(ctx, r)
	}
	return "", dm.Errorf(dm.NotFound, "gitstore.Has", "there is no repository %s/%s.git", r.Kind, r.Name)
}

// UploadPack implements dm.GitTransport.
func (s *Store) UploadPack(ctx context.Context, r dm.Repository, round dm.UploadRound) error {
	dir, err := s.served(ctx, r)
	if err != nil {
		return err
	}
	if round.Advertise && round.Protocol == "version=2" { // it tells what git can do, and nothing of the repository
		return s.capabilities.Answer(round.Protocol, round.Out, func(out io.Writer) error {
			round.Out = out
			return s.git.UploadPack(ctx, dir, round)
		})
	}
	return s.git.UploadPack(ctx, dir, round)
}
