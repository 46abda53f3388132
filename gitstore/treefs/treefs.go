package treefs

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// FS shows one tree of a repository as a read-only file system. Its
// methods take turns, because go-git's storage does not like company.
type FS struct {
	mu   sync.Mutex
	repo *repo.Objects
	root plumbing.Hash
}

// New reads nothing yet.
func New(repo *repo.Objects, root plumbing.Hash) *FS { return &FS{repo: repo, root: root} }

var (
	_ fs.ReadDirFS = (*FS)(nil)
	_ fs.StatFS    = (*FS)(nil)
)

// Open implements fs.FS.
func (t *FS) Open(name string) (fs.File, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := t.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return &treeDir{info: info, list: func() ([]fs.DirEntry, error) { return t.ReadDir(name) }}, nil
	}
	r, size, err := t.repo.Blob(info.hash)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	info.size = size
	return &treeFile{info: info, ReadCloser: r}, nil
}

// Stat implements fs.StatFS.
func (t *FS) Stat(name string) (fs.FileInfo, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := t.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	return t.sized(info)
}

// ReadDir implements fs.ReadDirFS; entries are in byte order.
func (t *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := t.lookup("readdir", name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	tree, err := t.repo.Tree(info.hash)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	list := make([]fs.DirEntry, 0, len(tree.Entries))
	for _, e := range tree.Entries {
		list = append(list, treeEntry{fs: t, info: treeInfo{name: e.Name, mode: e.Mode, hash: e.Hash}})
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

func (t *FS) lookup(op, name string) (treeInfo, error) {
	if !fs.ValidPath(name) {
		return treeInfo{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return treeInfo{name: ".", mode: filemode.Dir, hash: t.root}, nil
	}
	e, err := t.repo.Entry(t.root, name)
	switch {
	case errors.Is(err, object.ErrEntryNotFound), errors.Is(err, object.ErrDirectoryNotFound):
		return treeInfo{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	case err != nil:
		return treeInfo{}, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return treeInfo{name: path.Base(name), mode: e.Mode, hash: e.Hash}, nil
}

// sized looks up the size of a file, which a tree does not hold.
func (t *FS) sized(info treeInfo) (fs.FileInfo, error) {
	if info.IsDir() {
		return info, nil
	}
	size, err := t.repo.Size(info.hash)
	if err != nil {
		return nil, err
	}
	info.size = size
	return info, nil
}

type treeInfo struct {
	name string
	mode filemode.FileMode
	hash plumbing.Hash
	size int64
}

func (i treeInfo) Name() string       { return i.name }
func (i treeInfo) Size() int64        { return i.size }
func (i treeInfo) ModTime() time.Time { return time.Time{} }
func (i treeInfo) IsDir() bool        { return i.mode == filemode.Dir }
func (i treeInfo) Sys() any           { return nil }

func (i treeInfo) Mode() fs.FileMode {
	switch i.mode {
	case filemode.Dir:
		return fs.ModeDir | 0o755
	case filemode.Executable:
		return 0o755
	}
	return 0o644
}

type treeEntry struct {
	fs   *FS
	info treeInfo
}

func (e treeEntry) Name() string      { return e.info.name }
func (e treeEntry) IsDir() bool       { return e.info.IsDir() }
func (e treeEntry) Type() fs.FileMode { return e.info.Mode().Type() }

func (e treeEntry) Info() (fs.FileInfo, error) {
	e.fs.mu.Lock()
	defer e.fs.mu.Unlock()
	return e.fs.sized(e.info)
}

type treeFile struct {
	info treeInfo
	io.ReadCloser
}

func (f *treeFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// treeDir reads its entries when they are first asked for.
type treeDir struct {
	info treeInfo
	list func() ([]fs.DirEntry, error)
	rest []fs.DirEntry
	read bool
}

func (d *treeDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *treeDir) Close() error               { return nil }

func (d *treeDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: errors.New("is a directory")}
}

// ReadDir implements fs.ReadDirFile.
func (d *treeDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.read {
		list, err := d.list()
		if err != nil {
			return nil, err
		}
		d.rest, d.read = list, true
	}
	if n <= 0 {
		list := d.rest
		d.rest = nil
		return list, nil
	}
	if len(d.rest) == 0 {
		return nil, io.EOF
	}
	list := d.rest[:min(n, len(d.rest))]
	d.rest = d.rest[len(list):]
	return list, nil
}
