package workspace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

func (ws *Workspaces) blankDir() string { return ws.Data.Path(repo.Blank) }

// openBlank reads the workspace of a user who has nothing, and makes or
// refreshes it when the server's README is another.
func (ws *Workspaces) openBlank(ctx context.Context) error {
	dir := ws.blankDir()
	if !repo.Exists(dir) {
		return ws.writeBlank(ctx)
	}
	if err := ws.Data.Clean(ctx, dir); err != nil {
		return err
	}
	heads, err := repo.ReadRefs(dir)
	if err != nil {
		return fmt.Errorf("the blank workspace: %w", err)
	}
	state, err := Read(dir, heads)
	if err != nil {
		return fmt.Errorf("the blank workspace: %w", err)
	}
	ws.blank = *state
	if len(state.Entries) == 1 && state.Entries[0].Hash == plumbing.ComputeHash(plumbing.BlobObject, ws.Readme) {
		return nil
	}
	if err := ws.writeBlank(ctx); err != nil {
		ws.Log.Error("the README of new workspaces cannot be written and stays as it was", "err", err)
	}
	return ctx.Err()
}

// What an empty workspace has.
const (
	ReadmeFile   = "README.ipynb"
	BlankMessage = "Explain this repository\n" // of each commit of the blank workspace
)

// writeBlank commits the README. A workspace that was made before keeps the
// one that it has.
func (ws *Workspaces) writeBlank(ctx context.Context) error {
	tx, err := ws.Data.Begin(repo.Blank, "blank")
	if err != nil {
		return err
	}
	defer tx.End()
	tx.Keep = "blank workspace"
	w, err := tx.Objects()
	if err != nil {
		return err
	}
	blob, err := w.Add(plumbing.BlobObject, ws.Readme)
	if err != nil {
		return err
	}
	top := repo.NewTree()
	top.Set(ReadmeFile, filemode.Regular, repo.Known(blob))
	tree, err := top.Write(w)
	if err != nil {
		return err
	}
	tip, err := form.AddCommit(w, form.ServerSignature(ws.Clock().UTC()), tree, BlankMessage, ws.blank.main)
	if err != nil {
		return err
	}
	if err := tx.Land(ctx, repo.Moved(repo.Main, ws.blank.main, tip, "blank-moved")); err != nil {
		return err
	}
	ws.blank = State{main: tip, tree: tree, Entries: []object.TreeEntry{{Name: ReadmeFile, Mode: filemode.Regular, Hash: blob}}}
	return nil
}

// findBlank opens the blank workspace. It is derived, so no damage of it keeps the
// server from starting: its packs have twins in the workspaces that began with it,
// its ref follows from its commits, and when all is lost it is made anew. Workspaces
// that are there keep the beginning that they have.
func (ws *Workspaces) findBlank(ctx context.Context) error {
	dir := ws.blankDir()
	err := repair.Patiently(ctx, ws.Log, "the blank workspace", func() error { return repair.Confirm(dir, ws.openBlank(ctx)) })
	if gone := errors.Is(err, fs.ErrNotExist); ctx.Err() != nil || repo.Proof(err) == nil && !gone || repo.Shortage(err) {
		return err
	}
	ws.Log.Error("the blank workspace is damaged and is being repaired", "err", err)
	if _, err := ws.Service.MendPacks(ctx, dm.Repository{}, dir); err == nil {
		if err = ws.mendBlankRef(dir); err == nil {
			err = ws.openBlank(ctx)
		}
		if err == nil || repo.Shortage(err) {
			return err
		}
		ws.Log.Error("the blank workspace could not be repaired and is created again", "err", err)
	}
	away := filepath.Join(ws.Data.Dir, repo.TmpDir, "blank.git")
	if err := errors.Join(os.RemoveAll(away), os.Rename(dir, away)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ws.blank = State{}
	if err := ws.writeBlank(ctx); err != nil {
		return errors.Join(err, os.Rename(away, dir)) // what it has may be of use yet
	}
	return os.RemoveAll(away)
}

// mendBlankRef writes main when it can't be read: to the commit that no other
// follows.
func (ws *Workspaces) mendBlankRef(dir string) error {
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

// linkBlank gives tx the objects of the blank workspace.
func (ws *Workspaces) linkBlank(tx *repo.Tx) error {
	packs, err := repo.Packs(ws.blankDir())
	if err != nil {
		return err
	}
	for _, path := range packs {
		if err := tx.Link(path); err != nil {
			return err
		}
	}
	return nil
}
