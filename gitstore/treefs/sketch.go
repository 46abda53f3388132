package treefs

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Sketch is a package before it is recorded, as an fs.FS.
type Sketch struct {
	files map[string]Sketched
	dirs  map[string][]fs.DirEntry
}

// Sketched is one file of it.
type Sketched struct {
	Path       string
	Executable bool
	Size       int64 // bytes
	Open       func() (io.ReadCloser, error)
}

// Held is the open of a file of which only its first bytes are held.
// Reading further fails with errors.ErrUnsupported.
func Held(head []byte, size int64) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		var content io.Reader = bytes.NewReader(head)
		if int64(len(head)) < size {
			content = io.MultiReader(content, notHeld{})
		}
		return io.NopCloser(content), nil
	}
}

// NewSketch takes the first of two files with one path.
func NewSketch(files []Sketched) *Sketch {
	s := &Sketch{files: make(map[string]Sketched, len(files)), dirs: map[string][]fs.DirEntry{".": nil}}
	for _, f := range files {
		if _, twice := s.files[f.Path]; !twice {
			s.files[f.Path] = f
			s.list(f.Path, repo.Mode(f.Executable), f.Size)
		}
	}
	for _, entries := range s.dirs {
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	}
	return s
}

// list enters a file or a directory into the one above it, which it makes.
func (s *Sketch) list(name string, mode filemode.FileMode, size int64) {
	above := path.Dir(name)
	if _, ok := s.dirs[above]; !ok {
		s.dirs[above] = nil
		s.list(above, filemode.Dir, 0)
	}
	s.dirs[above] = append(s.dirs[above], fs.FileInfoToDirEntry(treeInfo{name: path.Base(name), mode: mode, size: size}))
}

var _ fs.ReadDirFS = (*Sketch)(nil)

// Open implements fs.FS.
func (s *Sketch) Open(name string) (fs.File, error) {
	if f, ok := s.files[name]; ok {
		content, err := f.Open()
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &treeFile{treeInfo{name: path.Base(name), mode: repo.Mode(f.Executable), size: f.Size}, content}, nil
	}
	if _, ok := s.dirs[name]; ok {
		return &treeDir{info: treeInfo{name: path.Base(name), mode: filemode.Dir}, list: func() ([]fs.DirEntry, error) { return s.ReadDir(name) }}, nil
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// ReadDir implements fs.ReadDirFS.
func (s *Sketch) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, ok := s.dirs[name]
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(entries), nil
}

// notHeld is what lies behind the beginning of a file.
type notHeld struct{}

func (notHeld) Read([]byte) (int, error) { return 0, errors.ErrUnsupported }
