package workspace

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// findBlank opens the blank workspace. It is derived, so no damage of it keeps the
// server from starting: its packs have twins in the workspaces
// that began with it, its ref follows from its commits, and when all is lost it
// is made anew. Workspaces that are there keep the beginning that they have.
func (s *Workspaces) findBlank(ctx context.Context) error {
	dir := s.blankDir()
	err := repair.Patiently(ctx, s.Log, "the blank workspace", func() error { return repair.Confirm(dir, s.openBlank(ctx)) })
	if gone := errors.Is(err, fs.ErrNotExist); ctx.Err() != nil || repo.Proof(err) == nil && !gone || repo.Shortage(err) {
		return err
	}
	s.Log.Error("the blank workspace is damaged and is being repaired", "err", err)
	if _, err := s.Service.MendPacks(ctx, dm.Repository{}, dir); err == nil {
		if err = s.mendBlankRef(dir); err == nil {
			err = s.openBlank(ctx)
		}
		if err == nil || repo.Shortage(err) {
			return err
		}
		s.Log.Error("the blank workspace could not be repaired and is created again", "err", err)
	}
	away := filepath.Join(s.Data.Dir, repo.TmpDir, "blank.git")
	if err := errors.Join(os.RemoveAll(away), os.Rename(dir, away)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.blank = State{}
	if err := s.writeBlank(ctx); err != nil {
		return errors.Join(err, os.Rename(away, dir)) // what it has may be of use yet
	}
	return os.RemoveAll(away)
}

// mendBlankRef writes main when it can't be read: to the commit that no other
// follows.
func (s *Workspaces) mendBlankRef(dir string) error {
	if h, err := repo.ReadRef(dir, repo.Main); err == nil && !h.IsZero() {
		return nil
	} else if err != nil && repo.Proof(err) == nil && !errors.Is(err, repo.ErrBadRef) {
		return err
	}
	objects := repo.Open(dir)
	all, err := objects.St.IterEncodedObjects(plumbing.CommitObject)
	if err != nil {
		return err
	}
	followed, tips := map[plumbing.Hash]bool{}, map[plumbing.Hash]bool{}
	err = object.NewCommitIter(objects.St, all).ForEach(func(c *object.Commit) error {
		tips[c.Hash] = true
		for _, p := range c.ParentHashes {
			followed[p] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	for tip := range tips {
		if !followed[tip] {
			return durable.WriteFile(filepath.Join(dir, filepath.FromSlash(repo.Main)), []byte(tip.String()+"\n"))
		}
	}
	return errors.New("the blank workspace has no commit")
}
