package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pndaproject/deployment-manager/gitstore/pushtest"
)

// besieged is a real server that gets hostile pushes.
type besieged struct {
	*runningServer
	t      *testing.T
	folder string
	client *http.Client
}

// startBesieged starts a server with small limits, and a record in which there
// is something to lose.
func startBesieged(t *testing.T, options ...string) *besieged {
	t.Helper()
	b := &besieged{t: t, folder: t.TempDir(), client: &http.Client{Timeout: time.Minute}}
	b.start(options...)
	t.Cleanup(func() {
		if err := b.end(syscall.SIGTERM); err != nil {
			t.Errorf("the server ended: %v", err)
		}
		if text, err := os.ReadFile(filepath.Join(b.folder, "server.log")); t.Failed() && err == nil {
			t.Logf("the end of the server's log:\n%s", text[max(0, len(text)-4000):])
		}
	})
	for i, version := range []string{"1.0.0", "1.1.0"} {
		b.publish("wind-"+version, fmt.Sprint("wind ", i))
		b.publish("flow-"+version, fmt.Sprint("flow ", i))
		b.rest(http.StatusAccepted, http.MethodPut, "manager", "/packages/flow-"+version, "")
	}
	b.publish("other-1.0.0", "what only the other package has")
	b.rest(http.StatusOK, http.MethodDelete, "packages", "/packages/wind-1.1.0.tar.gz", "")
	b.await("/packages/flow-1.1.0/status", "DEPLOYED")
	b.rest(http.StatusAccepted, http.MethodPut, "manager", "/applications/noon-run", `{"package":"flow-1.0.0"}`)
	b.await("/applications/noon-run/status", "CREATED")
	b.rest(http.StatusAccepted, http.MethodPost, "manager", "/applications/noon-run/start", "")
	b.await("/applications/noon-run/status", "STARTED")
	return b
}

func (b *besieged) start(options ...string) {
	b.t.Helper()
	environ := []string{"HOME=" + b.folder, "PATH=" + os.Getenv("PATH"), "TZ=UTC", "GORACE=atexit_sleep_ms=0"}
	options = append([]string{"--auth", "insecure-pnda", "--limits-wire", "2MiB", "--limits-unpacked", "16MiB", "--limits-file", "1MiB",
		"--limits-entries", "15000"}, options...)
	var err error
	if b.runningServer, err = launch(b.folder, filepath.Join(b.folder, "data"), environ, options); err != nil {
		b.t.Fatal(err)
	}
}

// publish uploads a package with one notebook of a text.
func (b *besieged) publish(id, text string) {
	b.t.Helper()
	b.rest(http.StatusOK, http.MethodPut, "packages", "/packages/"+id+".tar.gz", string(crashArchive(id, text)))
}

// rest sends a request of ana and wants the status.
func (b *besieged) rest(want int, method, port, path, body string) string {
	b.t.Helper()
	status, answer, err := send(method, "http://"+b.addresses[port]+path+"?user.name=ana", body)
	if err != nil || status != want {
		b.t.Fatalf("%s %s: status %d, %v: %s; want %d", method, path, status, err, answer, want)
	}
	return answer
}

// await waits for a status of the manager.
func (b *besieged) await(path, want string) {
	b.t.Helper()
	if err := poll(func() (bool, string) {
		return strings.Contains(b.rest(http.StatusOK, http.MethodGet, "manager", path, ""), `"`+want+`"`), path + " is " + want
	}); err != nil {
		b.t.Fatal(err)
	}
}

// repository is where the server keeps "packages/wind" and the like.
func (b *besieged) repository(name string) string {
	return filepath.Join(b.folder, "data", name+".git")
}

// git asks the real git of a repository.
func (b *besieged) git(name string, args ...string) string {
	b.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "safe.directory=*", "--git-dir", b.repository(name)}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.folder, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull}
	out, err := cmd.Output()
	if err != nil {
		b.t.Fatalf("git %v: %v", args, err)
	}
	if args[0] == "cat-file" {
		return string(out)
	}
	return strings.TrimSpace(string(out))
}

// The two repositories that are pushed to.
const (
	windPackage = "packages/wind"
	noonRun     = "applications/noon-run"
)

// front is one of the repositories that are pushed to.
type front struct {
	name, user string
	next       int
}

// target is what there is to build on in a repository now. A push that it
// allows is a new version, or takes the application to its other package.
func (b *besieged) target(f *front) pushtest.Target {
	b.t.Helper()
	other := func(rev string) string { return b.git("packages/other", "rev-parse", rev) }
	t := pushtest.Target{
		Ref: fmt.Sprintf("refs/tags/v2.0.%d", f.next), Spec: `{"package": "flow-1.1.0"}`,
		Tree: b.git(f.name, "rev-parse", someTree[f.name]), Blob: b.git(f.name, "rev-parse", someTree[f.name]+"jupyter/report/report.ipynb"),
		ForeignCommit: other("main"), ForeignTree: other("main:"), ForeignBlob: other("main:jupyter/report/report.ipynb"),
	}
	f.next++
	t.BlobContent, t.ForeignContent = b.git(f.name, "cat-file", "blob", t.Blob), b.git("packages/other", "cat-file", "blob", t.ForeignBlob)
	if f.name == windPackage {
		t.Hidden = b.git(f.name, "rev-parse", "refs/superseded/1.1.0/1^{commit}")
		return t
	}
	t.Main = b.git(f.name, "rev-parse", "main^{tree}")
	t.Ref, t.Old, t.Hidden = "refs/heads/main", b.git(f.name, "rev-parse", "main"), b.git(f.name, "rev-parse", "refs/deployments/1")
	if strings.Contains(b.git(f.name, "show", "main:application.json"), "flow-1.1.0") {
		t.Spec = strings.Replace(t.Spec, "1.1.0", "1.0.0", 1)
	}
	return t
}

// someTree is what a repository has whatever else is pushed to it.
var someTree = map[string]string{windPackage: "refs/tags/1.0.0^{commit}:", noonRun: "main:package/"}

// answer is what a push was told.
type answer struct {
	status int
	raw    string // the body
	report string // of git: unpack, ok and ng
	said   string // "remote:" lines
}

func (a answer) String() string {
	return fmt.Sprintf("status %d, report %q, said %q", a.status, a.report, a.said)
}

// accepted tells whether the ref moved.
func (a answer) accepted(ref string) bool { return strings.Contains(a.report, "ok "+ref+"\n") }

// push sends the body of a push as it is.
func (b *besieged) push(repository, user string, body []byte) (answer, error) {
	r, err := http.NewRequest(http.MethodPost, "http://"+b.addresses["git"]+"/"+repository+".git/git-receive-pack", bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	r.SetBasicAuth(user, "any")
	r.Header.Set("Content-Type", "application/x-git-receive-pack-request")
	response, err := b.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	a := answer{status: response.StatusCode, raw: string(text)}
	bands := map[byte]*strings.Builder{1: {}, 2: {}, 3: {}}
	for rest := a.raw; len(rest) > 4; {
		n, err := strconv.ParseUint(rest[:4], 16, 16)
		if n = max(n, 4); err != nil || int(n) > len(rest) {
			break
		}
		if n > 4 && bands[rest[4]] != nil {
			bands[rest[4]].WriteString(rest[5:n])
		}
		rest = rest[n:]
	}
	for rest := bands[1].String(); len(rest) > 4; {
		n, err := strconv.ParseUint(rest[:4], 16, 16)
		if n = max(n, 4); err != nil || int(n) > len(rest) {
			break
		}
		a.report += rest[4:n]
		rest = rest[n:]
	}
	a.said = bands[2].String() + bands[3].String()
	return a, err
}

// holdings is every ref of a repository and every file of its objects.
func (b *besieged) holdings(repository string) string {
	var list strings.Builder
	err := filepath.WalkDir(b.repository(repository), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		place, err := filepath.Rel(b.repository(repository), path)
		fmt.Fprintln(&list, place)
		if err == nil && !strings.HasPrefix(place, "objects") {
			var text []byte
			text, err = os.ReadFile(path)
			list.Write(text)
		}
		return err
	})
	if err != nil {
		b.t.Error(err)
	}
	return list.String()
}

// tmp is what lies in the folder for temporary files.
func (b *besieged) tmp() []string {
	entries, err := os.ReadDir(filepath.Join(b.folder, "data", "tmp"))
	if err != nil {
		b.t.Error(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// peak is the most memory that the server ever had, in MiB.
func (b *besieged) peak() int {
	b.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.cmd.Process.Pid))
	if err != nil {
		b.t.Skip("no /proc here")
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		b.t.Fatal(err)
	}
	return kb >> 10
}

// verify stops the server, proves the record with the program's own command
// and starts the server again.
func (b *besieged) verify() {
	b.t.Helper()
	if err := b.end(syscall.SIGTERM); err != nil {
		b.t.Fatalf("the server ended: %v", err)
	}
	program, err := exec.LookPath("deployment-manager")
	if err != nil {
		b.t.Fatal(err)
	}
	cmd := exec.Command(program, "verify", "--data", filepath.Join(b.folder, "data"))
	cmd.Env = []string{"HOME=" + b.folder, "PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"}
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Errorf("verify: %v\n%s", err, out)
	}
	b.start()
}
