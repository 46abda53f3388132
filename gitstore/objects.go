package gitstore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// objects reads immutable objects of one repository by their names. go-git
// does not share a storage between goroutines safely, so each operation opens
// its own; opening reads nothing until the first object is asked for.
type objects struct {
	dir   string
	st    *filesystem.Storage
	trees map[plumbing.Hash]*object.Tree // those that were asked for
}

// largeObject is the size in bytes from which go-git streams a blob instead of
// holding it in memory.
const largeObject = 1 << 20

func openObjects(dir string) *objects {
	o := &objects{dir: dir}
	o.reopen()
	return o
}

func (o *objects) reopen() {
	o.trees = map[plumbing.Hash]*object.Tree{}
	o.st = filesystem.NewStorageWithOptions(repositoryFiles(o.dir), cache.NewObjectLRU(4*cache.MiByte),
		filesystem.Options{LargeObjectThreshold: largeObject, MaxOpenDescriptors: 8})
}

// readAttempts bounds how often an object is looked for. The pauses between
// them double from a millisecond: a quarter of a second in all, in which a
// repack has removed what it replaced even on a busy machine.
const readAttempts = 9

// read runs do, and again on a fresh look at the packs when it failed:
// maintenance may have replaced a pack since the storage listed them, and while
// it removes one after the other the next look may name one that goes as well.
func (o *objects) read(what string, h plumbing.Hash, do func() error) error {
	err := do()
	for attempt := 1; err != nil && attempt < readAttempts && (attempt == 1 || goneObject(err)); attempt++ {
		if attempt > 1 {
			time.Sleep(time.Millisecond << (attempt - 2))
		}
		o.reopen()
		err = do()
	}
	if err != nil {
		return &lost{what, h.String(), err}
	}
	return nil
}

// goneObject tells the errors of a pack that was there a moment ago.
func goneObject(err error) bool {
	return errors.Is(err, plumbing.ErrObjectNotFound) || errors.Is(err, dotgit.ErrPackfileNotFound) || errors.Is(err, fs.ErrNotExist)
}

func (o *objects) commit(h plumbing.Hash) (c *object.Commit, err error) {
	err = o.read("commit", h, func() error { c, err = object.GetCommit(o.st, h); return err })
	return c, err
}

func (o *objects) tag(h plumbing.Hash) (t *object.Tag, err error) {
	err = o.read("tag", h, func() error { t, err = object.GetTag(o.st, h); return err })
	return t, err
}

// tree reads a tree once: a component of many files asks for its package's tree
// with each of them.
func (o *objects) tree(h plumbing.Hash) (t *object.Tree, err error) {
	if h == emptyTree {
		return &object.Tree{Hash: h}, nil
	}
	if t, ok := o.trees[h]; ok {
		return t, nil
	}
	err = o.read("tree", h, func() error { t, err = object.GetTree(o.st, h); return err })
	if err == nil {
		o.trees[h] = t
	}
	return t, err
}

// entry finds a path below a tree.
func (o *objects) entry(tree plumbing.Hash, path string) (*object.TreeEntry, error) {
	for rest := path; ; {
		t, err := o.tree(tree)
		if err != nil {
			return nil, err
		}
		name, below, nested := strings.Cut(rest, "/")
		e, err := t.FindEntry(name)
		if err == nil && nested && e.Mode != filemode.Dir {
			err = object.ErrDirectoryNotFound
		}
		switch {
		case errors.Is(err, object.ErrEntryNotFound), errors.Is(err, object.ErrDirectoryNotFound):
			return nil, fmt.Errorf("%w: %w", broken("objects", "the tree %s has no %s", tree, path), err)
		case err != nil:
			return nil, fmt.Errorf("%s in tree %s: %w", path, tree, err)
		case !nested:
			return e, nil
		}
		tree, rest = e.Hash, below
	}
}

// size tells the size of a blob in bytes without reading it.
func (o *objects) size(h plumbing.Hash) (n int64, err error) {
	err = o.read("blob", h, func() error { n, err = o.st.EncodedObjectSize(h); return err })
	return n, err
}

// blob opens a blob and tells its size in bytes.
func (o *objects) blob(h plumbing.Hash) (r io.ReadCloser, size int64, err error) {
	err = o.read("blob", h, func() error {
		b, err := object.GetBlob(o.st, h)
		if err != nil {
			return err
		}
		size = b.Size
		r, err = b.Reader()
		return err
	})
	return r, size, err
}

// file reads one small file below a tree.
func (o *objects) file(tree plumbing.Hash, path string) ([]byte, error) {
	e, err := o.entry(tree, path)
	if err != nil {
		return nil, err
	}
	r, _, err := o.blob(e.Hash)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
