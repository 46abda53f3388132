package gitstore

import (
	"context"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// take makes the packs of an upload from a pushed tree: the files, which are
// not deflated again where the push brought them whole, and their archive.
func (u *upload) take(ctx context.Context, from pushedObjects, top string, files []pushedFile) error {
	size, err := archiveSize(top, files)
	if err != nil {
		return err
	}
	u.top = top
	packs, err := pack.OpenAll(repo.PackDir(from.dir))
	if err != nil {
		return err
	}
	defer packs.Close()
	return u.both(size, func(bytes io.Writer) error {
		a, err := archive.NewWriter(bytes, top)
		if err != nil {
			return err
		}
		t := &taking{upload: u, packs: packs, archive: a, files: files}
		if err := t.all(ctx, from); err != nil {
			return err
		}
		return a.Close()
	})
}

// archiveSize is the size in bytes of the archive of the files.
func archiveSize(top string, files []pushedFile) (int64, error) {
	var n counted
	a, err := archive.NewWriter(&n, top)
	for _, f := range files {
		if err == nil {
			err = a.File(f.path, f.executable, f.size)
		}
		if err == nil {
			_, err = io.CopyN(a, zeros{}, f.size)
		}
	}
	if err == nil {
		err = a.Close()
	}
	return int64(n), err
}

// counted counts what is written to it.
type counted int64

func (n *counted) Write(p []byte) (int, error) {
	*n += counted(len(p))
	return len(p), nil
}

// zeros is content of any length.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// taking goes through the files of a pushed version, in their order.
type taking struct {
	*upload
	packs   *pack.Reader
	archive *archive.Writer
	files   []pushedFile
	next    int
}

// all takes every file. Those that are not whole in the packs of the push, but a
// difference from another object or part of the record already, are read by git.
func (t *taking) all(ctx context.Context, from pushedObjects) error {
	var others []int
	var ids []string
	for i, f := range t.files {
		_, whole, err := t.packs.Whole(plumbing.NewHash(f.id))
		if err != nil {
			return err
		}
		if !whole {
			others, ids = append(others, i), append(ids, f.id)
		}
	}
	if len(others) > 0 {
		err := from.git.CatObjects(ctx, from.dir, slices.Values(ids), func(_, _ string, size int64, r io.Reader) error {
			if err := t.wholeUntil(ctx, others[0]); err != nil {
				return err
			}
			others = others[1:]
			return t.file(func(f pushedFile) (*pack.Entry, error) {
				return t.content.Blob(size, io.TeeReader(r, t.archive))
			})
		})
		if err != nil {
			return err
		}
	}
	return t.wholeUntil(ctx, len(t.files))
}

// wholeUntil takes the files before number end as they are stored.
func (t *taking) wholeUntil(ctx context.Context, end int) error {
	for t.next < end {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := t.file(func(f pushedFile) (*pack.Entry, error) {
			raw, _, err := t.packs.Whole(plumbing.NewHash(f.id))
			if err != nil {
				return nil, err
			}
			return t.content.Copy(raw, t.archive)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// file takes the next file, whose content put writes to both packs.
func (t *taking) file(put func(pushedFile) (*pack.Entry, error)) error {
	f := t.files[t.next]
	t.next++
	if err := t.archive.File(f.path, f.executable, f.size); err != nil {
		return err
	}
	entry, err := put(f)
	if err != nil {
		return err
	}
	t.upload.files = append(t.upload.files, uploadedFile{path: t.top + "/" + f.path, mode: repo.Mode(f.executable), entry: entry})
	return nil
}
