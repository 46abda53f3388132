package repo

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pndaproject/deployment-manager/gitstore/durable"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// Clean removes locks and temporary files that a killed server left, writes
// HEAD and config again, which are the same everywhere, when they are damaged, and
// refuses a repository whose shape is not ours: alternates would leak objects
// of other users, and a link leads the cleaning elsewhere.
func (f *Folder) Clean(ctx context.Context, dir string) error {
	if err := noLinks(dir); err != nil {
		return err
	}
	switch _, err := os.Lstat(filepath.Join(dir, "objects", "info", "alternates")); {
	case err == nil:
		return Broken("objects/info/alternates", "repositories of the record must not have alternates")
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	for _, same := range [...]struct{ name, content string }{{"config", RepositoryConfig}, {"HEAD", repositoryHead}} {
		if err := mendFile(filepath.Join(dir, same.name), same.content); err != nil {
			return err
		}
	}
	// What packs refs or copies folders may leave an empty one out.
	err := os.MkdirAll(filepath.Join(dir, "refs"), 0o750)
	if err != nil {
		return err
	}
	err = filepath.WalkDir(filepath.Join(dir, "refs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".lock") {
			err = os.Remove(path)
		}
		return err
	})
	if err != nil {
		return err
	}
	// git makes packed-refs.new with O_EXCL: one that stays fails every deletion of a ref.
	for _, pattern := range []string{"*.lock", "packed-refs.new", "packed-refs-*", "objects/tmp_*", "objects/??/tmp_obj_*", "objects/info/*.lock", "objects/pack/*.lock"} {
		stale, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range stale {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	unindexed, err := pack.Clean(PackDir(dir))
	for _, path := range unindexed {
		if err := f.Git.IndexPack(ctx, dir, path); err != nil {
			return err
		}
		f.Log.Warn("a missing pack index was built", "repository", filepath.Base(dir), "pack", filepath.Base(path))
	}
	return err
}

// mendFile writes a file again whose content is not what it is everywhere.
func mendFile(path, content string) error {
	is, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // it may well be right
	}
	if err == nil && string(is) == content {
		return nil
	}
	return durable.WriteFile(path, []byte(content))
}

// noLinks fails for a repository that has a link in the place of a folder of its
// own.
func noLinks(dir string) error {
	if info, err := os.Lstat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return Broken(".", "it is a symbolic link")
	}
	for _, folder := range []string{dir, filepath.Join(dir, "objects")} {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Type()&fs.ModeSymlink != 0 {
				return Broken(e.Name(), "it is a symbolic link")
			}
		}
	}
	return nil
}

// DropDerived removes what only speeds git up. Maintenance makes it again.
func DropDerived(dir string) (dropped bool, err error) {
	for _, pattern := range []string{"pack/multi-pack-index*", "pack/*.bitmap", "pack/*.rev", "info/commit-graph*"} {
		found, err := filepath.Glob(filepath.Join(dir, "objects", pattern))
		if err != nil {
			return dropped, err
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return dropped, err
			}
			dropped = true
		}
	}
	return dropped, nil
}
