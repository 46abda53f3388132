package programs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Program is what the program for pods is called, and what its names for one
// processor type begin with.
const Program = "deployment-manager-sync"

// processors are the types that pods have, in Go's words.
var processors = []string{"amd64", "arm64"}

// Bring makes the repository of the programs that lie in folder, when it is not
// that already. Where there is none there is no repository.
func Bring(ctx context.Context, data *repo.Folder, folder fs.FS) (changed bool, err error) {
	files, err := find(folder)
	if err != nil {
		return false, err
	}
	want := repo.Refs{}
	for processor, file := range files {
		if want[repo.Tool(processor)], err = nameOf(folder, processor, file); err != nil {
			return false, err
		}
	}
	if sound(ctx, data, want) {
		return false, nil
	}
	// Aside first: what cannot be made now leaves nothing that is out of date.
	dir, away := data.Path(repo.Tools), filepath.Join(data.Temporary(), string(repo.Tools.Kind))
	if err := os.RemoveAll(away); err != nil {
		return false, err
	}
	if err := os.Rename(dir, away); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := write(ctx, data, folder, files); err != nil {
		return false, err
	}
	_ = os.RemoveAll(away) // else the next start empties the folder
	return true, nil
}

// find returns the programs that are there, by processor type. A plain build has
// the one of its own type, without that in its name.
func find(folder fs.FS) (map[string]string, error) {
	found := map[string]string{}
	for _, processor := range processors {
		names := []string{Program + "-" + processor}
		if processor == runtime.GOARCH {
			names = append(names, Program)
		}
		for _, name := range names {
			info, err := fs.Stat(folder, name)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			if err == nil && info.Mode().IsRegular() {
				found[processor] = name
				break
			}
		}
	}
	return found, nil
}

// sound tells whether the repository holds what is wanted, and all of it can be
// read. A check that could not be made counts as no: making it anew costs less
// than pods that get nothing.
func sound(ctx context.Context, data *repo.Folder, want repo.Refs) bool {
	dir := data.Path(repo.Tools)
	if len(want) == 0 || !repo.Exists(dir) {
		return len(want) == 0 && !repo.Exists(dir)
	}
	heads, err := repo.ReadRefs(dir)
	if err != nil || len(heads) != len(want) {
		return false
	}
	for ref, commit := range want {
		if heads[ref] != commit {
			return false
		}
	}
	problems, err := data.Git.Fsck(ctx, dir, true)
	return err == nil && len(problems) == 0
}

// write makes the repository, which is not there.
func write(ctx context.Context, data *repo.Folder, folder fs.FS, files map[string]string) error {
	if len(files) == 0 {
		return nil
	}
	tx, err := data.Begin(repo.Tools, "tools")
	if err != nil {
		return err
	}
	defer tx.End()
	w, err := tx.Objects()
	if err != nil {
		return err
	}
	var moves []repo.Move
	for processor, file := range files {
		var blob func() plumbing.Hash
		err := read(folder, file, func(size int64, r io.Reader) error {
			entry, err := w.Blob(size, r)
			blob = func() plumbing.Hash { return entry.Hash }
			return errors.Join(err, w.Flush())
		})
		if err != nil {
			return err
		}
		commit, err := addCommit(w, processor, blob())
		if err != nil {
			return err
		}
		moves = append(moves, repo.Moved(repo.Tool(processor), plumbing.ZeroHash, commit, "tools-moved"))
	}
	return tx.Land(ctx, moves...)
}

// nameOf is the name of the commit that write would make of a file.
func nameOf(folder fs.FS, processor, file string) (commit plumbing.Hash, err error) {
	err = read(folder, file, func(size int64, r io.Reader) error {
		hasher := plumbing.NewHasher(plumbing.BlobObject, size)
		if _, err := io.Copy(hasher, r); err != nil {
			return err
		}
		commit, err = addCommit(repo.NamesOnly{}, processor, hasher.Sum())
		return err
	})
	return commit, err
}

// read calls do with the size and the bytes of a file.
func read(folder fs.FS, name string, do func(size int64, r io.Reader) error) error {
	f, err := folder.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return do(info.Size(), f)
}

// addCommit adds a commit of one program. Nothing in it but the program differs
// from one server to the next.
func addCommit(w repo.Adder, processor string, blob plumbing.Hash) (plumbing.Hash, error) {
	top := repo.NewTree()
	top.Set(Program+"-"+processor, filemode.Executable, repo.Known(blob))
	tree, err := top.Write(w)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return form.AddCommit(w, form.ServerSignature(time.Unix(0, 0)), tree, "The program for pods with "+processor+"\n")
}
