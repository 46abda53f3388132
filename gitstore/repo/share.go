package repo

import (
	"bytes"
	"io"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// An object that a repository has is not written to it again. What comes from
// another repository comes as a hard link of a pack where that saves room, and
// else as a copy of what is missing, which is not deflated again.

// KeptFrom is from how many bytes on a pack gets a .keep file, so that it stays as
// it is and can be shared. Maintenance brings smaller ones together, which makes
// them smaller still and readers faster.
const KeptFrom = 64 << 10

// There tells what the repository in dir has now. What can't be looked at is not
// there: it is written again.
func (f *Folder) There(dir string) *pack.Reader {
	r, err := pack.OpenAll(PackDir(dir))
	if err != nil {
		f.Log.Warn("the objects that are there cannot be listed, so a change may write them again", "repository", filepath.Base(dir), "err", err)
		r = &pack.Reader{}
	}
	return r
}

// Below adds the names of a tree and of all that it leads to.
func (o *Objects) Below(tree plumbing.Hash, names map[plumbing.Hash]struct{}) error {
	if _, ok := names[tree]; ok {
		return nil
	}
	names[tree] = struct{}{}
	t, err := o.Tree(tree)
	if err != nil {
		return err
	}
	for _, e := range t.Entries {
		if e.Mode != filemode.Dir {
			names[e.Hash] = struct{}{}
		} else if err := o.Below(e.Hash, names); err != nil {
			return err
		}
	}
	return nil
}

// CopyTo adds an object to w, if its content has that name.
func (o *Objects) CopyTo(w *pack.Writer, h plumbing.Hash) error {
	object, err := o.St.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return err
	}
	sum := plumbing.NewHasher(object.Type(), object.Size())
	if err := readObject(object, sum); err != nil {
		return err
	}
	if sum.Sum() != h {
		return Broken("objects", "hash mismatch of %s", h)
	}
	if object.Type() == plumbing.BlobObject {
		r, err := object.Reader()
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = w.Blob(object.Size(), r)
		return err
	}
	var content bytes.Buffer
	if err := readObject(object, &content); err != nil {
		return err
	}
	_, err = w.Add(object.Type(), content.Bytes())
	return err
}

func readObject(o plumbing.EncodedObject, into io.Writer) error {
	r, err := o.Reader()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(into, r)
	return err
}

// Origin is a repository whose objects go to another one. It may be repacked
// meanwhile.
type Origin struct {
	*Objects
	packs *pack.Reader
}

// OpenOrigin opens the repository in dir. The caller closes it.
func OpenOrigin(dir string) (*Origin, error) {
	packs, err := pack.OpenAll(PackDir(dir))
	if err != nil {
		return nil, err
	}
	return &Origin{Open(dir), packs}, nil
}

// Size is how many bytes objects have when they are inflated; ok is false where one is
// stored as a difference.
func (o *Origin) Size(names []plumbing.Hash) (size int64, ok bool, err error) {
	for _, h := range names {
		raw, whole, err := o.packs.Whole(h)
		if err != nil || !whole {
			return 0, false, err
		}
		size += raw.Size
	}
	return size, true, nil
}

// Close closes its packs.
func (o *Origin) Close() { o.packs.Close() }

// Copy writes objects to w, as they are stored where that is possible.
func (o *Origin) Copy(w *pack.Writer, names []plumbing.Hash) error {
	for _, h := range names {
		raw, whole, err := o.packs.Whole(h)
		switch {
		case h == EmptyTree:
			_, err = w.Add(plumbing.TreeObject, nil)
		case err == nil && whole:
			_, err = w.Copy(raw)
		case err == nil:
			err = o.read("object", h, func() error { return o.CopyTo(w, h) })
		}
		if err != nil {
			return err
		}
	}
	return w.Flush()
}

// Lacking are those of some objects that the repository has not, by name.
func (t *Tx) Lacking(names map[plumbing.Hash]struct{}) ([]plumbing.Hash, error) {
	if _, err := t.Dir(); err != nil {
		return nil, err
	}
	var list []plumbing.Hash
	for h := range names {
		if !t.has(h) {
			list = append(list, h)
		}
	}
	plumbing.HashesSort(list)
	return list, nil
}

// Bring brings objects in that the repository lacks: as links of packs that consist
// of them for the most part, the rest as a copy, kept for the reason why when it is
// large.
func (t *Tx) Bring(from *Origin, names map[plumbing.Hash]struct{}, why string) error {
	lacking, err := t.Lacking(names)
	if err != nil {
		return err
	}
	linked, rest, err := from.packs.Cover(lacking)
	if err != nil {
		return err
	}
	for _, path := range linked {
		if err := t.Link(path); err != nil {
			return err
		}
	}
	w, err := t.NewPack()
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := from.Copy(w, rest); err != nil {
		return err
	}
	if w.Size() < KeptFrom {
		why = ""
	}
	_, err = w.Commit(why)
	return err
}
