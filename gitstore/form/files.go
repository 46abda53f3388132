package form

import (
	"errors"
	"io"
	"iter"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Placer gives the files of an archive their places in the package's tree,
// which has no single outer directory. What a tool left beside that directory
// keeps its path, unless something in the package begins with the same name:
// then the archive alone holds it.
type Placer struct {
	top   string          // "" when the archive has no single outer directory
	inner map[string]bool // first names in it, in lower case
}

// NewPlacer reads the paths of an archive whose single outer directory is top, ""
// when it has none.
func NewPlacer(top string, paths iter.Seq[string]) Placer {
	p := Placer{top, map[string]bool{}}
	for path := range paths {
		if inner, ok := strings.CutPrefix(path, top+"/"); ok && top != "" {
			p.inner[firstName(inner)] = true
		}
	}
	return p
}

// Place returns ok = false for a file that the tree does not hold.
func (p Placer) Place(path string) (inner string, ok bool) {
	if p.top == "" {
		return path, true
	}
	if inner, ok := strings.CutPrefix(path, p.top+"/"); ok {
		return inner, true
	}
	return path, !p.inner[firstName(path)]
}

func firstName(path string) string {
	name, _, _ := strings.Cut(path, "/")
	return strings.ToLower(name)
}

// FileLine is what a tree says of a file.
type FileLine struct {
	Mode filemode.FileMode
	Hash plumbing.Hash
}

// TreeSink names the files of an archive as git would.
type TreeSink struct{ Files map[string]FileLine }

// File implements archive.Sink.
func (t *TreeSink) File(path string, executable bool, size int64, r io.Reader) error {
	h := plumbing.NewHasher(plumbing.BlobObject, size)
	if _, err := io.Copy(h, r); err != nil {
		return err
	}
	t.Files[path] = FileLine{repo.Mode(executable), h.Sum()}
	return nil
}

// TreeFiles are the files of a tree.
func TreeFiles(t *object.Tree) (map[string]FileLine, error) {
	files := map[string]FileLine{}
	walk := object.NewTreeWalker(t, true, nil)
	defer walk.Close()
	for {
		path, e, err := walk.Next()
		switch {
		case errors.Is(err, io.EOF):
			return files, nil
		case err != nil:
			return nil, err
		case e.Mode != filemode.Dir:
			files[path] = FileLine{e.Mode, e.Hash}
		}
	}
}
