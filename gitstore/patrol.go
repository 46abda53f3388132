package gitstore

import (
	"context"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// Patrol runs git fsck over every repository once, one after the other, and
// returns; it is meant to run beside a server that has just started, because
// the start itself reads only what refs lead to. A repository that fsck finds
// broken is set aside, a workspace is rebuilt.
func (s *Store) Patrol(ctx context.Context) error {
	const op = "gitstore.Patrol"
	for _, kind := range repositoryKinds {
		err := s.each(ctx, kind, func(r dm.Repository) error {
			if err := s.inspect(ctx, r); err != nil && ctx.Err() == nil {
				s.Log.Error("a repository could not be checked", "kind", r.Kind, "name", r.Name, "err", err)
			}
			return nil
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return failed(op, err)
		}
	}
	return nil
}

// inspect checks one repository. Its lock is taken only when something was
// found, and then the check is made again, so that a change or a repack under
// way is not mistaken for damage.
func (s *Store) inspect(ctx context.Context, r dm.Repository) error {
	dir := s.repositoryDir(r)
	if problems, err := s.git.Fsck(ctx, dir, true); err != nil || len(problems) == 0 {
		return err
	}
	if err := s.condemn(ctx, r, dir); err != nil {
		return err
	}
	if r.Kind == dm.WorkspaceRepository {
		return s.rebuildWorkspaces(ctx)
	}
	return nil
}

func (s *Store) condemn(ctx context.Context, r dm.Repository, dir string) error {
	release := s.locks.hold(r)
	defer release()
	problems, err := s.git.Fsck(ctx, dir, true)
	if err != nil || len(problems) == 0 {
		return err
	}
	s.Log.Error("a repository is damaged and is set aside", "kind", r.Kind, "name", r.Name, "problems", strings.Join(problems, "; "))
	return s.setAside(r)
}
