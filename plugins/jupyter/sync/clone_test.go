package sync_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLinksInGit: no link in .git makes the program write somewhere else.
func TestLinksInGit(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"objects/info/alternates", "objects/info"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.deliver(first)
			l.sync()
			outside := filepath.Join(l.home(), "outside")
			l.must(os.Mkdir(outside, 0o700))
			precious := filepath.Join(outside, "alternates")
			l.must(os.WriteFile(precious, []byte("precious\n"), 0o600))
			l.must(os.RemoveAll(l.path(".git/" + name)))
			if name == "objects/info" {
				precious = outside
			}
			l.must(os.Symlink(precious, l.path(".git/"+name)))
			l.deliver(with(files{"app/a.ipynb": "a two"}))
			l.sync()
			l.want(with(files{"app/a.ipynb": "a two"}))
			if got, err := os.ReadFile(filepath.Join(outside, "alternates")); err != nil || string(got) != "precious\n" {
				t.Errorf("the file outside is %q, %v", got, err)
			}
		})
	}
}

// TestStaleRefLock: a git that was killed while it moved a branch holds up no file,
// nor the branch for ever.
func TestStaleRefLock(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"HEAD.lock", "refs/heads/main.lock", "refs/remotes/origin/main.lock"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.deliver(first)
			l.sync()
			old := time.Now().Add(-time.Hour)
			l.must(os.WriteFile(l.path(".git/"+name), nil, 0o600))
			l.must(os.Chtimes(l.path(".git/"+name), old, old))
			l.deliver(with(files{"app/a.ipynb": "a two"}))
			l.sync()
			l.want(with(files{"app/a.ipynb": "a two"}))
			l.sync()
			if got := l.git("status", "-s", "-uno"); got != "" {
				t.Errorf("git status: %q", got)
			}
		})
	}
}

// TestKilledBeforeBranch kills the run between the index and the branch; then the
// server has something newer. That is no staged change of the user's.
func TestKilledBeforeBranch(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	l.sync()
	real, err := exec.LookPath("git")
	l.must(err)
	bin := filepath.Join(l.root, "bin")
	l.must(os.Mkdir(bin, 0o700))
	l.must(os.WriteFile(filepath.Join(bin, "git"), []byte("#!/bin/sh\ncase $* in *update-ref*up*to*date*) kill -9 $PPID; sleep 5;; esac\nexec "+real+" \"$@\"\n"), 0o700))
	l.deliver(with(files{"app/a.ipynb": "a two"}))
	cmd := l.command(t.Context(), "PATH="+bin+":"+os.Getenv("PATH"))
	l.must(cmd.Start())
	if err := cmd.Wait(); err == nil {
		t.Fatal("it was not killed")
	}
	l.deliver(with(files{"app/a.ipynb": "a three"}))
	l.sync()
	l.want(with(files{"app/a.ipynb": "a three"}))
	if got := l.git("status", "-s", "-uno"); got != "" {
		page, _ := os.ReadFile(l.path("SYNC.md"))
		t.Errorf("git status: %q\n%s", got, page)
	}
}

// TestMissingObjects: a git that lacks an object runs nothing that .git/config names.
func TestMissingObjects(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	l.sync()
	ran := filepath.Join(l.root, "ran")
	for _, setting := range [][2]string{{"core.repositoryformatversion", "1"}, {"extensions.partialClone", "evil"}, {"remote.evil.url", "ext::sh -c touch% " + ran},
		{"remote.evil.promisor", "true"}, {"protocol.ext.allow", "always"}} {
		l.git("config", setting[0], setting[1])
	}
	l.must(os.WriteFile(l.path(".git/refs/heads/main"), []byte(strings.Repeat("12", 20)+"\n"), 0o600))
	l.deliver(with(files{"app/a.ipynb": "a two"}))
	l.sync()
	l.want(with(files{"app/a.ipynb": "a two"}))
	if _, err := os.Stat(ran); err == nil {
		t.Error("a command of .git/config ran")
	}
}

// TestStagedInNewRepository: what the user staged before there was any commit stays.
func TestStagedInNewRepository(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	l.must(os.Mkdir(l.folder(), 0o700))
	l.git("init", "-q", "-b", "main")
	l.write(files{"mine": "staged"})
	l.git("add", "mine")
	l.write(files{"mine": "later"})
	l.sync()
	if got, err := l.tryGit("show", ":mine"); err != nil || got != "staged" {
		t.Errorf("staged is %q, %v", got, err)
	}
}

// TestPipeInGit: what never answers in the place of a file of git's keeps no file away.
func TestPipeInGit(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	l.sync()
	l.must(os.Remove(l.path(".git/HEAD")))
	l.must(syscall.Mkfifo(l.path(".git/HEAD"), 0o600))
	l.deliver(with(files{"app/a.ipynb": "a two"}))
	l.bounded(6, "up to date")
	l.want(with(files{"app/a.ipynb": "a two"}))
}
