package gitstore_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
)

// gitWith is a git that runs the shell text first.
func gitWith(t *testing.T, text string) option {
	t.Helper()
	real, err := exec.LookPath("git")
	check(t, err)
	path := filepath.Join(t.TempDir(), "git")
	// A process that another test starts meanwhile would hold the file open for
	// writing, and nobody may run such a file.
	syscall.ForkLock.RLock()
	err = os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\nexec "+real+" \"$@\"\n"), 0o755)
	syscall.ForkLock.RUnlock()
	check(t, err)
	return func(c *gitstore.Config) { c.Git = path }
}

// TestFsckThatWasShort has a git fsck that was short of something: of files, so
// that it tells objects as missing that are there, of memory, of time to live.
func TestFsckThatWasShort(t *testing.T) {
	t.Parallel()
	for name, ends := range map[string]string{
		"files":    "echo 'missing blob '$(cat BLOB); echo 'error: OBJECT: object corrupt or missing' >&2; exit 2",
		"memory":   "echo 'fatal: Out of memory, malloc failed (tried to allocate 1048576 bytes)' >&2; exit 128",
		"a signal": "kill -9 $$",
		"a pack":   "echo 'error: packfile pack-1.pack cannot be accessed' >&2; exit 4",
		"a word":   "exit 1",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			short := filepath.Join(t.TempDir(), "short")
			ends = strings.ReplaceAll(ends, "BLOB", short)
			h := open(t, dir, gitWith(t, "if [ -e "+short+" ]; then case \"$*\" in *fsck*) "+ends+";; esac; fi"))
			h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
			write(t, short, h.git("packages/flow.git", "rev-parse", "refs/tags/1.0.0:jupyter/report/data/rows.csv"))
			check(t, h.Service().Patrol(ctx))
			h.inService("after a check that could not be made")
			h.Service().Repair(ctx) // makes it again, in vain
			h.inService("after a second one")
			check(t, os.Remove(short))
			flip(t, dir+"/packages/flow.git", h.archiveBlob("flow"))
			if left := h.Service().Repair(ctx).Left; len(left) != 1 || !left[0].Damaged || left[0].Repository.Name != "flow" {
				t.Errorf("the check was not made again: %v", left)
			}
		})
	}
}

// inService fails when something is set aside.
func (h *house) inService(when string) {
	h.t.Helper()
	if list := h.Service().SetAside(); len(list) != 0 {
		h.t.Errorf("%s these are out of service: %v", when, list)
	}
	if kept, err := filepath.Glob(filepath.Join(h.dir, "damaged", "*", "*")); err != nil || len(kept) != 0 {
		h.t.Errorf("%s damaged/ holds %q, %v", when, kept, err)
	}
}

// descriptors is the child process of TestFewDescriptors: it has a limit of its
// own.
const descriptors = "DM_TEST_DESCRIPTORS"

// TestFewDescriptors opens the record, and changes it, with ever more files that
// the process may have open. Nothing may be set aside, and when there are enough
// again all must be back without a restart.
func TestFewDescriptors(t *testing.T) {
	if os.Getenv(descriptors) == "" {
		t.Parallel()
		child := exec.Command(os.Args[0], "-test.run=^TestFewDescriptors$", "-test.timeout=60s")
		child.Env = append(os.Environ(), descriptors+"=1")
		if out, err := child.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	h := open(t, dir)
	v := h.deployed("ana", "flow-1.0.0", "one")
	for _, user := range []dm.UserName{"ana", "bob", "cyd"} {
		h.created(user, dm.ApplicationName("app-"+user), v)
	}
	h.stop()
	unread, refused := 0, 0
	for more := range 5 {
		give, given := limitFiles(t, 4*more), make(chan struct{})
		time.AfterFunc(100*time.Millisecond, func() { give(); close(given) })
		h := open(t, dir)
		unread += len(h.Service().SetAside())
		h.back(more)
		<-given // or the limit below would be taken for the one to give back

		give = limitFiles(t, 3*more)
		begun := h.Start(ctx, as("ana"), "app-ana")
		if err := h.Service().Patrol(ctx); err != nil {
			wantKind(t, err, dm.Unavailable, "storage is unavailable")
		}
		give()
		if begun != nil {
			refused++
			check(t, h.Start(ctx, as("ana"), "app-ana"))
		}
		h.back(more)
		h.settle("app-ana")
		check(t, h.Stop(ctx, as("ana"), "app-ana"))
		h.settle("app-ana")
		h.sound()
		h.stop()
	}
	if unread == 0 || refused == 0 {
		t.Errorf("%d repositories were short of files at the start and %d changes, want some of each", unread, refused)
	}
	t.Logf("%d repositories not read at the start, %d changes refused", unread, refused)
}

// back waits until everything is in service again.
func (h *house) back(more int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- h.Service().LookAgain(ctx) }()
	for len(h.Service().SetAside()) > 0 && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	check(h.t, <-ended)
	h.inService(fmt.Sprintf("with %d files", more))
	for _, app := range []dm.ApplicationName{"app-ana", "app-bob", "app-cyd"} {
		if view, ok, err := h.Application(ctx, app); !ok || err != nil {
			h.t.Errorf("%s: %+v %v", app, view, err)
		}
	}
}

// limitFiles lets the process open so many more files, until give.
func limitFiles(t *testing.T, more int) (give func()) {
	t.Helper()
	var was syscall.Rlimit
	check(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	runtime.GC() // closes what nobody has closed
	limit := 0
	for free := -1; ; limit++ {
		if _, err := os.Lstat(fmt.Sprintf("/proc/self/fd/%d", limit)); err != nil {
			free++
		}
		if free == more {
			break
		}
	}
	check(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: uint64(limit), Max: was.Max}))
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
			panic(err)
		}
	}
}

// TestNoRoomForAnotherReadme starts a server with another README while the blank
// workspace can't be written. It stays what it is: workspaces that were swept begin
// with its commits.
func TestNoRoomForAnotherReadme(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	blank := h.git("blank.git", "rev-parse", "main")
	h.stop()
	another := func(c *gitstore.Config) { c.Readme = append([]byte(nil), append(c.Readme, '\n')...) }
	full := gitWith(t, `case "$*" in *blank.git*update-ref*) echo "fatal: No space left on device" >&2; exit 128;; esac`)
	h = open(t, h.dir, another, full)
	if got := h.git("blank.git", "rev-parse", "main"); got != blank {
		t.Errorf("the blank workspace is at %s, want %s", got, blank)
	}
	h.stop()
	h = open(t, h.dir, another)
	if got := h.git("blank.git", "rev-parse", "main^"); got != blank {
		t.Errorf("the new README follows %s, want %s", got, blank)
	}
	h.sound()
}

// TestFolderThatCanNotBeLookedAt has something in the place of the folders of
// repositories, as a disk that went away leaves. What can't be looked at is not
// absent: nobody gets an empty workspace, or is told that a package is not there.
func TestFolderThatCanNotBeLookedAt(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", v)
	for _, kind := range []dm.RepositoryKind{dm.WorkspaceRepository, dm.PackageRepository} {
		folder := filepath.Join(h.dir, string(kind))
		check(t, os.Rename(folder, folder+".away"))
		write(t, folder, "")
	}
	for _, r := range []dm.Repository{{Kind: dm.WorkspaceRepository, Name: "ana"}, {Kind: dm.PackageRepository, Name: "flow"}} {
		var answer bytes.Buffer
		err := h.UploadPack(ctx, r, dm.UploadRound{Advertise: true, Out: &answer})
		if err == nil || dm.KindOf(err) == dm.NotFound {
			t.Errorf("%s: got %v and %q", r.Name, err, answer.String())
		}
	}
	if _, err := h.Publish(ctx, as("ana"), file(t, "flow-2.0.0.tgz"), bytes.NewReader(notebook("flow-2.0.0", "two")), -1); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("published: %v", err)
	}
	for _, kind := range []dm.RepositoryKind{dm.WorkspaceRepository, dm.PackageRepository} {
		folder := filepath.Join(h.dir, string(kind))
		check(t, os.Remove(folder))
		check(t, os.Rename(folder+".away", folder))
	}
	h.publish("ana", "flow-2.0.0.tgz", notebook("flow-2.0.0", "two"))
	h.sound()
}
