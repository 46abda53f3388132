//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// failingCalls are the calls to the kernel that fail, by what they are for.
var failingCalls = []struct{ name, calls string }{
	{"write", "write,pwrite64"},
	{"fsync", "fsync,fdatasync"},
	{"rename", "rename,renameat,renameat2,link,linkat"},
	{"open", "openat,mkdirat,mkdir"},
}

// TestRootFailingCalls lets the n-th call of a kind fail in every thread of the
// server and in every git that it starts, for n = 1, 2, … until a change gets
// through untouched. No change may be acknowledged and lost, no repository may
// be harmed, and the server must go on, or at least start again by itself.
func TestRootFailingCalls(t *testing.T) {
	rootTest(t, needTracing)
	t.Parallel()
	var mu sync.Mutex
	total := failures{}
	begin := time.Now()
	t.Run("all", func(t *testing.T) {
		for _, drive := range faultDrives {
			t.Run(drive.name, func(t *testing.T) {
				t.Parallel()
				for _, kind := range failingCalls {
					f := failCalls(t, drive, kind.calls)
					if f.points == 0 {
						t.Errorf("%s: no call failed", kind.name)
					}
					mu.Lock()
					total.add(f)
					mu.Unlock()
				}
			})
		}
	})
	tell("failing calls: %d points of %d changes, %d calls failed: %d changes not acknowledged, %d all the same; 0 corrupt, 0 false acknowledgements (goal 0, 0); %d starts to clean up; %v",
		total.points, len(faultDrives), total.calls, total.refused, total.points-total.refused, total.restarts, time.Since(begin).Round(time.Second))
	if total.calls < 400 {
		t.Errorf("%d calls failed, want at least 400", total.calls)
	}
}

// failures counts what happened.
type failures struct{ points, calls, refused, restarts int }

func (f *failures) add(g failures) {
	f.points, f.calls, f.refused, f.restarts = f.points+g.points, f.calls+g.calls, f.refused+g.refused, f.restarts+g.restarts
}

// failCalls runs one drive again and again, with one n after the other. Threads
// make hundreds of calls: the higher n, the wider its steps.
func failCalls(t *testing.T, drive faultDrive, calls string) (got failures) {
	t.Helper()
	w := newCrashWorld(t)
	w.start()
	p := newCrashPusher(w, "client")
	trace := filepath.Join(w.folder, "trace")
	for n := 1; ; n += 1 + n/3 {
		f := drive.ready(p, n)
		errno := []string{"EIO", "ENOSPC"}[n%2]
		s, err := attach(w.server.cmd.Process.Pid, "-o", trace, "-e", "trace="+calls, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d", calls, errno, n))
		if err != nil {
			t.Fatal(err)
		}
		detach := sync.OnceValue(s.detach)
		w.failing.Store(true)
		act := f.whileWorking(func() { _ = detach() }, func() error { return drive.act(f) })
		if err := detach(); err != nil {
			t.Fatal(err)
		}
		w.failing.Store(false)
		var gone errGone
		if act != nil && !errors.As(act, &gone) {
			t.Fatalf("%s: %s of call %d of %s: %v", drive.name, errno, n, calls, act)
		}
		hits, dying := injected(t, trace, w.server.cmd.Process.Pid)
		got.restarts += w.startAgain(dying, act)
		w.check()
		w.fsck()
		if t.Failed() {
			t.Fatalf("after %s of call %d of %s", errno, n, calls)
		}
		if hits == 0 {
			break
		}
		got.points, got.calls = got.points+1, got.calls+hits
		if act != nil {
			got.refused++
		}
	}
	w.stop()
	w.start() // mends a main of a package that could not be moved
	w.finish()
	w.fsck()
	return got
}

// startAgain starts the server again if it ended by itself, if it may still be
// at work on a change that it gave no answer to, or if something is left that
// goes with the next start: files that could not be removed, or a main of a
// package that could not be moved. It counts.
func (w *crashWorld) startAgain(dying bool, act error) int {
	w.t.Helper()
	// Who is dying may not have ended yet: it tells of all its goroutines first.
	if _, _, err := send(http.MethodGet, "http://"+w.server.addresses["manager"]+"/livez", ""); dying || err != nil {
		w.died()
		w.start()
		return 1
	}
	if act == nil || answered(act) {
		left, err := leftovers(filepath.Join(w.folder, "data"))
		if err == nil && len(left) == 0 && (act == nil || !w.owesMain()) {
			return 0
		}
	}
	w.stop()
	w.start()
	return 1
}

// answered tells whether a server that fails has said so itself.
func answered(act error) bool {
	for _, answer := range []string{": status 5", "[remote rejected]", "returned error: 5"} {
		if strings.Contains(act.Error(), answer) {
			return true
		}
	}
	return false
}

// owesMain tells whether a version that may have been published is not in main
// of its package.
func (w *crashWorld) owesMain() bool {
	w.t.Helper()
	for name, c := range w.newest {
		dir := filepath.Join(w.folder, "data", "packages", name+".git")
		if _, err := os.Stat(dir); len(c.possible) == 1 || err != nil {
			continue
		}
		missing := []string{"--git-dir=" + dir, "for-each-ref", "refs/tags"}
		if w.git("--git-dir="+dir, "for-each-ref", "refs/heads/main") != "" {
			missing = append(missing, "--no-merged", "refs/heads/main")
		}
		if w.git(missing...) != "" {
			return true
		}
	}
	return false
}
