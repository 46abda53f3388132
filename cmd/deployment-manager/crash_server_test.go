package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// crashVariable names the folder in which a server of a crash test writes
// which steps it reaches, and reads at which of them it has to die.
const crashVariable = "DM_TEST_CRASH"

const (
	reachedFile = "reached" // one line for each step, by all servers of the folder
	killFile    = "kill"    // "<step> <n>": die when the step is reached for the n-th time from now
)

// crashLockWait lets crash tests wait for orphans as long as the real program
// does; scripts that start a second server do not want to wait that long.
func crashLockWait() time.Duration {
	if os.Getenv(crashVariable) != "" {
		return 10 * time.Second
	}
	return time.Second
}

// bothSteps calls each that is there.
func bothSteps(a, b func(string)) func(string) {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func(name string) { a(name); b(name) }
}

// stepKills makes the step function of a server in a crash test.
func stepKills(folder string) func(string) {
	if folder == "" {
		return nil
	}
	reached, err := os.OpenFile(filepath.Join(folder, reachedFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return nil // the test finds that no step was reached
	}
	var mu sync.Mutex
	return func(name string) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = reached.WriteString(name + "\n")
		order, err := os.ReadFile(filepath.Join(folder, killFile))
		step, number, ok := strings.Cut(string(order), " ")
		if err != nil || !ok || step != name {
			return
		}
		left, _ := strconv.Atoi(number)
		if left > 1 {
			_ = os.WriteFile(filepath.Join(folder, killFile), fmt.Appendf(nil, "%s %d", step, left-1), 0o600)
			return
		}
		_ = os.Remove(filepath.Join(folder, killFile))
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing may happen after the step
	}
}

// crashServer is one life of the server.
type crashServer struct {
	cmd       *exec.Cmd
	addresses map[string]string // host:port by port name
	readyIn   time.Duration     // from the start of the process to "ready"
	ready     chan struct{}     // closed when it is ready or has ended
	exited    chan struct{}     // closed when it has ended
	err       error             // how it ended
}

// startCrashServer starts the real program and does not wait for it.
func startCrashServer(t *testing.T, folder string, options ...string) *crashServer {
	t.Helper()
	return startCrashServerUnder(t, folder, nil, options...)
}

// startCrashServerUnder does it through another program, which has to become the
// server, as a shell does with exec.
func startCrashServerUnder(t *testing.T, folder string, under []string, options ...string) *crashServer {
	t.Helper()
	program, err := exec.LookPath("deployment-manager")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"serve", "--data", filepath.Join(folder, "data"), "--auth", "insecure-pnda", "--log-format", "json",
		"--groups", "{publisher: [ana, ben, cyd, eva, fay]}",
		"--listen-packages", "127.0.0.1:0", "--listen-manager", "127.0.0.1:0", "--listen-git", "127.0.0.1:0"}, options...)
	words := append(append(slices.Clone(under), program), args...)
	s := &crashServer{cmd: exec.Command(words[0], words[1:]...), ready: make(chan struct{}), exited: make(chan struct{})}
	s.cmd.Dir = folder
	s.cmd.Env = isolated(folder, crashVariable+"="+folder, "GORACE="+os.Getenv("GORACE"))
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(folder, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		told := sync.OnceFunc(func() { close(s.ready) })
		lines := bufio.NewReader(stderr)
		for {
			line, err := lines.ReadString('\n')
			_, _ = log.WriteString(line)
			if err != nil {
				break
			}
			var entry map[string]any
			if json.Unmarshal([]byte(line), &entry) == nil && entry["msg"] == "ready" {
				s.readyIn, s.addresses = time.Since(begin), map[string]string{}
				for _, name := range []string{"packages", "manager", "git"} {
					s.addresses[name], _ = entry[name].(string)
				}
				told()
			}
		}
		_ = log.Close()
		s.err = s.cmd.Wait()
		close(s.exited)
		told()
	}()
	t.Cleanup(func() { s.kill(true); <-s.exited })
	return s
}

// kill ends the server as the kernel would. With children its git processes
// die too, as when a container is ended; without they live on as orphans.
func (s *crashServer) kill(children bool) {
	select {
	case <-s.exited: // its number may belong to somebody else
		return
	default:
	}
	pid := s.cmd.Process.Pid
	if children {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // it starts no further ones
		for _, child := range childrenOf(pid) {
			_ = syscall.Kill(-child, syscall.SIGKILL) // each leads a group
		}
	}
	_ = s.cmd.Process.Kill()
}

// childrenOf reads /proc, which Linux alone has; elsewhere there are none.
func childrenOf(parent int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var list []int
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		// pid (name) state parent group …
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if len(fields) < 3 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if group, _ := strconv.Atoi(fields[2]); pid > 1 && group == pid {
			list = append(list, pid)
		}
	}
	return list
}

// awaitExit fails the test unless the server ends by itself.
func (s *crashServer) awaitExit(t *testing.T, why string) {
	t.Helper()
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		t.Fatalf("the server lives on: %s", why)
	}
}

// leftovers finds what no server may leave behind once it is idle.
func leftovers(data string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name := d.Name()
		folder := filepath.Base(filepath.Dir(path))
		switch {
		case folder == "tmp" && strings.HasPrefix(name, "contents-"): // of the living server, which has some
			return fs.SkipDir
		case strings.HasSuffix(name, ".lock"), strings.HasPrefix(name, "tmp_"), strings.HasPrefix(name, ".tmp-"), strings.HasPrefix(name, "packed-refs-"), name == "packed-refs.new",
			folder == "tmp", filepath.Base(filepath.Dir(filepath.Dir(path))) == "damaged":
			found = append(found, path)
		case strings.HasPrefix(name, "pack-"):
			base := strings.TrimSuffix(path, filepath.Ext(path))
			for _, other := range []string{".pack", ".idx"} {
				if _, err := os.Stat(base + other); err != nil {
					found = append(found, path+" without "+other)
				}
			}
		}
		return nil
	})
	return found, err
}
