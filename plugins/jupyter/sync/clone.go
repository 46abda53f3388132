package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/disk"
	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"
	"golang.org/x/sys/unix"
)

// clone is the user's .git, kept as a clone would be that has just been pulled, as
// long as the user has not used it for more than that.
type clone struct {
	git     remote.Git
	folder  string
	dir     disk.Dir // .git
	state   *state
	address string
	url     string
	begun   time.Time // of the run
}

const indexLock = "index" + ".lock" // no operation of the house is called so

// newClone opens .git, which is there: the program's own files lie in it.
func newClone(getenv func(string) string, s *state, root disk.Dir, folder, address, url string, begun time.Time) (*clone, error) {
	in, err := root.Sub(".git")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(folder, ".git")
	g := remote.NewGit(getenv, path, "core.bare", "false", "safe.directory", "*")
	g.Env = append(g.Env, "GIT_WORK_TREE="+folder, "GIT_ALLOW_PROTOCOL=none") // nor does it fetch what it lacks
	return &clone{git: g, folder: folder, dir: in, state: s, address: address, url: url, begun: begun}, nil
}

// head is what HEAD says, and tip the commit of main as far as that can be told
// without git.
func (c *clone) head() (says, tip string) {
	git := &disk.Folder{Root: c.dir}
	defer git.Leave()
	for path, to := range map[string]*string{"HEAD": &says, remote.MainRef: &tip} {
		in, name, err := git.Parent(path, false)
		if err != nil {
			continue
		}
		f, _, err := in.Open(name)
		if err != nil {
			continue
		}
		content, err := io.ReadAll(io.LimitReader(f, 1000))
		if f.Close() == nil && err == nil {
			*to, _, _ = strings.Cut(string(content), "\n")
		}
	}
	return says, tip
}

// asLeft tells whether all is as follow left it at a commit.
func (c *clone) asLeft(at string) bool {
	says, tip := c.head()
	_, err := c.dir.Stat(indexLock)
	return says == "ref: "+remote.MainRef && tip == at && errors.Is(err, fs.ErrNotExist)
}

// commit is the commit that HEAD stands on; empty when there is none.
func (c *clone) commit(ctx context.Context) string {
	if says, _ := c.head(); says == "" {
		return "" // git would wait for a pipe
	}
	name, err := c.git.Run(ctx, "", "rev-parse", "-q", "--verify", "HEAD^{commit}")
	if err != nil {
		return ""
	}
	return name
}

// follow moves main, origin/main and the index from old to the commit new, which
// the program's repository has. It returns what keeps them where they are.
func (c *clone) follow(ctx context.Context, old, new string, ancestor func(of, is string) bool) (stays string, err error) {
	if c.asLeft(new) {
		return "", nil
	}
	if _, err := c.dir.Stat("HEAD"); errors.Is(err, fs.ErrNotExist) {
		if err := c.create(ctx); err != nil {
			return "", err
		}
	}
	says, tip := c.head()
	if tip == "" { // git may have packed it
		var err error
		if tip, err = c.git.Run(ctx, "", "for-each-ref", "--format=%(objectname)", remote.MainRef); err != nil {
			return notReadable, ctx.Err()
		}
	}
	for _, name := range []string{"rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG"} {
		if _, err := c.dir.Stat(name); err == nil {
			return ownBranch, nil
		}
	}
	if _, detached := remote.ParseBlob(says); !detached && !strings.HasPrefix(says, "ref: ") {
		return notReadable, nil
	} else if says != "ref: "+remote.MainRef {
		return ownBranch, nil
	}
	if tip == new {
		return c.unlock()
	}
	if tip != "" && tip != old && !ancestor(tip, new) {
		return "You have commits of your own on main. The files are up to date; your branch stays where it is.", nil
	}
	if err := c.borrow(); disk.Full(err) {
		return "", err
	} else if err != nil {
		return notReadable, nil
	}
	moved, err := c.unlock()
	if err != nil || moved == otherGit {
		return moved, err
	}
	// A run that was killed has left the index at old, and the branch before it.
	if c.staged(ctx, cmp.Or(tip, emptyTree)) && c.staged(ctx, new) && (old == "" || c.staged(ctx, old)) {
		return "You have staged changes. The files are up to date; your branch stays where it is until you commit or unstage them.", nil
	}
	_, err = c.git.Run(ctx, "", "read-tree", "-i", "-m", new)
	if err == nil {
		_, err = c.git.Run(ctx, fmt.Sprintf("update %s %s %s\nupdate refs/remotes/origin/main %s\n", remote.MainRef, new, cmp.Or(tip, remote.Blob{}.String()), new),
			"update-ref", "-m", "deployment manager: bring up to date", "--stdin")
	}
	if err != nil && ctx.Err() == nil && !disk.Full(err) {
		return notReadable, nil
	}
	return moved, err
}

const emptyTree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904" // without files; git knows it everywhere

const notReadable = "git can't read the repository in this folder. The files are up to date all the same."

const otherGit = "Another git is at work in this folder. The files are up to date; your branch follows at the next start."

const ownBranch = "You are on a branch of your own, or in the middle of a merge or rebase. The files are up to date; git still shows your branch."

func (c *clone) staged(ctx context.Context, commit string) bool {
	_, err := c.git.Run(ctx, "", "diff-index", "--cached", "--quiet", commit, "--")
	return remote.Differs(err)
}

// create makes .git what git clone would have made.
func (c *clone) create(ctx context.Context) error {
	// HEAD, by which .git is a clone, comes last.
	lines, err := (&state{Dir: c.dir}).read("config")
	if err == nil && !slices.Contains(lines, originSection) {
		err = c.dir.Append("config", fmt.Sprintf(originSection+"\n\turl = %s\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n[branch \"main\"]\n\tremote = origin\n"+
			"\tmerge = %s\n[credential %q]\n\thelper = %s\n", c.url, remote.MainRef, c.address, strconv.Quote(remote.UserHelper)))
	}
	if err = errors.Join(err, c.append("info/exclude", pageName)); err != nil {
		return err
	}
	_, err = c.git.Run(ctx, "", "-c", "init.defaultBranch=main", "init", "-q", "--template=")
	return err
}

const originSection = `[remote "origin"]`

// borrow lets .git find our objects, so that they are on the disk once.
func (c *clone) borrow() error {
	return c.append("objects/info/alternates", "../"+stateName+"/objects")
}

// append adds a line to a file of .git, unless it is there.
func (c *clone) append(path, line string) error {
	git := &disk.Folder{Root: c.dir}
	defer git.Leave()
	in, name, err := git.Parent(path, true)
	if err != nil {
		return err
	}
	lines, err := (&state{Dir: in}).read(name)
	if err != nil || slices.Contains(lines, line) {
		return err
	}
	return in.Append(name, line+"\n")
}

// locked are the files of .git that follow writes.
var locked = []string{"index", "HEAD", remote.MainRef, "refs/remotes/origin/main"}

// unlock moves locks out of the way that a git which was killed has left behind,
// ours or the user's. A lock of one that works stays, and git would fail on it.
func (c *clone) unlock() (moved string, err error) {
	git := &disk.Folder{Root: c.dir}
	defer git.Leave()
	for _, path := range locked {
		in, name, err := git.Parent(path+".lock", false)
		var st unix.Stat_t
		if err == nil {
			st, err = in.Stat(name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		at := time.Unix(st.Mtim.Unix())
		if !at.Before(c.begun) || c.gitWorks() {
			return otherGit, nil
		}
		if err := in.Replace(name, c.state.Dir, name); err != nil {
			return "", err
		}
		moved = fmt.Sprintf("A git that was killed had left `.git/%s` behind, of %s. No git could work here; the file is now `.git/%s/%s`.",
			path+".lock", at.UTC().Format("2006-01-02 15:04 UTC"), stateName, name)
	}
	return moved, nil
}

// gitWorks tells whether a git is at work in the folder, as far as this user may see.
// Those that this process has started work below, among the program's own files.
func (c *clone) gitWorks() bool {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return true
	}
	for _, p := range processes {
		pid, err := strconv.Atoi(p.Name())
		if err != nil || pid == syscall.Getpid() {
			continue
		}
		if name, err := os.ReadFile(filepath.Join("/proc", p.Name(), "comm")); err != nil || !strings.HasPrefix(string(name), "git") {
			continue
		}
		at, err := os.Readlink(filepath.Join("/proc", p.Name(), "cwd"))
		if err == nil && at != c.state.path && (at == c.folder || strings.HasPrefix(at, c.folder+"/")) {
			return true
		}
	}
	return false
}
