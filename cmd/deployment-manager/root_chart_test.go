//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// podGroup is a control group with the limits of a pod.
type podGroup struct {
	t       *testing.T
	folders []string // one for memory and one for processes, or one for both
	memory  string   // file that tells the most that was used
	killed  string   // file that tells how many were killed
	pids    string   // file that tells the most processes and threads
}

// needGroups tells why this machine can't make control groups.
func needGroups() error {
	for _, folder := range []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids"} {
		if unix.Access(folder, unix.W_OK) != nil {
			text, err := os.ReadFile("/sys/fs/cgroup/cgroup.subtree_control")
			if err != nil || !strings.Contains(string(text), "memory") || !strings.Contains(string(text), "pids") ||
				unix.Access("/sys/fs/cgroup", unix.W_OK) != nil {
				return errors.New("control groups for memory and processes cannot be made")
			}
		}
	}
	return nil
}

func newPodGroup(t *testing.T, memory int64, pids int) *podGroup {
	t.Helper()
	name := fmt.Sprintf("dm-test-%d", os.Getpid())
	g := &podGroup{t: t}
	write := func(folder, file, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	folder := func(parent string) string {
		t.Helper()
		path := filepath.Join(parent, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		g.folders = append(g.folders, path)
		t.Cleanup(func() { _ = os.Remove(path) })
		return path
	}
	if unix.Access("/sys/fs/cgroup/memory", unix.W_OK) == nil {
		m, p := folder("/sys/fs/cgroup/memory"), folder("/sys/fs/cgroup/pids")
		write(m, "memory.limit_in_bytes", strconv.FormatInt(memory, 10))
		write(p, "pids.max", strconv.Itoa(pids))
		g.memory, g.killed, g.pids = filepath.Join(m, "memory.max_usage_in_bytes"), filepath.Join(m, "memory.oom_control"), filepath.Join(p, "pids.current")
		return g
	}
	both := folder("/sys/fs/cgroup")
	write(both, "memory.max", strconv.FormatInt(memory, 10))
	write(both, "memory.swap.max", "0")
	write(both, "pids.max", strconv.Itoa(pids))
	g.memory, g.killed, g.pids = filepath.Join(both, "memory.peak"), filepath.Join(both, "memory.events"), filepath.Join(both, "pids.current")
	return g
}

// add moves a process, and all that it starts from now on, into the group.
func (g *podGroup) add(pid int) {
	g.t.Helper()
	for _, folder := range g.folders {
		if err := os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			g.t.Fatal(err)
		}
	}
}

// number reads the number in a file, behind a word if there is one.
func (g *podGroup) number(file, word string) int64 {
	g.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return -1 // not every kernel tells it
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), word); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
			if err != nil {
				g.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// TestRootChartLimits puts the server into a pod's limits as the chart has them,
// and lets 64 clone, 32 create what fills nearly as much as may be, and one
// upload, at once. Nobody may be killed, and whoever is refused is told when to
// come again.
func TestRootChartLimits(t *testing.T) {
	rootTest(t, needRoot, needGroups)
	const pids, files = 1024, 1024 // what the chart says is enough
	v := readChart(t)
	group := newPodGroup(t, v.memory(t), pids)
	folder := t.TempDir()
	environ := []string{"HOME=" + folder, "PATH=" + os.Getenv("PATH"), "GOMEMLIMIT=" + v.GoMemoryLimit}
	server, err := launch(folder, filepath.Join(folder, "data"), environ, []string{"--auth", "insecure-pnda"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.end(syscall.SIGTERM); err != nil {
			t.Errorf("the server ended: %v", err)
		}
	})
	pid := server.cmd.Process.Pid
	group.add(pid)
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: files, Max: files}, nil); err != nil {
		t.Fatal(err)
	}
	b := &besieged{runningServer: server, t: t, folder: folder}
	b.rest(http.StatusOK, http.MethodPut, "packages", "/packages/big-1.0.0.tar.gz", string(chartArchive(t, "big-1.0.0", 20)))
	b.rest(http.StatusOK, http.MethodPut, "packages", "/packages/bomb-1.0.0.tar.gz", string(chartArchive(t, "bomb-1.0.0", 0)))
	for _, id := range []string{"big-1.0.0", "bomb-1.0.0"} {
		b.rest(http.StatusAccepted, http.MethodPut, "manager", "/packages/"+id, "")
		b.await("/packages/"+id+"/status", "DEPLOYED")
	}
	b.rest(http.StatusAccepted, http.MethodPut, "manager", "/applications/first", `{"package":"big-1.0.0"}`)
	b.await("/applications/first/status", "CREATED")
	upload := chartArchive(t, "large-1.0.0", 200)

	begin := time.Now()
	most := int64(0)
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for {
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
				most = max(most, group.number(group.pids, ""))
			}
		}
	}()
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			into := filepath.Join(folder, fmt.Sprint("clone-", i))
			if out, err := gitAs(folder, "clone", "-q", "--bare", "http://"+b.addresses["git"]+"/jupyter-ana", into); err != nil {
				t.Errorf("clone %d: %v: %s", i, err, out)
			}
			_ = os.RemoveAll(into)
		})
	}
	var refused atomic.Int64
	put := func(port, path, body string, want int) {
		for deadline := time.Now().Add(5 * time.Minute); ; {
			request, err := http.NewRequest(http.MethodPut, "http://"+b.addresses[port]+path+"?user.name=ana", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			client := &http.Client{Timeout: 5 * time.Minute}
			response, err := client.Do(request)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return
			}
			text, _ := io.ReadAll(response.Body)
			_ = response.Body.Close()
			switch {
			case response.StatusCode == want:
				return
			case response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" || time.Now().After(deadline):
				t.Errorf("%s: %s: %s", path, response.Status, text)
				return
			}
			refused.Add(1)
		}
	}
	for i := range 32 {
		all.Go(func() {
			put("manager", fmt.Sprint("/applications/a", i), `{"package":"bomb-1.0.0","jupyter":{"c":{"long":"`+strings.Repeat("x", 50_000)+`"}}}`, http.StatusAccepted)
		})
	}
	all.Go(func() { put("packages", "/packages/large-1.0.0.tar.gz", string(upload), http.StatusOK) })
	all.Wait()
	for i := range 32 {
		b.await(fmt.Sprint("/applications/a", i, "/status"), "CREATED")
	}
	took := time.Since(begin)
	close(ended)
	<-watched
	if n := group.number(group.killed, "oom_kill "); n != 0 {
		t.Errorf("%d processes were killed for memory", n)
	}
	if most > pids*3/4 {
		t.Errorf("%d processes and threads at once, too near to %d", most, pids)
	}
	tell("chart: 64 clones, 32 creates of 60 MB and an upload of 200 MB at once in %d MiB: 0 killed, %d MiB at most with files, %d processes and threads, %d answers 503; %v",
		v.memory(t)>>20, group.number(group.memory, "")>>20, most, refused.Load(), took.Round(time.Second))
}

// gitAs runs the real client.
func gitAs(home string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// chartArchive is a package with a notebook, so many MiB that can't be
// compressed, and two files that become 30 MB each when a long value is filled.
func chartArchive(t *testing.T, id string, mib int) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	add := func(name string, content []byte) {
		t.Helper()
		err := w.WriteHeader(&tar.Header{Name: id + "/jupyter/c/" + name, Mode: 0o644, Size: int64(len(content))})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add("x.ipynb", []byte(`{"cells":[]}`))
	for i := range mib {
		noise := make([]byte, 1<<20)
		_, _ = rand.Read(noise)
		add(fmt.Sprintf("%03d.bin", i), noise)
	}
	if mib == 0 {
		for _, name := range []string{"a.txt", "b.txt"} {
			add(name, bytes.Repeat([]byte("${component_long} "), 600))
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
