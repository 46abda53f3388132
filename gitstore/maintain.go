package gitstore

import (
	"os"
	"path/filepath"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// smallPacks is how many packs without a .keep file a repository may gather
// before they are brought together. Each change leaves one to three.
const smallPacks = 48

// tidy brings the small packs of a repository together when there are many,
// beside the change that found them. Packs with a .keep file stay: they are
// shared with other repositories.
func (s *Store) tidy(r dm.Repository) {
	dir := s.repositoryDir(r)
	if n, err := countSmallPacks(dir); err != nil || n < smallPacks {
		return
	}
	s.background.Go(func() {
		// One at a time, so that nobody waits for git with a lock in hand; the
		// next change of a repository that is passed over looks again.
		if !s.tidying.TryLock() {
			return
		}
		defer s.tidying.Unlock()
		release := s.locks.hold(r)
		defer release()
		if n, err := countSmallPacks(dir); err != nil || n < smallPacks || s.alive.Err() != nil {
			return
		}
		if err := s.git.RepackSmall(s.alive, dir); err != nil && s.alive.Err() == nil {
			s.Log.Error("small packs could not be brought together", "kind", r.Kind, "err", err)
		}
	})
}

func countSmallPacks(dir string) (int, error) {
	entries, err := os.ReadDir(packDir(dir))
	if err != nil {
		return 0, err
	}
	n := 0
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".pack":
			n++
		case ".keep":
			n--
		}
	}
	return n, nil
}

// packFiles lists the packs of a repository.
func packFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(packDir(dir))
	if err != nil {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "pack-") && filepath.Ext(e.Name()) == ".pack" {
			list = append(list, filepath.Join(packDir(dir), e.Name()))
		}
	}
	return list, nil
}
