package remote

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// A server that has lost its mind can't fill the memory of a pod.
const (
	maxFiles  = 100_000
	maxObject = 16 << 20 // of a commit or a tree
)

// ErrTooMany is a sentence for people.
var ErrTooMany = fmt.Errorf("the server has more than %d files for you", maxFiles)

// Tree is the server's files at a commit.
type Tree struct {
	Commit  string
	Files   map[string]Version
	Strange []string // paths that can't be delivered
	entries int
}

// CommitTree reads a commit, which may be named by a ref, and all that is below it.
func (o *Objects) CommitTree(name string) (*Tree, error) {
	t := &Tree{Files: map[string]Version{}}
	var root string
	content, err := o.whole(name, "commit", &t.Commit)
	if err != nil {
		return nil, err
	}
	if first, _, _ := bytes.Cut(content, []byte("\n")); bytes.HasPrefix(first, []byte("tree ")) {
		root = string(first[len("tree "):])
	}
	return t, t.read(o, root, "", 0)
}

// tree reads a tree.
func (o *Objects) tree(name string) (*Tree, error) {
	t := &Tree{Files: map[string]Version{}}
	return t, t.read(o, name, "", 0)
}

// whole reads a small object.
func (o *Objects) whole(name, kind string, id *string) (content []byte, err error) {
	err = o.get(name, kind, func(is string, size int64, in io.Reader) (err error) {
		if size > maxObject {
			return fmt.Errorf("%s has %d bytes", name, size)
		}
		*id = is
		content, err = io.ReadAll(in)
		return err
	})
	return content, err
}

// read takes in a tree below path; entries are "mode name\0" and 20 bytes.
func (t *Tree) read(o *Objects, name, path string, depth int) error {
	var id string
	content, err := o.whole(name, "tree", &id)
	if err != nil {
		return err
	}
	for len(content) > 0 {
		head, rest, ok := bytes.Cut(content, []byte{0})
		mode, name, ok2 := strings.Cut(string(head), " ")
		if !ok || !ok2 || len(rest) < len(Blob{}) {
			return fmt.Errorf("the tree %s can't be read", id)
		}
		content = rest[len(Blob{}):]
		if t.entries++; t.entries > maxFiles {
			return ErrTooMany
		}
		is, at := Blob(rest[:len(Blob{})]), path+name
		switch {
		case mode == "40000" && depth < MaxDepth && Deliverable(at):
			if err := t.read(o, is.String(), at+"/", depth+1); err != nil {
				return err
			}
		case (mode == "100644" || mode == "100755" || mode == "100664") && Deliverable(at):
			t.Files[at] = Version{is, mode == "100755"}
		default:
			t.Strange = append(t.Strange, at)
		}
	}
	return nil
}

// maxPath and maxDepth are what the server's own rules allow.
const maxPath, MaxDepth = 1024, 32

// ownFolder tells whether a path leads to where the program's own files are when .git is
// no folder, on any disk.
func ownFolder(path string) bool {
	const name = ".deployment-manager/"
	return len(path) > len(name) && strings.EqualFold(path[:len(name)], name)
}

// Deliverable tells whether a path of the server may come into the folder: never
// one that git, the program or a terminal takes for something else.
func Deliverable(path string) bool {
	if len(path) > maxPath || strings.Count(path, "/") >= MaxDepth || ownFolder(path) {
		return false
	}
	for _, r := range path {
		if r < ' ' || r == 0x7f || r == '\ufffd' || r >= 0x80 && r < 0xa0 {
			return false
		}
	}
	for part := range strings.SplitSeq(path, "/") {
		switch lower := strings.ToLower(part); lower {
		case "", ".", "..", ".git", "git~1":
			return false
		}
	}
	return true
}

// TreeOf reads the files of a commit or a tree.
func (o *Objects) TreeOf(name string) (map[string]Version, error) {
	var id string
	if _, err := o.whole(name+"^{tree}", "tree", &id); err != nil {
		return nil, err
	}
	t, err := o.tree(id)
	if err != nil {
		return nil, err
	}
	return t.Files, nil
}
