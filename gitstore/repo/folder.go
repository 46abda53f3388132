package repo

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/events"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// Config says what a Folder needs. All is required.
type Config struct {
	Dir   string // absolute
	Kinds []Kind
	Told  *events.Log // who follows what happens
	Log   *slog.Logger
	Step  func(name string) // called at the named steps, see Steps

	Sound func(dm.Repository) error            // why a repository is out of service
	Doubt func(context.Context, dm.Repository) // reads one again whose refs may have moved though git failed; its lock is held
	Late  func(dm.Repository)                  // has one looked at later that lacks a derived ref
}

// Kind is what a kind of repository is on the disk.
type Kind struct {
	Name      dm.RepositoryKind     // of the folder in which they stand
	Single    bool                  // there is one, and the folder is the repository
	Remembers func(ref string) bool // tells the refs that nothing derives
}

// Folder is the data folder with all its repositories.
type Folder struct {
	Config
	Git   *gitcmd.Git // set once the folder is locked
	known *knownRefs  // set by OpenKnown
	locks keyLocks

	background sync.WaitGroup // tidying that a change began
	tidying    sync.Mutex     // held by the one that works
	alive      context.Context
	stop       context.CancelFunc
}

// New starts nothing and touches nothing.
func New(ctx context.Context, cfg Config) *Folder {
	f := &Folder{Config: cfg}
	f.alive, f.stop = context.WithCancel(context.WithoutCancel(ctx))
	return f
}

// Close waits for what changes began. The caller has ended all other calls.
func (f *Folder) Close() error {
	f.stop()
	f.background.Wait()
	if f.known == nil {
		return nil
	}
	return f.known.close()
}

// Path is the directory of a repository.
func (f *Folder) Path(r dm.Repository) string { return filepath.Join(f.Dir, folderOf(r)) }

// folderOf is that directory as seen from the data folder.
func folderOf(r dm.Repository) string {
	if r.Name == "" {
		return string(r.Kind)
	}
	return filepath.Join(string(r.Kind), EncodeName(r.Name)+".git")
}

// Many are the kinds of which there are many repositories.
func (f *Folder) Many() (list []dm.RepositoryKind) {
	for _, k := range f.Kinds {
		if !k.Single {
			list = append(list, k.Name)
		}
	}
	return list
}

// Temporary is the folder for what is being built. It is emptied at the start.
func (f *Folder) Temporary() string { return filepath.Join(f.Dir, TmpDir) }

// Hold locks a repository and returns its unlock.
func (f *Folder) Hold(r dm.Repository) (release func()) { return f.locks.hold(r) }

// NewPack begins a pack of the repository in dir, without the objects that known
// tells of; nil means with all.
func (f *Folder) NewPack(dir string, known func(plumbing.Hash) bool) (*pack.Writer, error) {
	return pack.Create(pack.Config{Dir: PackDir(dir), Step: f.Step, Known: known})
}

// Names lists the logical names of one kind in byte order. Directories with other
// names are not of the record and are left alone.
func (f *Folder) Names(kind dm.RepositoryKind) ([]string, error) {
	return NamesIn(filepath.Join(f.Dir, string(kind)))
}

// Each calls do for every repository of one kind in byte order, until do fails
// or ctx ends.
func (f *Folder) Each(ctx context.Context, kind dm.RepositoryKind, do func(dm.Repository) error) error {
	names, err := f.Names(kind)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := do(dm.Repository{Kind: kind, Name: name}); err != nil {
			return err
		}
	}
	return nil
}

// NamesIn lists the logical names of the repositories in a folder, in byte order.
func NamesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		enc, ok := strings.CutSuffix(e.Name(), ".git")
		if !ok || !e.IsDir() {
			continue
		}
		if name, ok := DecodeName(enc); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// EmptyTemporary removes what a killed server was building, but not its notes. A
// git that outlived that server may still be writing into the stage of a push, and
// a file that it adds makes a removal fail: each gets a second one. What then can't
// be removed costs room until the next start, and no more.
func (f *Folder) EmptyTemporary() error {
	if err := os.MkdirAll(f.Temporary(), 0o750); err != nil {
		return err
	}
	entries, err := os.ReadDir(f.Temporary())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), intentPrefix) {
			continue
		}
		path := filepath.Join(f.Temporary(), e.Name())
		err := os.RemoveAll(path)
		if err != nil {
			err = os.RemoveAll(path)
		}
		if err != nil {
			f.Log.Warn("a temporary file of an earlier server is kept until the next start", "err", err)
		}
	}
	return nil
}

// Exists tells whether there is something at path, of whatever kind. What can't be
// looked at counts as there, and whoever uses it learns why it can't: nothing is
// begun in its place.
func Exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
