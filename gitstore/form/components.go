package form

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Components reads components/<type>/<name>/… by byte order.
func Components(objects *repo.Objects, tree plumbing.Hash) ([]dm.Component, error) {
	top, err := objects.Tree(tree)
	if err != nil {
		return nil, err
	}
	walk := object.NewTreeWalker(top, true, nil)
	defer walk.Close()
	var list []dm.Component
	for {
		path, entry, err := walk.Next()
		switch {
		case errors.Is(err, io.EOF):
			slices.SortStableFunc(list, func(a, b dm.Component) int {
				return strings.Compare(string(a.Type)+"/"+string(a.Name), string(b.Type)+"/"+string(b.Name))
			})
			return list, nil
		case err != nil:
			return nil, err
		}
		parts := strings.SplitN(path, "/", 3)
		if entry.Mode == filemode.Dir || len(parts) < 3 {
			continue
		}
		t, name := dm.ComponentType(parts[0]), dm.ComponentName(parts[1])
		if len(list) == 0 || list[len(list)-1].Type != t || list[len(list)-1].Name != name {
			list = append(list, dm.Component{Type: t, Name: name})
		}
		last := &list[len(list)-1]
		last.Files = append(last.Files, dm.File{Path: parts[2], Executable: entry.Mode == filemode.Executable})
	}
}

// AddComponent writes the trees of one component into w, and those of its files
// that are not as the package has them.
func AddComponent(w *pack.Writer, from *repo.Objects, packageTree plumbing.Hash, c dm.Component) (plumbing.Hash, error) {
	b := repo.NewTree()
	for _, f := range c.Files {
		hash, err := writeFile(w, from, packageTree, f)
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("%s/%s/%s: %w", c.Type, c.Name, f.Path, err)
		}
		b.Set(f.Path, repo.Mode(f.Executable), repo.Known(hash))
	}
	return b.Write(w)
}

func writeFile(w *pack.Writer, from *repo.Objects, packageTree plumbing.Hash, f dm.File) (plumbing.Hash, error) {
	if f.Source == "" {
		return w.Add(plumbing.BlobObject, f.Content)
	}
	e, err := from.Entry(packageTree, f.Source)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return e.Hash, nil
}
