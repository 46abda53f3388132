package gitstore

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
)

// heal brings a repository and the index together after a ref could not be
// moved: git may have moved it all the same, or have died and left its lock.
// Without that, every later change would fail until the next start. A change of
// an application that was made all the same is carried out now. The caller holds
// the repository's lock, so no git works there.
func (s *Store) heal(ctx context.Context, r dm.Repository) {
	if !exists(s.repositoryDir(r)) {
		return
	}
	s.users.m.Delete(dm.UserName(r.Name))
	if err := s.recoverRepository(context.WithoutCancel(ctx), r); err != nil {
		s.Log.Error("a repository could not be read again after a failed change", "kind", r.Kind, "name", r.Name, "err", err)
		return
	}
	if r.Kind != dm.ApplicationRepository {
		return
	}
	app := dm.ApplicationName(r.Name)
	if e := s.index.app(app); e != nil && e.working() {
		s.wake(app)
	}
}
