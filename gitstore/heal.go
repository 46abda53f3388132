package gitstore

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// heal brings a repository and the index together after a ref could not be
// moved: git may have moved it all the same, or have died and left its lock.
// Without that, every later change would fail until the next start. A change of
// an application that was made all the same is carried out now. A repository
// that can't be read now stays in service and is read a moment later. The caller
// holds the repository's lock, so no git works there.
func (s *Store) heal(ctx context.Context, r dm.Repository) {
	err := s.readServed(context.WithoutCancel(ctx), r)
	if err == nil || repo.Proof(err) != nil {
		return
	}
	s.Log.Error("a repository could not be read again after a failed change", "kind", r.Kind, "name", r.Name, "err", err)
	s.again.ask(r, firstLook)
}
