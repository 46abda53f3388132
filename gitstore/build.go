package gitstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
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
	// git makes the other folders that it knows when it needs them.
	for _, sub := range []string{"objects/pack", "refs"} {
		if err := os.MkdirAll(filepath.Join(a.dir, sub), 0o750); err != nil {
			return err
		}
	}
	return errors.Join(
		os.Chmod(a.dir, 0o750),
		os.WriteFile(filepath.Join(a.dir, "config"), []byte(repositoryConfig), 0o640),
		os.WriteFile(filepath.Join(a.dir, "HEAD"), []byte(repositoryHead), 0o640),
	)
}

// refs gives the repository its first refs, as git's pack-refs would write
// them. Nobody sees the repository yet, so there is nothing that git would have
// to lock or compare; git update-ref would read every object, and the object of
// an archive is as large as the upload.
func (a *aside) refs(first refs) error {
	var b strings.Builder
	b.WriteString("# pack-refs with: sorted \n")
	for _, name := range slices.Sorted(maps.Keys(first)) {
		fmt.Fprintf(&b, "%s %s\n", first[name], name)
	}
	return os.WriteFile(filepath.Join(a.dir, "packed-refs"), []byte(b.String()), 0o640)
}

// install makes every file and directory durable, then the repository appears
// under its name with all its first refs at once. Packs are durable already.
func (a *aside) install(target string, first refs) error {
	if err := a.refs(first); err != nil {
		return err
	}
	err := filepath.WalkDir(a.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == packDir(a.dir):
			return fs.SkipDir
		}
		return gitcmd.Fsync(path)
	})
	if err != nil {
		return err
	}
	a.s.Step("aside-built")
	if err := os.Rename(a.dir, target); err != nil {
		return err
	}
	a.s.Step("aside-renamed")
	if err := gitcmd.Fsync(filepath.Dir(target)); err != nil {
		return err
	}
	a.s.note(target, first)
	return nil
}

// discard removes what was not installed; after install it does nothing.
func (a *aside) discard() error { return os.RemoveAll(a.dir) }

// change is one write to a repository that may not exist yet: packs go to dir,
// and put or appear makes them part of the record. The caller holds the
// repository's lock.
type change struct {
	s      *Store
	target string
	dir    string
	pack   *pack.Writer // for the change's own objects
	fresh  *aside       // nil when the repository exists
	end    func(failed bool)
	failed bool
}

// begin opens a repository for one change, or builds it aside.
func (s *Store) begin(r dm.Repository) (*change, error) {
	target := s.repositoryDir(r)
	if !exists(target) {
		if err := s.mustBeThere(r); err != nil {
			return nil, err
		}
		return s.beginAside(target)
	}
	end, err := s.intend(r)
	if err != nil {
		return nil, err
	}
	return (&change{s: s, target: target, dir: target, end: end}).open()
}

// beginAside starts a repository that will appear at target.
func (s *Store) beginAside(target string) (*change, error) {
	a, err := s.newAside()
	if err != nil {
		return nil, err
	}
	return (&change{s: s, target: target, dir: a.dir, fresh: a}).open()
}

// open starts the change's pack, and ends the change when it can't.
func (c *change) open() (_ *change, err error) {
	if c.pack, err = c.s.packWriter(c.dir); err != nil {
		c.discard()
		return nil, err
	}
	return c, nil
}

// discard ends a change, landed or not.
func (c *change) discard() {
	if c.pack != nil {
		c.pack.Abort()
	}
	if c.end != nil {
		c.end(c.failed)
	}
	if c.fresh != nil {
		if err := c.fresh.discard(); err != nil {
			c.s.Log.Warn("a temporary repository could not be removed", "err", err)
		}
	}
}

// giveUp ends a change that failed where its ref may have moved: it looks
// whether the change was made all the same, and discard takes away what it left.
func (c *change) giveUp(ctx context.Context, r dm.Repository) {
	c.failed = true
	c.s.heal(ctx, r)
}

func (s *Store) packWriter(dir string) (*pack.Writer, error) {
	return pack.Create(pack.Config{Dir: packDir(dir), Step: s.Step})
}

// move moves refs of an existing repository in one transaction.
func (c *change) move(ctx context.Context, updates ...gitcmd.RefUpdate) error {
	return c.s.moveRefs(ctx, c.dir, updates...)
}

// put moves the one ref of a change: in an existing repository by git, in a new
// one by letting the repository appear.
func (c *change) put(ctx context.Context, ref string, old, new plumbing.Hash) error {
	if c.fresh != nil {
		return c.appear(refs{ref: new})
	}
	return c.move(ctx, update(ref, old, new))
}

// appear installs a repository that was built aside, with its first refs.
func (c *change) appear(first refs) error {
	return c.fresh.install(c.target, first)
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
