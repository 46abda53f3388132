package repo

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// OpenBlob opens an archive's bytes for reading at any place. A blob that a
// repack brought into another form goes through a file without a name.
func (f *Folder) OpenBlob(ctx context.Context, dir string, h plumbing.Hash) (io.ReadSeekCloser, int64, error) {
	path, err := findPack(dir, h)
	if err != nil {
		return nil, 0, err
	}
	stored, err := pack.OpenStored(path, h)
	if err == nil {
		return stored, stored.Size(), nil
	}
	if !errors.Is(err, pack.ErrNotStored) {
		return nil, 0, err
	}
	return f.Spool(func(w io.Writer) error {
		return f.Git.CatObjects(ctx, dir, slices.Values([]string{h.String()}), func(_, _ string, _ int64, r io.Reader) error {
			_, err := io.Copy(w, r)
			return err
		})
	})
}

// Spool opens what fill writes, which goes through a file without a name.
func (f *Folder) Spool(fill func(io.Writer) error) (_ io.ReadSeekCloser, size int64, err error) {
	spool, err := os.CreateTemp(f.Temporary(), "archive-*")
	if err != nil {
		return nil, 0, err
	}
	err = os.Remove(spool.Name())
	if err == nil {
		err = fill(spool)
	}
	if err == nil {
		size, err = spool.Seek(0, io.SeekCurrent)
	}
	if err == nil {
		_, err = spool.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, spool.Close())
	}
	return spool, size, nil
}

// findPack finds the pack of an object that a ref leads to. When there is none
// the repository is damaged, which must not be taken for "not found": plugins
// and clients would believe that there was nothing.
func findPack(dir string, h plumbing.Hash) (string, error) {
	path, err := pack.Find(PackDir(dir), h)
	if err != nil {
		return "", dm.Errorf(dm.Unavailable, "repo.findPack", "an object is missing from the record").Because(err)
	}
	return path, nil
}
