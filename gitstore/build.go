package gitstore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// Steps are the named points of the write protocol, in the order of each
// change. A crash test kills the server at every one of them.
func Steps() []string {
	return []string{
		"publish-archive-packed", "publish-content-packed", "publish-superseded", "publish-tagged", "publish-main",
		"withdraw-superseded", "withdraw-untagged",
		"outcome-packed", "outcome-moved",
		"desired-packed", "desired-moved", "desired-numbered",
		"workspace-packed", "workspace-branch", "workspace-main",
		"observed-packed", "observed-moved",
		"aside-built", "aside-renamed",
		"pack-written", "pack-synced", "pack-renamed", "index-renamed",
	}
}

// repositoryConfig is the whole configuration of every repository. All else is
// given on git's command line, so no file can change how the server's git works.
const repositoryConfig = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"

// repositoryHead is the HEAD of every repository.
const repositoryHead = "ref: " + mainRef + "\n"

// aside is a repository that is being built in tmp. It becomes part of the
// record by one rename, or leaves no trace.
type aside struct {
	s   *Store
	dir string
}

func (s *Store) newAside() (*aside, error) {
	dir, err := os.MkdirTemp(filepath.Join(s.dir, tmpDir), "new-*.git")
	if err != nil {
		return nil, err
	}
	a := &aside{s, dir}
	if err := a.fill(); err != nil {
		return nil, errors.Join(err, a.discard())
	}
	return a, nil
}

func (a *aside) fill() error {
	for _, sub := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(a.dir, sub), 0o750); err != nil {
			return err
		}
	}
	return errors.Join(
		os.Chmod(a.dir, 0o750),
		writeFileDurably(filepath.Join(a.dir, "config"), []byte(repositoryConfig)),
		writeFileDurably(filepath.Join(a.dir, "HEAD"), []byte(repositoryHead)),
	)
}

// install makes every directory durable, then the repository appears under its
// name with all its refs at once.
func (a *aside) install(target string) error {
	err := filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return gitcmd.FsyncDir(path)
	})
	if err != nil {
		return err
	}
	a.s.Step("aside-built")
	if err := os.Rename(a.dir, target); err != nil {
		return err
	}
	a.s.Step("aside-renamed")
	return gitcmd.FsyncDir(filepath.Dir(target))
}

// discard removes what was not installed; after install it does nothing.
func (a *aside) discard() error { return os.RemoveAll(a.dir) }

// change is one write to a repository that may not exist yet: packs and refs
// go to dir, and land makes them part of the record. The caller holds the
// repository's lock.
type change struct {
	s      *Store
	target string
	dir    string
	fresh  *aside
	before []string // packs that an existing repository had
}

// begin opens a repository for one change, or builds it aside.
func (s *Store) begin(r dm.Repository) (*change, error) {
	target := s.repositoryDir(r)
	if exists(target) {
		before, err := packFiles(target)
		return &change{s: s, target: target, dir: target, before: before}, err
	}
	a, err := s.newAside()
	if err != nil {
		return nil, err
	}
	return &change{s: s, target: target, dir: a.dir, fresh: a}, nil
}

// discard ends a change that did not land.
func (c *change) discard() {
	if c.fresh != nil {
		if err := c.fresh.discard(); err != nil {
			c.s.Log.Warn("a temporary repository could not be removed", "err", err)
		}
	}
}

// pack starts a pack in the repository.
func (c *change) pack() (*pack.Writer, error) { return c.s.packWriter(c.dir) }

func (s *Store) packWriter(dir string) (*pack.Writer, error) {
	return pack.Create(pack.Config{Dir: packDir(dir), Step: s.Step})
}

// move moves refs in one transaction.
func (c *change) move(ctx context.Context, updates ...gitcmd.RefUpdate) error {
	return c.s.git.UpdateRefs(ctx, c.dir, updates...)
}

// giveUp takes back what a failed change that was to make tip has left in an
// existing repository, and looks whether it was made all the same.
func (c *change) giveUp(ctx context.Context, r dm.Repository, tip plumbing.Hash) {
	if c.fresh == nil {
		c.s.undo(c.dir, newPacks(c.dir, c.before), tip)
	}
	c.s.heal(ctx, r)
}

// land installs a repository that was built aside; an existing one needs no
// more than its refs.
func (c *change) land() error {
	if c.fresh == nil {
		return nil
	}
	return c.fresh.install(c.target)
}

func packDir(repository string) string { return filepath.Join(repository, "objects", "pack") }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// update is a compare-and-set of one ref; a zero old means that the ref must
// not exist, a zero new deletes it.
func update(ref string, old, new plumbing.Hash) gitcmd.RefUpdate {
	u := gitcmd.RefUpdate{Ref: ref}
	if !old.IsZero() {
		u.Old = old.String()
	}
	if !new.IsZero() {
		u.New = new.String()
	}
	return u
}
