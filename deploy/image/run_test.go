package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what takes a second or two.
const patience = 2 * time.Minute

// enter runs a command in the folder $1 as a container would: as the image's
// user, with the system read-only, its own /proc, the data in the folder $2, and
// nothing to write but that. All of it ends with the shell.
const enter = `set -eu
root=$1 data=$2; shift 2
mount --bind "$root" "$root"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount --bind "$data" "$root/data"
mount -o remount,bind,ro "$root"
exec chroot --userspec=10001:10001 --groups= "$root" "$@"`

// container is the image unpacked.
type container struct {
	root, data string
	environ    []string
}

func needNamespaces(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "mounts and processes of one's own take root")
	}
	if err := exec.Command("unshare", "--mount", "--pid", "--fork", "true").Run(); err != nil {
		skip(t, "this machine does not let root make namespaces: "+err.Error())
	}
}

func newContainer(t *testing.T, i *contained) *container {
	t.Helper()
	needNamespaces(t)
	c := &container{root: filepath.Join(t.TempDir(), "root"), data: t.TempDir(), environ: i.config.Config.Env}
	if err := i.tree.extract(c.root); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{filepath.Dir(c.data), c.data} {
		if err := os.Chmod(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(c.data, userID, userID); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *container) command(ctx context.Context, args ...string) *exec.Cmd {
	words := append([]string{"--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", enter, "sh", c.root, c.data}, args...)
	cmd := exec.CommandContext(ctx, "unshare", words...)
	cmd.Env = c.environ
	return cmd
}

func (c *container) output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := c.command(t.Context(), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
	return string(out)
}

// testRuns runs the image for real: git, and the server on a read-only system.
func testRuns(t *testing.T, i *contained) {
	c := newContainer(t, i)
	if got := c.output(t, "sh", "-c", "id -u; id -g; id -un; id -G; ! touch /tmp/x 2>/dev/null && touch /data/x && rm /data/x && echo read-only | awk '{print $1}'"); got != "10001\n10001\ndeployment-manager\n10001\nread-only\n" {
		t.Errorf("a shell says %q", got)
	}
	var major, minor int
	if _, err := fmt.Sscanf(c.output(t, "git", "--version"), "git version %d.%d", &major, &minor); err != nil || major < 2 || major == 2 && minor < 39 {
		t.Errorf("git is %d.%d, %v; want 2.39 or newer", major, minor, err)
	}
	s := c.serve(t)
	s.put(t, s.packages+"/packages/flow-report-1.0.0.tar.gz?user.name=ana", example(t), http.StatusOK)
	s.put(t, s.manager+"/packages/flow-report-1.0.0?user.name=ana", nil, http.StatusAccepted)
	s.await(t, s.manager+"/packages/flow-report-1.0.0/status", "DEPLOYED")
	s.put(t, s.manager+"/applications/noon?user.name=pnda", []byte(`{"package": "flow-report-1.0.0"}`), http.StatusAccepted)
	s.await(t, s.manager+"/applications/noon/status", "CREATED")
	// git of the image clones over HTTP, works, and finds all in order.
	got := c.output(t, "sh", "-c", `set -e
git -c advice.detachedHead=false clone -q `+s.git+`/jupyter-pnda /data/clone
cd /data/clone && ls noon && git log -1 --format=%s >/dev/null && git fsck --strict 2>&1 && git gc -q && git repack -adq
for r in /data/packages/*.git /data/applications/*.git /data/users/*.git; do git -C $r fsck --strict --no-dangling 2>&1 && echo sound; done`)
	if strings.Count(got, "sound\n") != 3 || !strings.Contains(got, "flow-report.ipynb\n") {
		t.Errorf("git of the image says\n%s", got)
	}
	// And a pod gets its program with git alone.
	got = c.output(t, "sh", "-c", `set -e
git init -q --bare /data/cache && cd /data/cache
for p in amd64 arm64; do
	git fetch -q --depth 1 `+s.git+`/tools.git $p
	test "$(git cat-file blob FETCH_HEAD:deployment-manager-sync-$p | sha256sum)" = "$(sha256sum </usr/local/bin/deployment-manager-sync-$p)"
	echo same
done`)
	if got != "same\nsame\n" {
		t.Errorf("a pod gets %s", got)
	}
	s.stop(t)
	c.output(t, program, "verify")
}

// served is a server that runs in a container.
type served struct {
	packages, manager, git string
	cmd                    *exec.Cmd
	log                    *bytes.Buffer
	read                   chan struct{} // closed when all of the log is read
}

// serve starts the image's entry point and command. The addresses are replaced:
// the image listens on all, and this test must not.
func (c *container) serve(t *testing.T) *served {
	t.Helper()
	cmd := c.command(context.WithoutCancel(t.Context()), program, "serve")
	cmd.Env = append(cmd.Env, "DM_AUTH=insecure-pnda", "DM_LOG_FORMAT=json",
		"DM_LISTEN_PACKAGES=127.0.0.1:0", "DM_LISTEN_MANAGER=127.0.0.1:0", "DM_LISTEN_GIT=127.0.0.1:0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &served{cmd: cmd, log: &bytes.Buffer{}, read: make(chan struct{})}
	ready := make(chan map[string]any, 1)
	go s.follow(out, ready)
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // fine when it has ended
	select {
	case told := <-ready:
		s.packages, s.manager, s.git = fmt.Sprint("http://", told["packages"]), fmt.Sprint("http://", told["manager"]), fmt.Sprint("http://", told["git"])
	case <-s.read:
		t.Fatalf("the server ended: %s", s.log)
	case <-time.After(patience):
		t.Fatal("the server is not ready")
	}
	return s
}

// follow keeps the log, and tells the addresses in it.
func (s *served) follow(out io.Reader, ready chan<- map[string]any) {
	defer close(s.read)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		s.log.Write(append(lines.Bytes(), '\n'))
		entry := map[string]any{}
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry["msg"] == "ready" {
			ready <- entry
		}
	}
}

// stop ends the server as a runtime of containers does, and waits.
func (s *served) stop(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(s.server(t), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.read:
	case <-time.After(patience):
		t.Fatal("the server does not end")
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v: %s", err, s.log)
	}
}

// server is the process below unshare; SIGTERM to that one would not reach it.
func (s *served) server(t *testing.T) int {
	t.Helper()
	pid := strconv.Itoa(s.cmd.Process.Pid)
	content, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	return child
}

func (s *served) put(t *testing.T, url string, body []byte, want int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if got, text := send(t, request); got != want {
		t.Fatalf("PUT %s: %d %s, want %d", url, got, text, want)
	}
}

// await polls until the status is want.
func (s *served) await(t *testing.T, url, want string) {
	t.Helper()
	said := regexp.MustCompile(`"status": ?"` + want + `"`)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		code, text := send(t, request)
		if code == http.StatusOK && said.MatchString(text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s says %d %s, want %s", url, code, text, want)
		}
	}
}

func send(t *testing.T, request *http.Request) (int, string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{}} // no proxy: it is this machine
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// example is the package flow-report-1.0.0.
func example(t *testing.T) []byte {
	t.Helper()
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	out := tar.NewWriter(zip)
	files := os.DirFS("../examples")
	err := fs.WalkDir(files, "flow-report-1.0.0", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		return writeFile(out, name, content)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}
