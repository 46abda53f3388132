package main

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"time"
)

// tree is the files of a layer, by their clean paths without a leading slash.
type tree map[string]*node

// node is one of them. Its header has no name: the tree knows it.
type node struct {
	header  tar.Header
	content []byte
}

func (t tree) folder(name string, mode int64, uid int, when time.Time) {
	t[name] = &node{header: tar.Header{Typeflag: tar.TypeDir, Mode: mode, Uid: uid, Gid: uid, ModTime: when}}
}

func (t tree) file(name string, mode int64, content []byte, when time.Time) {
	t[name] = &node{header: tar.Header{Typeflag: tar.TypeReg, Mode: mode, ModTime: when}, content: content}
}

func (t tree) link(name, target string, when time.Time) {
	t[name] = &node{header: tar.Header{Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777, ModTime: when}}
}

// names are all, folders before what is in them.
func (t tree) names() []string {
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// full is a header that is the same wherever and whenever it is made.
func (n *node) full(name string) *tar.Header {
	h := n.header
	h.Name = name
	if h.Typeflag == tar.TypeDir {
		h.Name += "/"
	}
	h.Size = int64(len(n.content))
	h.ModTime = h.ModTime.Truncate(time.Second)
	return &h
}

// write writes the tree as a tar.
func (t tree) write(w io.Writer) error {
	out := tar.NewWriter(w)
	for _, name := range t.names() {
		n := t[name]
		if err := out.WriteHeader(n.full(name)); err != nil {
			return err
		}
		if _, err := out.Write(n.content); err != nil {
			return err
		}
	}
	return out.Close()
}

// extract writes the tree below dir with its owners, which takes root.
func (t tree) extract(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range t.names() {
		if err := t[name].extract(root, name); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) extract(root *os.Root, name string) (err error) {
	h := &n.header
	switch h.Typeflag {
	case tar.TypeDir:
		if err = root.Mkdir(name, 0o700); errors.Is(err, os.ErrExist) {
			err = nil // two layers have it
		}
	case tar.TypeSymlink:
		err = root.Symlink(h.Linkname, name)
	default:
		err = root.WriteFile(name, n.content, 0o600)
	}
	if err == nil {
		err = root.Lchown(name, h.Uid, h.Gid)
	}
	if err != nil || h.Typeflag == tar.TypeSymlink {
		return err
	}
	return root.Chmod(name, os.FileMode(h.Mode&0o777)|sticky(h.Mode))
}

func sticky(mode int64) os.FileMode {
	if mode&0o1000 != 0 {
		return os.ModeSticky
	}
	return 0
}

// complete adds the folders that lead to a file and are not there.
func (t tree) complete(when time.Time) {
	for _, name := range t.names() {
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if t[dir] == nil {
				t.folder(dir, 0o755, 0, when)
			}
		}
	}
}
