package repo

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/pndaproject/deployment-manager/gitstore/durable"
)

// git's transactions over several refs are not crash-atomic, one file that is renamed
// is: a repository whose refs all stand in packed-refs takes several at once. Who
// writes it so holds the repository's lock, and is the only writer that it has.

// packedRefs is what git's pack-refs would write.
func packedRefs(refs Refs) []byte {
	text := []byte("# pack-refs with: sorted \n")
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		text = fmt.Appendf(text, "%s %s\n", refs[name], name)
	}
	return text
}

// moveTogether moves refs of the repository in dir, durably and all at once or none.
// There is no event of it and no line of the known refs.
func moveTogether(ctx context.Context, dir string, moves Refs) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now, err := ReadRefs(dir)
	if err != nil {
		return err
	}
	if err := packLoose(dir, now); err != nil {
		return err
	}
	maps.Copy(now, moves)
	return durable.WriteFile(filepath.Join(dir, "packed-refs"), packedRefs(now))
}

// packLoose leaves no ref beside packed-refs, where one would hide the line of its name.
func packLoose(dir string, now Refs) error {
	var loose []string
	root := filepath.Join(dir, "refs")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			loose = append(loose, path)
		}
		return err
	})
	if err != nil || len(loose) == 0 {
		return err
	}
	if err := durable.WriteFile(filepath.Join(dir, "packed-refs"), packedRefs(now)); err != nil {
		return err
	}
	folders := map[string]bool{}
	for _, path := range loose {
		if err := os.Remove(path); err != nil {
			return err
		}
		folders[filepath.Dir(path)] = true
	}
	for folder := range folders {
		if err := durable.Sync(folder); err != nil {
			return err
		}
	}
	return nil
}
