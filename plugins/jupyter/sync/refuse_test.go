package sync_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestEachChangeRefused has the disk refuse everything from a chosen change on, as
// one does that is full, over its quota or read-only: all files are as they were or
// as they come, none is empty or half, the reason is told, and the next run brings
// what is missing. DM_TEST_ROUNDS tries all changes.
func TestEachChangeRefused(t *testing.T) {
	t.Parallel()
	stride := 9
	if rounds(t, 0) > 0 {
		stride = 1
	}
	told := map[string]string{"ENOSPC": "the disk of your home is full", "EDQUOT": "your quota is used up", "EROFS": "read-only"}
	for errno, reason := range told {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.deliver(first)
			l.sync()
			l.write(files{"app/b.ipynb": "mine"})
			l.must(os.Rename(l.home(), l.home()+".before"))
			l.deliver(with(files{"app/a.ipynb": "a two", "app/b.ipynb": "b two", "new/new.ipynb": "new", "app/data/c.csv": ""}))
			wanted := with(files{"app/a.ipynb": "a two", "app/b.ipynb": "mine", "app/b.1.2.0.ipynb": "b two", "new/new.ipynb": "new", "app/data/c.csv": ""})
			restore := func() {
				l.must(os.RemoveAll(l.home()))
				if out, err := exec.Command("cp", "-a", l.home()+".before", l.home()).CombinedOutput(); err != nil {
					t.Fatalf("cp: %v\n%s", err, out)
				}
			}
			restore()
			last := l.die(0)
			for n := 1 + rand.IntN(stride); n <= last; n += stride {
				restore()
				out := l.try(fmt.Sprintf("%s=%d=%s", at, n, errno))
				got := l.there()
				if got["app/b.ipynb"] != "mine" {
					t.Errorf("refused from change %d of %d on: the user's file is %q", n, last, got["app/b.ipynb"])
				}
				for name, content := range got {
					if content != first[name] && content != wanted[name] {
						t.Errorf("refused from change %d of %d on: %s is %q", n, last, name, content)
					}
				}
				if whole := maps.Equal(got, wanted); !whole && !strings.Contains(out, reason) {
					t.Errorf("refused from change %d of %d on: it told %q, want %q; there is %q", n, last, out, reason, got)
				}
				l.sync()
				l.want(wanted)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// TestEveryFileAlone: what can't be brought is told with its own reason, holds up
// nothing, and comes when it can.
func TestEveryFileAlone(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 && !droppable() {
		t.Fatal("root ignores modes of folders, and setpriv is missing")
	}
	l := newLab(t, nil)
	long := "app/" + strings.Repeat("n", 250) + ".csv"
	l.deliver(with(files{long: "long", "app/odd/x": "x"}))
	l.asSomebody()
	l.sync()
	l.must(os.Chmod(l.path("app/data"), 0o555))
	l.write(files{long: "mine"})
	l.deliver(with(files{long: "long two", "app/odd/x": "x two", "app/data/c.csv": "c two", "app/data/d.csv": "d", "zz/new.ipynb": "new"}))
	want := with(files{long: "mine", "app/odd/x": "x two", "zz/new.ipynb": "new"})
	for range 2 {
		if out := l.try(); !strings.Contains(out, "3 files could not be brought, see SYNC.md") {
			t.Errorf("it told %q", out)
		}
		l.want(want)
		l.status("`app/data/c.csv`: its folder, or the file, may not be changed or read (permission denied)", "`app/data/d.csv`: ",
			"`"+long+"`: its name, or the name of the copy beside it, is too long for this disk")
	}
	l.must(os.Chmod(l.path("app/data"), 0o755))
	l.must(os.Rename(l.path(long), l.path("app/short.csv")))
	l.sync()
	want = with(files{"app/short.csv": "mine", "app/odd/x": "x two", "app/data/c.csv": "c two", "app/data/d.csv": "d", "zz/new.ipynb": "new"})
	l.want(want)
}

// TestStoppedGetsFurther stops a run in the middle: the next one goes on from there,
// and brings back nothing that was deleted meanwhile.
func TestStoppedGetsFurther(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	all := files{}
	for i := range 1500 {
		all[fmt.Sprintf("app/part %d/file %d.ipynb", i/100, i)] = fmt.Sprint("one ", i)
	}
	l.deliver(all)
	// It stops in the middle: as it does when its time is over, after what it has
	// begun.
	went := l.root + "/went"
	cmd := l.command(t.Context(), pause+"=mark:"+went)
	var out strings.Builder
	cmd.Stdout = &out
	l.must(cmd.Start())
	eventually(t, "the second batch is being written", func() bool {
		_, err := os.Stat(l.folder())
		return err == nil && len(l.there()) >= 256
	})
	l.must(cmd.Process.Signal(syscall.SIGTERM))
	l.must(os.WriteFile(went, nil, 0o600))
	l.must(cmd.Wait())
	if !strings.Contains(out.String(), "of 1500 files are dealt with; the next start goes on from there") {
		t.Errorf("it told %q", out.String())
	}
	l.status("of 1500 files are dealt with")
	l.remove("app/part 0/file 7.ipynb")
	delete(all, "app/part 0/file 7.ipynb")
	before, err := os.Stat(l.path("app/part 0/file 1.ipynb"))
	l.must(err)
	l.sync()
	l.want(all)
	after, err := os.Stat(l.path("app/part 0/file 1.ipynb"))
	l.must(err)
	if !os.SameFile(before, after) {
		t.Error("what was there has been written again")
	}
}

// TestClockThatJumps: no time of a file, and no clock, decides anything.
func TestClockThatJumps(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	l.sync()
	for _, when := range []time.Time{time.Unix(0, 0), time.Now().Add(1000 * time.Hour)} {
		l.write(files{"app/a.ipynb": "a ONE"}) // as long as before
		for name := range first {
			l.must(os.Chtimes(l.path(name), when, when))
		}
		for _, name := range []string{"manifest", "notes", "lock"} {
			l.must(os.Chtimes(l.path(".git/deployment-manager/"+name), when, when))
		}
		version := l.deliver(with(files{"app/a.ipynb": "a two " + when.String(), "app/b.ipynb": "b two"}))
		l.sync()
		l.want(with(files{"app/a.ipynb": "a ONE", "app/a." + version + ".ipynb": "a two " + when.String(), "app/b.ipynb": "b two"}))
		l.remove("app/a." + version + ".ipynb")
	}
}

// droppable tells whether root can run the program as somebody else.
func droppable() bool {
	_, err := exec.LookPath("setpriv")
	return !errors.Is(err, exec.ErrNotFound)
}
