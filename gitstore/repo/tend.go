package repo

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// pruneAge is how old a pack gets before git looks for what can go. It is git's
// grace time: nothing in younger ones can.
const pruneAge = 14 * 24 * time.Hour

// Prunable tells whether the packs of a repository may hold objects that no ref has
// led to for two weeks: a cruft pack that is so old, where git puts those, or one
// of several others. A last one alone is what git made of the others.
func Prunable(dir string, now time.Time) (bool, error) {
	packs, err := Packs(dir)
	if err != nil {
		return false, err
	}
	others, old := 0, false
	for _, path := range packs {
		base := strings.TrimSuffix(path, ".pack")
		if Exists(base + ".keep") {
			continue
		}
		cruft := Exists(base + ".mtimes")
		if cruft {
			path = base + ".mtimes"
		}
		info, err := os.Stat(path)
		if err != nil {
			return false, err
		}
		aged := now.Sub(info.ModTime()) > pruneAge
		if cruft && aged {
			return true, nil
		}
		if !cruft {
			others, old = others+1, old || aged
		}
	}
	return old && others > 1, nil
}

// CountLooseRefs counts the refs that are files of their own.
func CountLooseRefs(dir string) (n int, err error) {
	err = filepath.WalkDir(filepath.Join(dir, "refs"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	return n, err
}

// smallPacks is how many packs without a .keep file a repository may gather
// before they are brought together. Each change leaves one to three.
const smallPacks = 48

// tidy brings the small packs of a repository together when there are many,
// beside the change that found them. Packs with a .keep file stay: they are
// shared with other repositories.
func (f *Folder) tidy(r dm.Repository) {
	dir := f.Path(r)
	if n, err := CountSmallPacks(dir); err != nil || n < smallPacks {
		return
	}
	f.background.Go(func() {
		// One at a time, so that nobody waits for git with a lock in hand; the
		// next change of a repository that is passed over looks again.
		if !f.tidying.TryLock() {
			return
		}
		defer f.tidying.Unlock()
		release := f.Hold(r)
		defer release()
		if n, err := CountSmallPacks(dir); err != nil || n < smallPacks || f.alive.Err() != nil {
			return
		}
		if err := f.Git.RepackSmall(f.alive, dir); err != nil && f.alive.Err() == nil {
			f.Log.Error("small packs could not be repacked", "kind", r.Kind, "name", r.Name, "err", err)
		}
	})
}

// CountSmallPacks counts the packs without a .keep file.
func CountSmallPacks(dir string) (int, error) {
	entries, err := os.ReadDir(PackDir(dir))
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

// Packs lists the packs of a repository.
func Packs(dir string) ([]string, error) {
	entries, err := os.ReadDir(PackDir(dir))
	if err != nil {
		return nil, err
	}
	var list []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "pack-") && filepath.Ext(e.Name()) == ".pack" {
			list = append(list, filepath.Join(PackDir(dir), e.Name()))
		}
	}
	return list, nil
}
