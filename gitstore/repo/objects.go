package repo

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

// Objects reads immutable objects of one repository by their names. go-git
// does not share a storage between goroutines safely, so each operation opens
// its own; opening reads nothing until the first object is asked for.
type Objects struct {
	Dir   string
	St    *filesystem.Storage
	trees map[plumbing.Hash]*object.Tree // those that were asked for
}

// largeObject is the size in bytes from which go-git streams a blob instead of
// holding it in memory.
const largeObject = 1 << 20

// Open reads nothing yet.
func Open(dir string) *Objects {
	o := &Objects{Dir: dir}
	o.reopen()
	return o
}

func (o *Objects) reopen() {
	o.trees = map[plumbing.Hash]*object.Tree{}
	o.St = filesystem.NewStorageWithOptions(repositoryFiles(o.Dir), cache.NewObjectLRU(4*cache.MiByte),
		filesystem.Options{LargeObjectThreshold: largeObject, MaxOpenDescriptors: 8})
}

// readAttempts bounds how often an object is looked for. The pauses between
// them double from a millisecond: a quarter of a second in all, in which a
// repack has removed what it replaced even on a busy machine.
const readAttempts = 9

// read runs do, and again on a fresh look at the packs when it failed:
// maintenance may have replaced a pack since the storage listed them, and while
// it removes one after the other the next look may name one that goes as well.
func (o *Objects) read(what string, h plumbing.Hash, do func() error) error {
	err := do()
	for attempt := 1; err != nil && attempt < readAttempts && (attempt == 1 || Gone(err)); attempt++ {
		if attempt > 1 {
			time.Sleep(time.Millisecond << (attempt - 2))
		}
		o.reopen()
		err = do()
	}
	if err != nil {
		return &Lost{what, h.String(), err}
	}
	return nil
}

// Gone tells the errors of a pack that was there a moment ago.
func Gone(err error) bool {
	return errors.Is(err, plumbing.ErrObjectNotFound) || errors.Is(err, dotgit.ErrPackfileNotFound) || errors.Is(err, fs.ErrNotExist)
}

// Commit reads a commit.
func (o *Objects) Commit(h plumbing.Hash) (c *object.Commit, err error) {
	err = o.read("commit", h, func() error { c, err = object.GetCommit(o.St, h); return err })
	return c, err
}

// Tag reads an annotated tag.
func (o *Objects) Tag(h plumbing.Hash) (t *object.Tag, err error) {
	err = o.read("tag", h, func() error { t, err = object.GetTag(o.St, h); return err })
	return t, err
}

// Tree reads a tree once: a component of many files asks for its package's tree
// with each of them.
func (o *Objects) Tree(h plumbing.Hash) (t *object.Tree, err error) {
	if h == EmptyTree {
		return &object.Tree{Hash: h}, nil
	}
	if t, ok := o.trees[h]; ok {
		return t, nil
	}
	err = o.read("tree", h, func() error { t, err = object.GetTree(o.St, h); return err })
	if err == nil {
		o.trees[h] = t
	}
	return t, err
}

// Entry finds a path below a tree.
func (o *Objects) Entry(tree plumbing.Hash, path string) (*object.TreeEntry, error) {
	for rest := path; ; {
		t, err := o.Tree(tree)
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
			return nil, fmt.Errorf("%w: %w", Broken("objects", "the tree %s has no %s", tree, path), err)
		case err != nil:
			return nil, fmt.Errorf("%s in tree %s: %w", path, tree, err)
		case !nested:
			return e, nil
		}
		tree, rest = e.Hash, below
	}
}

// Size tells the size of a blob in bytes without reading it.
func (o *Objects) Size(h plumbing.Hash) (n int64, err error) {
	err = o.read("blob", h, func() error { n, err = o.St.EncodedObjectSize(h); return err })
	return n, err
}

// Blob opens a blob and tells its size in bytes.
func (o *Objects) Blob(h plumbing.Hash) (r io.ReadCloser, size int64, err error) {
	err = o.read("blob", h, func() error {
		b, err := object.GetBlob(o.St, h)
		if err != nil {
			return err
		}
		size = b.Size
		r, err = b.Reader()
		return err
	})
	return r, size, err
}

// File reads one small file below a tree.
func (o *Objects) File(tree plumbing.Hash, path string) ([]byte, error) {
	e, err := o.Entry(tree, path)
	if err != nil {
		return nil, err
	}
	r, _, err := o.Blob(e.Hash)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
