package sync_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestKilled ends the script and its git at random moments, without a chance to
// clean up. The next run brings the folder to where it would have come, and
// nothing of the user is lost on the way.
func TestKilled(t *testing.T) {
	t.Parallel()
	for worker := range 2 {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			all := files{"README.ipynb": "read me"}
			for i := range 150 {
				all[fmt.Sprintf("app/f%03d.ipynb", i)] = strings.Repeat("one ", 500)
			}
			l.deliver(all)
			l.sync()
			random := rand.New(rand.NewPCG(uint64(worker), 7))
			longest := 400 * time.Millisecond
			for round := range rounds(t, 1) {
				l.killedRound(random, all, round, longest)
			}
		})
	}
}

// rounds is how long a random test goes on: n times, or DM_TEST_ROUNDS.
func rounds(t *testing.T, n int) int {
	t.Helper()
	if text := os.Getenv("DM_TEST_ROUNDS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// killedRound makes edits and a delivery, kills two runs and lets one finish.
func (l *lab) killedRound(random *rand.Rand, all files, round int, longest time.Duration) {
	l.Helper()
	mine, lost := files{}, files{}
	for i := range 150 {
		name := fmt.Sprintf("app/f%03d.ipynb", i)
		switch random.IntN(12) {
		case 0:
			mine[name] = fmt.Sprintf("mine %d", round)
			all[name] = fmt.Sprintf("theirs %d", round)
		case 1, 2, 3:
			delete(all, name)
		default:
			all[name] = strings.Repeat(fmt.Sprintf("round %d ", round), 1+random.IntN(1000))
		}
	}
	l.write(mine)
	version := l.deliver(all)
	for range 2 {
		cmd := l.command(l.Context())
		l.must(cmd.Start())
		time.Sleep(time.Duration(random.Int64N(int64(longest))))
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()
	}
	l.sync()
	got := l.there()
	for name, content := range mine {
		if got[name] != content {
			l.Fatalf("round %d: %s is %.40q, want the user's", round, name, got[name])
		}
		beside := strings.TrimSuffix(name, ".ipynb") + "." + version + ".ipynb"
		if want := all[name]; got[beside] != want {
			l.Errorf("round %d: %s is %.40q, want the server's", round, beside, got[beside])
		}
		lost[name], lost[beside] = "", ""
	}
	for name, want := range all {
		if _, edited := lost[name]; !edited && got[name] != want {
			l.Errorf("round %d: %s is %.40q (%d), want %.40q (%d)", round, name, got[name], len(got[name]), want, len(want))
		}
	}
	for name := range got {
		if _, wanted := all[name]; !wanted {
			if _, ours := lost[name]; !ours {
				l.Errorf("round %d: %s is there and must not be", round, name)
			}
		}
	}
	// Next round begins without the user's files, as the server has it.
	for name := range lost {
		_ = os.Remove(l.path(name)) // the copy may not be there
		if want, ok := all[name]; ok {
			l.write(files{name: want})
		}
	}
	if l.Failed() {
		log, _ := os.ReadFile(l.path(".git/deployment-manager/log")) // there may be none
		l.Fatalf("the log:\n%s", log)
	}
}

// TestTogether runs several at once: they take turns, and each ends well.
func TestTogether(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	content := files{}
	for i := range 100 {
		content[fmt.Sprintf("app/f%d", i)] = fmt.Sprint(i)
	}
	l.deliver(content)
	var group sync.WaitGroup
	for i := range 5 {
		group.Go(func() {
			cmd := l.command(t.Context())
			if out, err := cmd.CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "apps-notebooks: up to date") {
				t.Errorf("run %d: %v, %q", i, err, out)
			}
		})
	}
	group.Wait()
	l.want(content)
}

// TestOneAtATime: while one run works another one does nothing, and says so;
// when the first is killed, the next one works at once.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	asked := make(chan struct{}, 10)
	l.failWith(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		hang(w, r)
	})
	slow := l.command(t.Context(), "DM_SYNC_SECONDS=300")
	l.must(slow.Start())
	<-asked
	l.failWith(nil)
	l.bounded(5, "another run is at work")
	l.must(syscall.Kill(-slow.Process.Pid, syscall.SIGKILL))
	_ = slow.Wait()            // it was killed
	l.CloseClientConnections() // of the git that it leaves, which would wait as long
	begin := time.Now()
	l.sync()
	if took := time.Since(begin); took > time.Minute {
		t.Errorf("the next run took %v", took)
	}
	l.want(first)
}

// TestSavedMeanwhile saves files, in both ways of editors, after the program began
// to write others. What was saved stays.
func TestSavedMeanwhile(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	const last = 2000
	name := func(i int) string { return fmt.Sprintf("app/f%04d.ipynb", i) }
	all := files{}
	for i := range last + 1 {
		all[name(i)] = "one"
	}
	l.deliver(all)
	l.sync()
	for i := range last {
		all[name(i)] = "two"
	}
	delete(all, name(last))
	version := l.deliver(all)
	// The program goes on after its first file only when all is saved, however
	// slow this test is.
	went := filepath.Join(l.root, "saved")
	cmd := l.command(t.Context(), pause+"=exchange:"+went)
	l.must(cmd.Start())
	eventually(t, "the first file is written", func() bool {
		content, err := os.ReadFile(l.path(name(0)))
		return err == nil && string(content) == "two"
	})
	l.write(files{name(last - 1): "mine", name(100): "mine", name(last): "mine", "app/.aside": "mine"})
	l.must(os.Rename(l.path("app/.aside"), l.path(name(last-2))))
	l.must(os.WriteFile(went, nil, 0o600))
	l.must(cmd.Wait())
	l.sync()
	for _, i := range []int{100, last - 2, last - 1, last} {
		all[name(i)] = "mine"
	}
	for _, i := range []int{100, last - 2, last - 1} {
		all[strings.TrimSuffix(name(i), ".ipynb")+"."+version+".ipynb"] = "two"
	}
	l.want(all)
}

// TestManyFiles: the work grows with git's, not with a process for each file. What
// counts is how long a processor is busy with it; who waits for one waits longer.
func TestManyFiles(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	all := files{}
	for i := range 5000 {
		all[fmt.Sprintf("app/part %d/file %d.ipynb", i/100, i)] = fmt.Sprint("one ", i)
	}
	for _, name := range []string{"the first run", "the same again", "an upgrade"} {
		if name == "an upgrade" {
			for i := range 2500 {
				all[fmt.Sprintf("app/part %d/file %d.ipynb", i/100, i)] = fmt.Sprint("two ", i)
			}
		}
		if name != "the same again" {
			l.deliver(all)
		}
		begin := time.Now()
		l.sync()
		took := time.Since(begin)
		t.Logf("%s: %v, a processor is busy for %v", name, took, l.used)
		if l.used > 15*time.Second {
			t.Errorf("%s kept a processor busy for %v", name, l.used)
		}
		l.want(all)
	}
}
