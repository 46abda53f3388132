package repo

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// EmptyTree is git's name for a tree without entries.
var EmptyTree = plumbing.NewHash("4b825dc642cb6eb9a060e54bf8d69288fbee4904")

// Tree collects files and whole trees by path and writes the trees
// above them.
type Tree struct {
	mode     filemode.FileMode
	hash     func() plumbing.Hash // of a leaf; may become known only after the writer's Flush
	children map[string]*Tree
}

// NewTree is an empty one.
func NewTree() *Tree { return &Tree{children: map[string]*Tree{}} }

// Known is the hash function of an object that exists already.
func Known(h plumbing.Hash) func() plumbing.Hash { return func() plumbing.Hash { return h } }

// Set puts a file or, with mode Dir, an existing tree at path.
func (b *Tree) Set(path string, mode filemode.FileMode, hash func() plumbing.Hash) {
	dir, rest, nested := strings.Cut(path, "/")
	if !nested {
		b.children[path] = &Tree{mode: mode, hash: hash}
		return
	}
	child := b.children[dir]
	if child == nil || child.children == nil {
		child = NewTree()
		b.children[dir] = child
	}
	child.Set(rest, mode, hash)
}

// Adder takes objects; a pack.Writer is one.
type Adder interface {
	Add(t plumbing.ObjectType, content []byte) (plumbing.Hash, error)
}

// NamesOnly computes the names of objects and keeps none.
type NamesOnly struct{}

// Add implements Adder.
func (NamesOnly) Add(t plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	return plumbing.ComputeHash(t, content), nil
}

// Write adds the trees to w, innermost first, and returns the top one.
func (b *Tree) Write(w Adder) (plumbing.Hash, error) {
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
		hash, err := child.Write(w)
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

// AddObject encodes a commit or a tag into w.
func AddObject(w Adder, o object.Object) (plumbing.Hash, error) {
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

// Mode is git's mode of a file.
func Mode(executable bool) filemode.FileMode {
	if executable {
		return filemode.Executable
	}
	return filemode.Regular
}
