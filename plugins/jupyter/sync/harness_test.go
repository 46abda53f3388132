package sync_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync"
)

const (
	user  = "ana"
	token = "5ecre7-0f-ana"
	// usual is the time that a run has when the test is not about time: no
	// machine is so busy that it is too short.
	usual = "DM_SYNC_SECONDS=150"
)

// asProgram is the variable that makes the test's own binary the program.
const asProgram = "DM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) == "" {
		os.Exit(m.Run())
	}
	os.Exit(sync.Main(os.Args[1:], sync.Config{Getenv: os.Getenv, Stdout: os.Stdout, Stderr: os.Stderr, Before: interference()}))
}

// shells are dash, which most images have as sh, and bash. DM_TEST_SHELLS=all has
// all that people's images have, which make test-image brings.
func shells(t *testing.T) [][]string {
	t.Helper()
	all := [][]string{{"dash"}, {"bash", "--posix"}}
	if os.Getenv("DM_TEST_SHELLS") == "all" {
		all = append(all, [][]string{{"busybox", "sh"}, {"mksh"}, {"ksh93"}, {"yash"}}...)
	}
	for _, shell := range all {
		if _, err := exec.LookPath(shell[0]); err != nil {
			t.Fatalf("the shell %s is not installed", shell[0])
		}
	}
	return all
}

// lab is a server with one user's workspace, and a home of that user.
type lab struct {
	*testing.T
	*httptest.Server
	shell   []string
	name    string // of the user
	root    string
	script  string
	env     []string // beside the usual
	as      []string // the program's line begins with this
	commits int
	used    time.Duration                    // of a processor, by the last run and what it started
	serve   http.HandlerFunc                 // what a sound server does
	fail    atomic.Pointer[http.HandlerFunc] // answers instead of it
}

func newLab(t *testing.T, shell []string) *lab {
	t.Helper()
	l := &lab{T: t, shell: shell, name: user, root: t.TempDir()}
	l.script = filepath.Join(l.root, "sync.sh")
	l.must(os.WriteFile(l.script, sync.Script(), 0o600))
	l.must(os.Mkdir(l.home(), 0o700))
	l.git("init", "-q", "--bare", "--initial-branch=main", l.repository())
	l.git("--git-dir", l.repository(), "config", "http.uploadpack", "true")
	execPath := strings.TrimSpace(l.git("--exec-path"))
	backend := &cgi.Handler{
		Path: filepath.Join(execPath, "git-http-backend"),
		Env:  append(l.isolated(), "GIT_PROJECT_ROOT="+l.root, "GIT_HTTP_EXPORT_ALL=1"),
	}
	l.serve = func(w http.ResponseWriter, r *http.Request) {
		if name, password, ok := r.BasicAuth(); !ok || name != l.name || password != token {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if rest, ok := strings.CutPrefix(r.URL.Path, "/jupyter-"+l.name); ok {
			r.URL.Path = "/workspace.git" + rest
		}
		if protocol := r.Header.Get("Git-Protocol"); protocol != "" {
			with := *backend
			with.Env = append(slices.Clone(backend.Env), "GIT_PROTOCOL="+protocol)
			with.ServeHTTP(w, r)
			return
		}
		backend.ServeHTTP(w, r)
	}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fail := l.fail.Load(); fail != nil {
			(*fail)(w, r)
			return
		}
		l.serve(w, r)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) home() string       { return filepath.Join(l.root, "home") }
func (l *lab) repository() string { return filepath.Join(l.root, "workspace.git") }
func (l *lab) folder() string     { return filepath.Join(l.home(), "apps-notebooks") }
func (l *lab) path(name string) string {
	return filepath.Join(l.folder(), filepath.FromSlash(name))
}

// failWith makes the server answer everything with f; nil repairs it.
func (l *lab) failWith(f http.HandlerFunc) {
	if f == nil {
		l.fail.Store(nil)
		return
	}
	l.fail.Store(&f)
}

func (l *lab) isolated() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + l.home(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=ana", "GIT_AUTHOR_EMAIL=ana@example.com", "GIT_COMMITTER_NAME=ana", "GIT_COMMITTER_EMAIL=ana@example.com",
	}
}

// somebody is a user without a name, as pods have them.
const somebody = 12345

// asSomebody has root run the program, in a home of that user.
func (l *lab) asSomebody() {
	l.Helper()
	if os.Geteuid() != 0 {
		return
	}
	id := strconv.Itoa(somebody)
	l.as = []string{"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--"}
	l.reachable()
	l.must(os.Chown(l.home(), somebody, somebody))
}

// reachable opens the test's folders to other users.
func (l *lab) reachable() {
	l.Helper()
	for dir := l.root; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		l.must(os.Chmod(dir, 0o755))
	}
	for dir := filepath.Dir(os.Args[0]); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		l.must(os.Chmod(dir, 0o755))
	}
}

// git runs git, in the user's folder when there is one.
func (l *lab) git(args ...string) string {
	l.Helper()
	out, err := l.tryGit(args...)
	if err != nil {
		l.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return out
}

func (l *lab) tryGit(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = l.root
	if _, err := os.Stat(l.folder()); err == nil {
		cmd.Dir = l.folder()
	}
	cmd.Env = append(l.isolated(), "JUPYTERHUB_USER="+l.name, "JUPYTERHUB_API_TOKEN="+token, "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// files are contents by path. A content that begins with "x!" is a program.
type files map[string]string

// deliver makes the files what the server has, as version 1.<n>.0 of a package.
// It returns that version.
func (l *lab) deliver(all files) string { return l.commit(all, true) }

func (l *lab) commit(all files, grow bool) string {
	l.Helper()
	l.commits++
	version := fmt.Sprintf("1.%d.0", l.commits)
	message := "Deliver app from pkg-" + version + "\n\nDM-Action: create\nDM-Package: pkg-" + version + "\n"
	var in bytes.Buffer
	fmt.Fprintf(&in, "commit refs/heads/main\ncommitter dm <dm@x> %d +0000\ndata %d\n%s\n", 1700000000+l.commits, len(message), message)
	if grow && l.commits > 1 {
		in.WriteString("from refs/heads/main^0\n")
	}
	in.WriteString("deleteall\n")
	for name, content := range all {
		mode := "100644"
		if strings.HasPrefix(content, "x!") {
			mode = "100755"
		}
		fmt.Fprintf(&in, "M %s inline \"%s\"\ndata %d\n%s\n", mode, strings.ReplaceAll(name, `"`, `\"`), len(content), content)
	}
	cmd := exec.Command("git", "--git-dir", l.repository(), "fast-import", "--quiet", "--force")
	cmd.Env, cmd.Stdin = l.isolated(), &in
	if out, err := cmd.CombinedOutput(); err != nil {
		l.Fatalf("git fast-import: %v\n%s", err, out)
	}
	return version
}

// command is a run of the script that was not started yet.
func (l *lab) command(ctx context.Context, env ...string) *exec.Cmd {
	return l.commandOf(ctx, l.shell, env...)
}

func (l *lab) commandOf(ctx context.Context, shell []string, env ...string) *exec.Cmd {
	line := append(slices.Clone(shell), l.script)
	if len(shell) == 0 {
		line = append(slices.Clone(l.as), os.Args[0]) // which TestMain makes the program
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir = l.root
	cmd.Env = slices.Concat([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + l.home(), "JUPYTERHUB_USER=" + l.name, "JUPYTERHUB_API_TOKEN=" + token, "DM_GIT_URL=" + l.URL, usual, asProgram + "=1",
		"GORACE=atexit_sleep_ms=0", // or each run ends with a second of waiting
	}, l.env, env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// try runs the script and returns its output; it must end with 0, tell one line
// and show the token nowhere.
func (l *lab) try(env ...string) string {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), 4*time.Minute)
	defer cancel()
	cmd := l.command(ctx, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		l.Fatalf("the script: %v\n%s%s", err, &stdout, &stderr)
	}
	l.used = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if strings.Count(stdout.String(), "\n") != 1 || stderr.Len() > 0 {
		l.Errorf("the script told %q and %q, want one line", &stdout, &stderr)
	}
	l.noToken(stdout.String())
	return stdout.String()
}

// sync runs the script, which must succeed.
func (l *lab) sync(env ...string) string {
	l.Helper()
	out := l.try(env...)
	if !strings.HasPrefix(out, "apps-notebooks: up to date") {
		log, _ := os.ReadFile(l.path(".git/deployment-manager/log")) // there may be none
		l.Fatalf("the script told %q, want up to date\n%s", out, log)
	}
	return out
}

// noToken looks for the token in text and in every file of the home.
func (l *lab) noToken(text string) {
	l.Helper()
	if strings.Contains(text, token) {
		l.Errorf("the token is in the output: %q", text)
	}
	l.must(filepath.WalkDir(l.home(), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a process that was killed here goes on ending
		}
		if bytes.Contains(content, []byte(token)) {
			l.Errorf("the token is in %s", name)
		}
		return err
	}))
}

// write makes files in the user's folder.
func (l *lab) write(all files) {
	l.Helper()
	for name, content := range all {
		l.must(os.MkdirAll(filepath.Dir(l.path(name)), 0o700))
		l.must(os.WriteFile(l.path(name), []byte(content), 0o600))
	}
}

// remove deletes files of the user's folder.
func (l *lab) remove(names ...string) {
	l.Helper()
	for _, name := range names {
		l.must(os.RemoveAll(l.path(name)))
	}
}

// there is what the user sees: every file but git's and SYNC.md.
func (l *lab) there() files {
	l.Helper()
	all := files{}
	l.must(filepath.WalkDir(l.folder(), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(l.folder(), name)
		switch {
		case err != nil:
			return err
		case rel == ".git" || rel == ".deployment-manager":
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case rel == "SYNC.md" || entry.IsDir():
			return nil
		case entry.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(name)
			all[filepath.ToSlash(rel)] = "-> " + target
			return err
		}
		content, err := os.ReadFile(name)
		all[filepath.ToSlash(rel)] = string(content)
		return err
	}))
	return all
}

// want compares what is there.
func (l *lab) want(want files) {
	l.Helper()
	got := l.there()
	for name, content := range want {
		if found, ok := got[name]; !ok {
			l.Errorf("%s is missing", name)
		} else if found != content {
			l.Errorf("%s is %q, want %q", name, found, content)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			l.Errorf("%s is there and must not be: %q", name, got[name])
		}
	}
}

// status wants SYNC.md to tell each of the texts.
func (l *lab) status(texts ...string) {
	l.Helper()
	page, err := os.ReadFile(l.path("SYNC.md"))
	l.must(err)
	for _, text := range texts {
		if !strings.Contains(string(page), text) {
			l.Errorf("SYNC.md does not tell %q:\n%s", text, page)
		}
	}
}
