package gitstore

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// sketch is a package before it is recorded: the paths and sizes of its files,
// and of each as many bytes as its validation looks at. Reading further fails
// with errors.ErrUnsupported. It is an fs.FS.
type sketch struct {
	files map[string]sketched
	dirs  map[string][]fs.DirEntry
}

// sketched is one file of it.
type sketched struct {
	path       string
	executable bool
	size       int64
	head       []byte
}

func newSketch(files []sketched) *sketch {
	s := &sketch{files: make(map[string]sketched, len(files)), dirs: map[string][]fs.DirEntry{".": nil}}
	for _, f := range files {
		if _, twice := s.files[f.path]; !twice {
			s.files[f.path] = f
			s.list(f.path, fileMode(f.executable), f.size)
		}
	}
	for _, entries := range s.dirs {
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	}
	return s
}

// list enters a file or a directory into the one above it, which it makes.
func (s *sketch) list(name string, mode filemode.FileMode, size int64) {
	above := path.Dir(name)
	if _, ok := s.dirs[above]; !ok {
		s.dirs[above] = nil
		s.list(above, filemode.Dir, 0)
	}
	s.dirs[above] = append(s.dirs[above], fs.FileInfoToDirEntry(treeInfo{name: path.Base(name), mode: mode, size: size}))
}

var _ fs.ReadDirFS = (*sketch)(nil)

// Open implements fs.FS.
func (s *sketch) Open(name string) (fs.File, error) {
	if f, ok := s.files[name]; ok {
		info := treeInfo{name: path.Base(name), mode: fileMode(f.executable), size: f.size}
		var content io.Reader = bytes.NewReader(f.head)
		if int64(len(f.head)) < f.size {
			content = io.MultiReader(content, notHeld{})
		}
		return &treeFile{info, io.NopCloser(content)}, nil
	}
	if _, ok := s.dirs[name]; ok {
		return &treeDir{info: treeInfo{name: path.Base(name), mode: filemode.Dir}, list: func() ([]fs.DirEntry, error) { return s.ReadDir(name) }}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir implements fs.ReadDirFS.
func (s *sketch) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, ok := s.dirs[name]
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(entries), nil
}

// notHeld is what lies behind the beginning of a file.
type notHeld struct{}

func (notHeld) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }

// inPackage is a path of an archive without its first part, which is the
// outer directory where there is a single one.
func inPackage(path string) string {
	_, inner, _ := strings.Cut(path, "/")
	return inner
}
