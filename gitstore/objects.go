package gitstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
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

// emptyTree is git's name for a tree without entries.
var emptyTree = plumbing.NewHash("4b825dc642cb6eb9a060e54bf8d69288fbee4904")

// treeBuilder collects files and whole trees by path and writes the trees
// above them.
type treeBuilder struct {
	mode     filemode.FileMode
	hash     func() plumbing.Hash // of a leaf; may become known only after the writer's Flush
	children map[string]*treeBuilder
}

func newTreeBuilder() *treeBuilder { return &treeBuilder{children: map[string]*treeBuilder{}} }

// known is the hash function of an object that exists already.
func known(h plumbing.Hash) func() plumbing.Hash { return func() plumbing.Hash { return h } }

// set puts a file or, with mode Dir, an existing tree at path.
func (b *treeBuilder) set(path string, mode filemode.FileMode, hash func() plumbing.Hash) {
	dir, rest, nested := strings.Cut(path, "/")
	if !nested {
		b.children[path] = &treeBuilder{mode: mode, hash: hash}
		return
	}
	child := b.children[dir]
	if child == nil || child.children == nil {
		child = newTreeBuilder()
		b.children[dir] = child
	}
	child.set(rest, mode, hash)
}

// setAll puts the entries of an existing tree at the top.
func (b *treeBuilder) setAll(t *object.Tree) {
	for _, e := range t.Entries {
		b.set(e.Name, e.Mode, known(e.Hash))
	}
}

// adder takes objects; a pack.Writer is one.
type adder interface {
	Add(t plumbing.ObjectType, content []byte) (plumbing.Hash, error)
}

// namesOnly computes the names of objects and keeps none.
type namesOnly struct{}

// Add implements adder.
func (namesOnly) Add(t plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	return plumbing.ComputeHash(t, content), nil
}

// write adds the trees to w, innermost first, and returns the top one.
func (b *treeBuilder) write(w adder) (plumbing.Hash, error) {
	if b.children == nil {
		return b.hash(), nil
	}
	type line struct {
		key  string // git sorts a directory as if its name ended in '/'
		text []byte
	}
	lines := make([]line, 0, len(b.children))
	for _, name := range slices.Sorted(maps.Keys(b.children)) {
		child := b.children[name]
		hash, err := child.write(w)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		mode, key := child.mode, name
		if child.children != nil {
			mode = filemode.Dir
		}
		if mode == filemode.Dir {
			key += "/"
		}
		text := fmt.Appendf(nil, "%o %s\x00", uint32(mode), name)
		lines = append(lines, line{key, append(text, hash[:]...)})
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.key, b.key) })
	var body bytes.Buffer
	for _, l := range lines {
		body.Write(l.text)
	}
	return w.Add(plumbing.TreeObject, body.Bytes())
}

// addCommit writes a commit by author at author's time; the committer is the
// server. Zero parents are left out.
func addCommit(w *pack.Writer, author object.Signature, tree plumbing.Hash, message string, parents ...plumbing.Hash) (plumbing.Hash, error) {
	c := &object.Commit{Author: author, Committer: serverSignature(author.When), Message: message, TreeHash: tree}
	for _, parent := range parents {
		if !parent.IsZero() {
			c.ParentHashes = append(c.ParentHashes, parent)
		}
	}
	return addObject(w, c)
}

// parentOf is the commit before c in the record's histories; zero when c is the
// first. It is the first parent. Another one is what a push proposed: its message
// and its author say what its maker wanted them to say.
func parentOf(c *object.Commit) plumbing.Hash {
	if len(c.ParentHashes) == 0 || c.ParentHashes[0] == beginning {
		return plumbing.ZeroHash
	}
	return c.ParentHashes[0]
}

// beginning is the commit that stands before the first one of an application
// that a push made, the same everywhere: without it the first parent of that
// would be the pushed commit, and git log --first-parent would take what
// anybody wrote for the record.
var beginning = plumbing.NewHash("5246304e47bfd518e9d0f1e86af790f78b6f0d94")

// addBeginning writes the commit called beginning.
func addBeginning(w *pack.Writer) (plumbing.Hash, error) {
	tree, err := w.Add(plumbing.TreeObject, nil)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return addCommit(w, serverSignature(time.Unix(0, 0)), tree, "The record begins\n")
}

// addObject encodes a commit or a tag into w.
func addObject(w *pack.Writer, o object.Object) (plumbing.Hash, error) {
	m := &plumbing.MemoryObject{}
	if err := o.Encode(m); err != nil {
		return plumbing.ZeroHash, err
	}
	r, err := m.Reader()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return w.Add(o.Type(), content)
}
