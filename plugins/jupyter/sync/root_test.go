package sync_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asRoot parts the tests that mount and change users; make test-root runs them.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Getenv("DM_TEST_ROOT") == "" {
		t.Skip("needs root: make test-root")
	}
}

// mount puts a file system in the place of the home.
func (l *lab) mount(fstype, options string, flags uintptr) {
	l.Helper()
	if err := syscall.Mount(fstype, l.home(), fstype, flags, options); err != nil {
		l.Fatalf("mount %s: %v", fstype, err)
	}
	l.Cleanup(func() {
		if err := syscall.Unmount(l.home(), syscall.MNT_DETACH); err != nil {
			l.Error(err)
		}
	})
}

// TestRootFullHome fills the disk of a home: what is there stays, the reason and
// what is missing are told at once, and when there is room all comes.
func TestRootFullHome(t *testing.T) {
	asRoot(t)
	for _, leave := range []int64{0, 64 << 10, 1 << 20} {
		t.Run(fmt.Sprint(leave), func(t *testing.T) {
			l := newLab(t, nil)
			l.mount("tmpfs", "size=16m", 0)
			l.deliver(first)
			l.sync()
			l.write(files{"app/b.ipynb": "mine"})
			fill := filepath.Join(l.home(), "fill")
			l.leave(fill, leave)
			page, err := os.ReadFile(l.path("SYNC.md"))
			l.must(err)
			l.sync() // there is nothing new
			if now, err := os.ReadFile(l.path("SYNC.md")); err != nil || len(now) == 0 {
				t.Errorf("SYNC.md was %q and is %q, %v", page, now, err)
			}
			big := strings.Repeat("0123456789", 300_000)
			l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two", "app/big.csv": big}))
			begin := time.Now()
			out := l.try()
			if took := time.Since(begin); took > 2*time.Second {
				t.Errorf("it took %v", took)
			}
			if !strings.Contains(out, "the disk of your home is full") || !strings.Contains(out, "are missing for what is new") {
				t.Errorf("it told %q", out)
			}
			got := l.there()
			for name, content := range got {
				if content == "" || name == "app/b.ipynb" && content != "mine" {
					t.Errorf("%s is %q", name, content)
				}
			}
			t.Log(out)
			l.must(os.Remove(fill))
			l.sync()
			l.want(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "mine", "app/b.1.2.0.ipynb": "b two", "app/big.csv": big}))
		})
	}
}

// leave makes a file as large as the home's disk is, but for so many bytes.
func (l *lab) leave(file string, bytes int64) {
	l.Helper()
	f, err := os.Create(file)
	l.must(err)
	defer f.Close()
	var st syscall.Statfs_t
	l.must(syscall.Statfs(l.home(), &st))
	l.must(syscall.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-bytes))
}

// TestRootReadOnlyHome: a home that can be read only is told as that.
func TestRootReadOnlyHome(t *testing.T) {
	asRoot(t)
	l := newLab(t, nil)
	l.deliver(first)
	l.sync()
	l.must(syscall.Mount(l.home(), l.home(), "", syscall.MS_BIND, ""))
	l.mount("", "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY)
	l.deliver(with(files{"app/a.ipynb": "a two"}))
	if out := l.try(); !strings.Contains(out, "the disk of your home is read-only") {
		t.Errorf("it told %q", out)
	}
	l.want(first)
}

// owners counts the files of each user in a folder.
func (l *lab) owners(folder string) map[uint32]int {
	l.Helper()
	all := map[uint32]int{}
	l.must(filepath.WalkDir(folder, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			all[info.Sys().(*syscall.Stat_t).Uid]++
		}
		return err
	}))
	return all
}

// TestRootOwner runs the program as root in the home of somebody, as images do that
// let people use sudo: with and without the right to become that user, and in a
// folder that root left behind. All files are the user's, who can run it too.
func TestRootOwner(t *testing.T) {
	asRoot(t)
	const less = "-setuid,-setgid"
	for name, as := range map[string][]string{
		"becomes the user":  nil,
		"gives to the user": {"setpriv", "--inh-caps", less, "--bounding-set", less, "--"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, nil)
			l.deliver(first)
			l.sync() // root's home, and root's files
			l.write(files{"app/b.ipynb": "mine"})
			l.reachable()
			l.must(os.Chown(l.home(), somebody, 100))
			l.as = as
			l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two", "new/new.ipynb": "new"}))
			l.sync()
			if got := l.owners(l.home()); len(got) != 1 || got[somebody] == 0 {
				t.Errorf("the files' owners are %v, want %d only", got, somebody)
			}
			want := with(files{"app/a.ipynb": "a two", "app/b.ipynb": "mine", "app/b.1.2.0.ipynb": "b two", "new/new.ipynb": "new"})
			l.want(want)
			l.asSomebody() // whose home it then is
			l.deliver(with(files{"app/b.ipynb": "b two", "new/new.ipynb": "newer"}))
			l.sync()
			want["app/a.ipynb"], want["new/new.ipynb"] = first["app/a.ipynb"], "newer"
			l.want(want)
		})
	}
}

// TestRootUsers: users without a name, with any umask, and in a home that is
// another's but may be written by the group.
func TestRootUsers(t *testing.T) {
	asRoot(t)
	for _, umask := range []int{0o000, 0o002, 0o027, 0o077} {
		t.Run(fmt.Sprintf("umask %03o", umask), func(t *testing.T) {
			l := newLab(t, nil)
			l.deliver(first)
			l.asSomebody()
			l.as = append([]string{"sh", "-c", fmt.Sprintf(`umask %03o; exec "$@"`, umask), "sh"}, l.as...)
			l.sync()
			l.want(first)
			for name, mode := range map[string]fs.FileMode{"app/a.ipynb": 0o666, "app/run": 0o777} {
				if info, err := os.Stat(l.path(name)); err != nil || info.Mode().Perm() != mode&^fs.FileMode(umask) {
					t.Errorf("%s: %v, %v", name, info.Mode(), err)
				}
			}
			l.deliver(with(files{"app/a.ipynb": "a two"}))
			l.sync()
			l.want(with(files{"app/a.ipynb": "a two"}))
		})
	}
	t.Run("another's home", func(t *testing.T) {
		l := newLab(t, nil)
		l.deliver(first)
		l.asSomebody()
		l.must(os.Mkdir(l.folder(), 0o700))
		for _, dir := range []string{l.home(), l.folder()} {
			l.must(os.Chown(dir, 4711, somebody))
			l.must(os.Chmod(dir, 0o2775))
		}
		l.sync()
		l.want(first)
		l.write(files{"app/a.ipynb": "mine"})
		l.must(os.Chown(l.path("app/a.ipynb"), somebody, somebody))
		l.deliver(with(files{"app/a.ipynb": "a two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "mine", "app/a.1.2.0.ipynb": "a two"}))
		// What SYNC.md advises works as it stands there.
		page, err := os.ReadFile(l.path("SYNC.md"))
		l.must(err)
		_, advice, _ := strings.Cut(string(page), "back, run `")
		advice, _, _ = strings.Cut(advice, "`")
		line := append(l.as[:len(l.as):len(l.as)], "sh", "-c", strings.Replace(advice, "FILE", "app/a.ipynb", 1))
		cmd := exec.Command(line[0], line[1:]...)
		cmd.Dir = l.folder()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", advice, err, out)
		}
		l.want(with(files{"app/a.ipynb": "a two", "app/a.1.2.0.ipynb": "a two"}))
	})
}

// TestRootUsersInTurn: two users of one group, as pods of random user ids are.
func TestRootUsersInTurn(t *testing.T) {
	asRoot(t)
	l := newLab(t, nil)
	l.deliver(first)
	l.reachable()
	l.must(os.Chmod(l.home(), 0o2775))
	l.must(os.Chown(l.home(), 4711, somebody))
	as := func(id string) []string {
		return []string{"setpriv", "--reuid", id, "--regid", "12345", "--clear-groups", "--", "sh", "-c", `umask 002; exec "$@"`, "sh"}
	}
	l.as = as("12345")
	l.sync()
	l.deliver(with(files{"app/a.ipynb": "a two"}))
	l.as = as("12346")
	l.sync()
	l.want(with(files{"app/a.ipynb": "a two"}))
}

// TestRootForeignMount: what is mounted in the folder is not the folder's.
func TestRootForeignMount(t *testing.T) {
	asRoot(t)
	l := newLab(t, nil)
	l.deliver(first)
	l.reachable()
	shared := l.path("shared")
	l.must(os.MkdirAll(shared, 0o755))
	l.must(syscall.Mount("tmpfs", shared, "tmpfs", 0, ""))
	t.Cleanup(func() { l.must(syscall.Unmount(shared, syscall.MNT_DETACH)) })
	l.must(os.WriteFile(filepath.Join(shared, "theirs"), nil, 0o600))
	l.must(os.Chown(l.home(), somebody, somebody))
	l.sync()
	info, err := os.Stat(filepath.Join(shared, "theirs"))
	l.must(err)
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("the mounted file belongs to %d now", uid)
	}
}

// TestRootFolderOfSomebody: where the home is root's, as volumes are that a group may
// write, the folder's owner counts.
func TestRootFolderOfSomebody(t *testing.T) {
	asRoot(t)
	l := newLab(t, nil)
	l.deliver(first)
	l.reachable()
	l.must(os.Chmod(l.home(), 0o755))
	l.must(os.Mkdir(l.folder(), 0o755))
	l.must(os.Chown(l.folder(), somebody, somebody))
	l.sync()
	if got := l.owners(l.home()); got[0] != 1 {
		t.Errorf("the files' owners are %v, want the home only to be root's", got)
	}
}
