//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
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
		hits, dying := injected(t, trace)
		got.restarts += w.startAgain(dying)
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

// startAgain starts the server again if it ended by itself, or if the clean-up
// of a failed change failed too: what that left goes with the next start. It
// counts.
func (w *crashWorld) startAgain(dying bool) int {
	w.t.Helper()
	patience := time.Duration(0)
	if dying {
		patience = 2 * time.Second
	}
	// Who is dying may not have ended yet: it tells of all its goroutines first.
	if _, _, err := send(http.MethodGet, "http://"+w.server.addresses["manager"]+"/livez", ""); err != nil {
		patience = 20 * time.Second
	}
	select {
	case <-w.server.exited:
		w.died()
	case <-time.After(patience):
		left, err := leftovers(filepath.Join(w.folder, "data"))
		if err == nil && len(left) == 0 {
			return 0
		}
		w.stop()
	}
	w.start()
	return 1
}
