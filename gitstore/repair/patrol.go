package repair

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Patrol runs git fsck over every repository once, one after the other, and
// returns; it is meant to run beside a server that has just started, because
// the start itself reads only what refs lead to. A repository that fsck finds
// broken, and whose files prove it, is set aside, a workspace is made anew when somebody asks; one
// that could not be checked is in service and is checked again, see LookAgain.
func (s *Service) Patrol(ctx context.Context) error {
	const op = "repair.Patrol"
	for _, kind := range s.Data.Many() {
		err := s.Data.Each(ctx, kind, func(r dm.Repository) error {
			if err := s.inspect(ctx, r); err != nil && ctx.Err() == nil {
				s.Log.Error("a repository could not be checked", "kind", r.Kind, "name", r.Name, "err", err)
				s.again.askFsck(r)
			}
			return nil
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return repo.Failed(op, err)
		}
	}
	return nil
}

// inspect checks one repository. Its lock is taken only when something was
// found, and then the check is made again, so that a change or a repack under
// way is not mistaken for damage.
func (s *Service) inspect(ctx context.Context, r dm.Repository) error {
	if s.Sound(r) != nil {
		return nil // looked at on its own
	}
	if problems, err := s.Data.Git.Fsck(ctx, s.Data.Path(r), true); err != nil || len(problems) == 0 {
		return err
	}
	return s.condemn(ctx, r)
}

// condemn sets a repository aside when its files prove the damage.
func (s *Service) condemn(ctx context.Context, r dm.Repository) error {
	release := s.Data.Hold(r)
	defer release()
	err := s.fsck(ctx, r)
	f := repo.Proof(err)
	if f == nil {
		return err
	}
	s.setAside(r, f)
	s.again.ask(r, firstLook)
	return nil
}

// fsck reads every object of a repository. An error is a fault when the files
// prove it and the record has nothing to mend it from. The caller holds the
// repository's lock.
func (s *Service) fsck(ctx context.Context, r dm.Repository) error {
	look := func() error { return s.fsckOnce(ctx, s.Data.Path(r)) }
	return s.mended(ctx, r, look(), look)
}

func (s *Service) fsckOnce(ctx context.Context, dir string) error {
	problems, err := s.Data.Git.Fsck(ctx, dir, true)
	if err != nil || len(problems) == 0 {
		return err
	}
	if dropped, err := repo.DropDerived(dir); err != nil {
		return err
	} else if dropped {
		if problems, err = s.Data.Git.Fsck(ctx, dir, true); err != nil || len(problems) == 0 {
			return err
		}
	}
	return confirmFsck(dir, problems)
}
