package sync

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

// tree is the server's files at a commit.
type tree struct {
	commit  string
	files   map[string]version
	strange []string // paths that can't be delivered
	entries int
}

// commitTree reads a commit, which may be named by a ref, and all that is below it.
func (o *objects) commitTree(name string) (*tree, error) {
	t := &tree{files: map[string]version{}}
	var root string
	content, err := o.whole(name, "commit", &t.commit)
	if err != nil {
		return nil, err
	}
	if first, _, _ := bytes.Cut(content, []byte("\n")); bytes.HasPrefix(first, []byte("tree ")) {
		root = string(first[len("tree "):])
	}
	return t, t.read(o, root, "", 0)
}

// tree reads a tree.
func (o *objects) tree(name string) (*tree, error) {
	t := &tree{files: map[string]version{}}
	return t, t.read(o, name, "", 0)
}

// whole reads a small object.
func (o *objects) whole(name, kind string, id *string) (content []byte, err error) {
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
func (t *tree) read(o *objects, name, path string, depth int) error {
	var id string
	content, err := o.whole(name, "tree", &id)
	if err != nil {
		return err
	}
	for len(content) > 0 {
		head, rest, ok := bytes.Cut(content, []byte{0})
		mode, name, ok2 := strings.Cut(string(head), " ")
		if !ok || !ok2 || len(rest) < len(blob{}) {
			return fmt.Errorf("the tree %s can't be read", id)
		}
		content = rest[len(blob{}):]
		if t.entries++; t.entries > maxFiles {
			return fmt.Errorf("the server has more than %d files for you", maxFiles)
		}
		is, at := blob(rest[:len(blob{})]), path+name
		switch {
		case mode == "40000" && depth < maxDepth && deliverable(at):
			if err := t.read(o, is.String(), at+"/", depth+1); err != nil {
				return err
			}
		case (mode == "100644" || mode == "100755" || mode == "100664") && deliverable(at):
			t.files[at] = version{is, mode == "100755"}
		default:
			t.strange = append(t.strange, at)
		}
	}
	return nil
}
