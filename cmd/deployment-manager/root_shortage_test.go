//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shortOf are calls to the kernel that fail because something is short, by what
// is short.
var shortOf = []struct{ name, calls, errno string }{
	{"files", "openat", "EMFILE"},
	{"files of the machine", "openat", "ENFILE"},
	{"memory of the kernel", "openat", "ENOMEM"},
	{"rights", "openat", "EACCES"},
	{"a disk that answers", "pread64,getdents64", "EIO"},
	{"a disk that opens", "openat,newfstatat", "EIO"},
	{"processes", "clone,clone3,vfork,fork", "EAGAIN"},
	{"memory of git", "mmap", "ENOMEM"},
}

// metric is what the server counts, or -1 when it does not answer.
func (w *crashWorld) metric(name string) int {
	status, body, err := w.send(http.MethodGet, "manager", "/metrics", "", "")
	if err != nil || status != http.StatusOK {
		return -1
	}
	n := -1
	for line := range strings.Lines(body) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			_, _ = fmt.Sscan(text, &n)
		}
	}
	return n
}

// allBack waits until nothing is out of service, without a restart, and wants
// that nothing was set aside meanwhile.
func (w *crashWorld) allBack(after string) {
	w.t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for w.metric("dm_unread_repositories") != 0 {
		if time.Now().After(deadline) {
			w.t.Fatalf("after a shortage of %s: %d repositories do not come back", after, w.metric("dm_unread_repositories"))
		}
		time.Sleep(20 * time.Millisecond)
	}
	noted, err := filepath.Glob(filepath.Join(w.folder, "data", "damaged", "*", "*"))
	if n := w.metric("dm_damaged_repositories"); err != nil || n != 0 || len(noted) != 0 {
		w.t.Fatalf("after a shortage of %s: %d repositories are set aside: %q %v", after, n, noted, err)
	}
}

// furnish makes some of everything.
func (w *crashWorld) furnish() {
	w.t.Helper()
	for _, err := range []error{
		w.publish("ana", "p-1.0.0", "first"), w.publish("ana", "p-1.1.0", "second"), w.deploy("ana", "p-1.0.0"), w.publish("ben", "q-1.0.0", "other"),
		w.create("ana", "app", "p-1.0.0", "one"), w.create("ben", "bapp", "p-1.0.0", "two"), w.change("ana", "app", "p-1.0.0", "three", "ana ben"),
	} {
		if err != nil {
			w.t.Fatal(err)
		}
	}
}

// TestRootShortageAtTheStart starts the server while a kind of call to the
// kernel fails, in it and in every git, and lets the calls go well a moment
// later. It may take its time or give up, but nothing may be set aside, and
// without a restart everything must be in service.
func TestRootShortageAtTheStart(t *testing.T) {
	rootTest(t, needTracing)
	t.Parallel()
	started, ended := 0, 0
	w := newCrashWorld(t)
	w.start()
	w.furnish()
	w.stop()
	for _, short := range shortOf {
		for _, from := range []int{1, 3, 9, 40} {
			if w.startShort(short.calls, short.errno, from) {
				started++
			} else {
				ended++
				w.start()
			}
			w.allBack(fmt.Sprintf("%s from call %d on, at the start", short.name, from))
			w.check()
			w.stop()
		}
	}
	w.verify()
	if started == 0 {
		t.Error("no start outlived a shortage")
	}
	tell("shortage at the start: %d went on, %d ended before they were ready; 0 repositories set aside (goal 0), all back without a restart", started, ended)
}

// startShort starts the server with failing calls, which end half a second
// later, and tells whether it got ready.
func (w *crashWorld) startShort(calls, errno string, from int) bool {
	w.t.Helper()
	strace, env, err := straceCommand()
	if err != nil {
		w.t.Fatal(err)
	}
	under := append([]string{"env"}, env...)
	under = append(under, strace, "-D", "-I1", "-f", "-qq", "-o", os.DevNull, "-e", "trace="+calls, "-e", fmt.Sprintf("inject=%s:error=%s:when=%d+", calls, errno, from))
	w.server = startCrashServerUnder(w.t, w.folder, under, w.options...)
	select {
	case <-w.server.ready:
	case <-time.After(500 * time.Millisecond):
	}
	w.endTracing()
	select {
	case <-w.server.ready:
	case <-time.After(readyWithin):
		w.t.Fatalf("%s from call %d on: not ready after %v", errno, from, readyWithin)
	}
	if w.server.addresses == nil {
		<-w.server.exited
		return false
	}
	w.awaitReady()
	return true
}

// endTracing lets the server go on alone.
func (w *crashWorld) endTracing() {
	w.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.server.cmd.Process.Pid))
	if err != nil {
		return // it has ended
	}
	for line := range strings.Lines(string(status)) {
		var tracer int
		if n, _ := fmt.Sscanf(line, "TracerPid: %d", &tracer); n == 1 && tracer > 1 {
			if err := syscall.Kill(tracer, syscall.SIGINT); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// TestRootShortageInUse lets a kind of call fail while the server changes its
// record, and looks at it, and then go well again.
func TestRootShortageInUse(t *testing.T) {
	rootTest(t, needTracing)
	t.Parallel()
	w := newCrashWorld(t, "--maintenance", "1s")
	w.start()
	w.furnish()
	refused, ended := 0, 0
	for _, short := range shortOf {
		for _, from := range []int{1, 7} {
			s, err := attach(w.server.cmd.Process.Pid, "-o", os.DevNull, "-e", "trace="+short.calls,
				"-e", fmt.Sprintf("inject=%s:error=%s:when=%d+", short.calls, short.errno, from))
			if err != nil {
				t.Fatal(err)
			}
			w.failing.Store(true)
			for _, err := range []error{
				w.run("ana", "app", map[bool]string{true: "start", false: "stop"}[from == 1]),
				w.publish("ana", fmt.Sprintf("p-2.%d.0", refused+100*from), "third"),
			} {
				if err != nil {
					refused++
				}
			}
			w.failing.Store(false)
			if err := s.detach(); err != nil {
				t.Fatal(err)
			}
			ended += w.outlived()
			w.allBack(short.name + " in use")
			if left, err := leftovers(filepath.Join(w.folder, "data")); err != nil || len(left) > 0 {
				w.stop() // what could not be removed goes with the next start
				w.start()
			}
			w.check()
		}
	}
	w.finish()
	if refused == 0 {
		t.Error("no change met a shortage")
	}
	tell("shortage in use: %d changes refused; 0 repositories set aside (goal 0); the server ended %d times for want of a thread or memory", refused, ended)
}

// outlived starts the server again when it ended: Go ends a program that gets no
// thread or no memory. It counts.
func (w *crashWorld) outlived() int {
	w.t.Helper()
	if _, _, err := send(http.MethodGet, "http://"+w.server.addresses["manager"]+"/livez", ""); err == nil {
		return 0
	}
	w.died()
	w.start()
	return 1
}

// TestRootFewFiles starts the server with a limit on its open files, which is
// raised a moment later.
func TestRootFewFiles(t *testing.T) {
	rootTest(t, needRoot)
	t.Parallel()
	w := newCrashWorld(t)
	w.start()
	w.furnish()
	w.stop()
	for _, files := range []int{12, 16, 20, 32, 64} {
		w.startLimited(fmt.Sprintf("ulimit -n %d", files), func() {
			_ = unix.Prlimit(w.server.cmd.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 4096, Max: 4096}, nil)
		})
		w.allBack(fmt.Sprintf("files, of which it had %d", files))
		w.check()
		w.stop()
	}
	w.verify()
	w.finished = true
}

// TestRootFewProcesses does it with a limit on processes and threads, as a pod
// has one, which comes and goes while the server works.
func TestRootFewProcesses(t *testing.T) {
	group := filepath.Join("/sys/fs/cgroup/pids", fmt.Sprintf("dm-test-%d", os.Getpid()))
	if _, err := os.Stat("/sys/fs/cgroup/pids"); err != nil {
		group = filepath.Join("/sys/fs/cgroup", filepath.Base(group)) // the newer hierarchy
	}
	limit := func(n string) error { return os.WriteFile(filepath.Join(group, "pids.max"), []byte(n), 0o600) }
	rootTest(t, needRoot, func() error {
		if err := os.Mkdir(group, 0o755); err != nil {
			return err
		}
		return limit("max")
	})
	t.Cleanup(func() { _ = os.Remove(group) })
	t.Parallel()
	w := newCrashWorld(t)
	w.start()
	w.furnish()
	w.stop()
	went, ended := 0, 0
	for _, processes := range []int{6, 14} {
		if err := limit(fmt.Sprint(processes)); err != nil {
			t.Fatal(err)
		}
		// The shell has no process to spare, so it must not start one.
		w.startLimited(fmt.Sprintf("echo $$ >%s/cgroup.procs", group), func() { _ = limit("max") })
		w.allBack(fmt.Sprintf("processes, of which there were %d", processes))
		w.check()

		// No further thread, and no git.
		member := os.WriteFile(filepath.Join(group, "cgroup.procs"), fmt.Append(nil, w.server.cmd.Process.Pid), 0o600)
		if err := errors.Join(member, limit("1")); err != nil {
			t.Fatal(err)
		}
		w.failing.Store(true)
		w.client.Timeout = 3 * time.Second // it may get no thread to answer with
		first := w.publish("ana", fmt.Sprintf("p-3.%d.0", processes), "third")
		second := w.create("ana", fmt.Sprintf("n%d", processes), "p-1.0.0", "one")
		w.failing.Store(false)
		w.client.Timeout = 30 * time.Second
		if err := limit("max"); err != nil {
			t.Fatal(err)
		}
		if w.outlived() > 0 {
			ended++
		} else if went++; first == nil && second == nil {
			t.Errorf("with one process allowed nothing was refused")
		}
		w.allBack("processes in use")
		if left, err := leftovers(filepath.Join(w.folder, "data")); err != nil || len(left) > 0 {
			w.stop()
			w.start()
		}
		w.check()
		w.stop()
	}
	w.verify()
	w.finished = true
	tell("few processes: %d went on, %d ended for want of a thread; 0 repositories set aside (goal 0)", went, ended)
}

// startLimited starts the server under what a shell sets first, and lifts the
// limit half a second later. A server that could not start is started again.
func (w *crashWorld) startLimited(set string, lift func()) {
	w.t.Helper()
	w.server = startCrashServerUnder(w.t, w.folder, []string{"sh", "-c", set + `; exec "$@"`, "sh"}, w.options...)
	select {
	case <-w.server.ready:
	case <-time.After(500 * time.Millisecond):
	}
	lift()
	select {
	case <-w.server.ready:
	case <-time.After(readyWithin):
		w.t.Fatalf("%s: not ready after %v", set, readyWithin)
	}
	if w.server.addresses == nil {
		<-w.server.exited
		w.start()
		return
	}
	w.awaitReady()
}
