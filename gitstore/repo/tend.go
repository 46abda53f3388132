package repo

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// cruftAge is how old a cruft pack gets before another pass looks for what has
// become too old in it. It is git's grace time.
const cruftAge = 14 * 24 * time.Hour

// errNoneLeft ends a walk that has nothing more to find.
var errNoneLeft = errors.New("all objects are reachable")

// Unreachable tells whether the packs of a repository hold objects that no ref
// leads to. It passes over cruft packs, where those are already, and packs with
// a .keep file, which nobody takes anything out of.
func (f *Folder) Unreachable(ctx context.Context, dir string) (bool, error) {
	left := map[plumbing.Hash]struct{}{}
	packs, err := Packs(dir)
	if err != nil {
		return false, err
	}
	for _, path := range packs {
		base := strings.TrimSuffix(path, ".pack")
		if Exists(base+".keep") || Exists(base+".mtimes") {
			continue
		}
		names, err := pack.Names(path)
		if err != nil {
			return false, err
		}
		for _, h := range names {
			left[h] = struct{}{}
		}
	}
	if len(left) == 0 {
		return false, nil
	}
	err = f.Git.Reachable(ctx, dir, func(id string) error {
		delete(left, plumbing.NewHash(id))
		if len(left) == 0 {
			return errNoneLeft
		}
		return nil
	})
	if errors.Is(err, errNoneLeft) {
		return false, nil
	}
	return err == nil, err
}

// OldCruft tells whether a cruft pack may hold objects whose time has come.
func OldCruft(dir string, now time.Time) (bool, error) {
	lists, err := filepath.Glob(filepath.Join(PackDir(dir), "pack-*.mtimes"))
	if err != nil {
		return false, err
	}
	for _, path := range lists {
		info, err := os.Stat(path)
		if err != nil {
			return false, err
		}
		if now.Sub(info.ModTime()) > cruftAge {
			return true, nil
		}
	}
	return false, nil
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
