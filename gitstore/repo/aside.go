package repo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pndaproject/deployment-manager/gitstore/durable"
)

// Steps are the named points of the write protocol, in the order of each
// change. A crash test kills the server at every one of them; sweeps, which no
// change begins, have steps that another test knows.
func Steps() []string {
	return []string{
		"publish-archive-packed", "publish-content-packed", "publish-linked", "publish-superseded", "publish-tagged", "publish-main",
		"withdraw-superseded", "withdraw-untagged",
		"outcome-packed", "outcome-moved",
		"desired-packed", "desired-moved", "desired-numbered",
		"workspace-packed", "workspace-moved",
		"observed-packed", "observed-moved",
		"aside-built", "aside-renamed",
		"pack-written", "pack-synced", "pack-renamed", "index-renamed",
	}
}

// RepositoryConfig is the whole configuration of every repository. All else is
// given on git's command line, so no file can change how the server's git works.
const RepositoryConfig = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"

// repositoryHead is the HEAD of every repository.
const repositoryHead = "ref: " + Main + "\n"

// Aside is a repository that is being built in tmp. It becomes part of the
// record by one rename, or leaves no trace.
type Aside struct {
	Dir    string
	Folder *Folder
}

// NewAside makes one that is empty. The caller discards it.
func (f *Folder) NewAside() (*Aside, error) {
	dir, err := os.MkdirTemp(f.Temporary(), "new-*.git")
	if err != nil {
		return nil, err
	}
	a := &Aside{dir, f}
	if err := a.fill(); err != nil {
		return nil, errors.Join(err, a.Discard())
	}
	return a, nil
}

func (a *Aside) fill() error {
	// git makes the other folders that it knows when it needs them.
	for _, sub := range []string{"objects/pack", "refs"} {
		if err := os.MkdirAll(filepath.Join(a.Dir, sub), 0o750); err != nil {
			return err
		}
	}
	return errors.Join(
		os.Chmod(a.Dir, 0o750),
		os.WriteFile(filepath.Join(a.Dir, "config"), []byte(RepositoryConfig), 0o640),
		os.WriteFile(filepath.Join(a.Dir, "HEAD"), []byte(repositoryHead), 0o640),
	)
}

// refs gives the repository its first refs, as git's pack-refs would write
// them. Nobody sees the repository yet, so there is nothing that git would have
// to lock or compare; git update-ref would read every object, and the object of
// an archive is as large as the upload.
func (a *Aside) refs(first Refs) error {
	return os.WriteFile(filepath.Join(a.Dir, "packed-refs"), packedRefs(first), 0o640)
}

// install makes every file and directory durable, then the repository appears
// under its name with all its first refs at once. Packs are durable already.
func (a *Aside) install(target string, first Refs) error {
	if err := a.refs(first); err != nil {
		return err
	}
	err := filepath.WalkDir(a.Dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == PackDir(a.Dir):
			return fs.SkipDir
		}
		return durable.Sync(path)
	})
	if err != nil {
		return err
	}
	a.Folder.Step("aside-built")
	if err := os.Rename(a.Dir, target); err != nil {
		return err
	}
	a.Folder.Step("aside-renamed")
	if err := durable.Sync(filepath.Dir(target)); err != nil {
		return err
	}
	a.Folder.note(target, first)
	return nil
}

// Discard removes what was not installed; after install it does nothing.
func (a *Aside) Discard() error { return os.RemoveAll(a.Dir) }

// PackDir is the folder of a repository's packs.
func PackDir(repository string) string { return filepath.Join(repository, "objects", "pack") }
