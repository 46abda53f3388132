package gitstore

import (
	"context"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
)

// heal brings a repository and the index together after a ref could not be
// moved: git may have moved it all the same, or have died and left its lock.
// Without that, every later change would fail until the next start. The caller
// holds the repository's lock, so no git works there.
func (s *Store) heal(ctx context.Context, r dm.Repository) {
	if !exists(s.repositoryDir(r)) {
		return
	}
	s.users.m.Delete(dm.UserName(r.Name))
	if err := s.recoverRepository(context.WithoutCancel(ctx), r); err != nil {
		s.Log.Error("a repository could not be read again after a failed change", "kind", r.Kind, "name", r.Name, "err", err)
	}
}

// undo removes packs that a failed change brought into dir, so that a disk that
// is full does not get fuller with every attempt. They stay when a ref names
// tip, for whose sake they were written: the change is made then. The caller
// holds the repository's lock and knows that no other change needs the packs.
func (s *Store) undo(dir string, packs []string, tip plumbing.Hash) {
	heads, err := readRefs(dir)
	if err != nil || slices.Contains(slices.Collect(maps.Values(heads)), tip) {
		return
	}
	if err := removePacks(packs); err != nil {
		s.Log.Warn("packs of a failed change could not be removed", "err", err)
	}
}

// newPacks lists the packs of dir that are not among before.
func newPacks(dir string, before []string) []string {
	now, err := packFiles(dir)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(now, func(path string) bool { return slices.Contains(before, path) })
}
