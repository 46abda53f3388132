package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Repository is the server's repository of one user, and the program's own, which
// holds what was fetched from there.
type Repository struct {
	url string
	Git Git
}

// FetchedRef is the server's newest commit. base, delivered, writing and removing
// beside it are those of the shell that did this work before.
const FetchedRef = "refs/deployment-manager/fetched"

const MainRef = "refs/heads/main"

// Git starts git with nothing of the user's settings, traces, hooks and
// repositories.
type Git struct {
	Dir string // the repository
	Env []string
}

// The user's name and token are named by their variables only: here, in the
// configuration that the environment holds, and in .git/config. Some shells start a
// program for printf, whose arguments others may see, but none for echo.
const (
	helper     = `!f() { set +x; test "$1" = get || return 0; while IFS= read -r l && test -n "$l"; do case $l in host=*) h=${l#host=};; esac; done; test "$h" = "$DM_SYNC_HOST" && test -n "$JUPYTERHUB_API_TOKEN" && printf "username=%s\n" "$JUPYTERHUB_USER" && echo "password=$JUPYTERHUB_API_TOKEN"; }; f`
	UserHelper = `!f() { test "$1" = get && test -n "$JUPYTERHUB_API_TOKEN" && printf "username=%s\n" "$JUPYTERHUB_USER" && echo "password=$JUPYTERHUB_API_TOKEN"; }; f`
)

// passed are the variables that git gets from outside: where programs are, who the
// user is, and how an https address is reached and checked.
var passed = []string{
	"PATH", "TMPDIR", "JUPYTERHUB_USER", "JUPYTERHUB_API_TOKEN", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
}

// HasGit tells whether git is installed.
func HasGit() bool {
	_, err := exec.LookPath("git")
	return err == nil
}

// NewGit makes the environment of a git whose repository is dir. configuration are keys
// and values by turns.
func NewGit(getenv func(string) string, dir string, configuration ...string) Git {
	env := []string{
		"LC_ALL=C", "HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "GIT_DIR=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0", "GIT_NO_REPLACE_OBJECTS=1",
		"GIT_COMMITTER_NAME=deployment manager", "GIT_COMMITTER_EMAIL=deployment-manager@localhost", // for reflogs: a random user id has no name
	}
	for _, name := range passed {
		if value := getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	all := append([]string{
		"core.hooksPath", "/dev/null", "core.fsmonitor", "false", "core.attributesFile", "/dev/null", "core.excludesFile", "/dev/null",
		"gc.auto", "0", "maintenance.auto", "false", "core.alternateRefsCommand", ":",
	}, configuration...)
	for i := 0; i < len(all); i += 2 {
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i/2, all[i]), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i/2, all[i+1]))
	}
	return Git{Dir: dir, Env: append(env, fmt.Sprint("GIT_CONFIG_COUNT=", len(all)/2))}
}

// command is a git that was not started. It and what it starts end with ctx, and
// with this process.
func (g Git) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env, cmd.Dir = g.Env, g.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	return cmd
}

// Run runs git and returns its output.
func (g Git) Run(ctx context.Context, stdin string, args ...string) (string, error) {
	cmd := g.command(ctx, args...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &said
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", &GitError{args[0], said.String(), err}
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// GitError is what git said when it failed.
type GitError struct {
	command, said string
	err           error
}

func (e *GitError) Error() string { return fmt.Sprintf("git %s: %v\n%s", e.command, e.err, e.said) }
func (e *GitError) Unwrap() error {
	for _, text := range []struct {
		says string
		is   error
	}{{"No space left", unix.ENOSPC}, {"uota exceeded", unix.EDQUOT}, {"Read-only file system", unix.EROFS}} {
		if strings.Contains(e.said, text.says) {
			return text.is
		}
	}
	return e.err
}

// Differs tells whether git ended as its commands do that compare, and found a
// difference.
func Differs(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 1
}

// New prepares the program's own repository.
func New(getenv func(string) string, dir, address, url string, seconds int) *Repository {
	_, authority, _ := strings.Cut(address, "://")
	authority, _, _ = strings.Cut(authority, "/")
	settings := []string{
		"core.bare", "true", "core.askPass", "", "fetch.unpackLimit", "1", "fetch.fsckObjects", "true", "submodule.recurse", "false",
		"protocol.version", "2", "protocol.allow", "never", "protocol.http.allow", "always", "protocol.https.allow", "always",
		"credential.helper", "", "credential." + address + ".helper", helper,
		"http.followRedirects", "false", "http.lowSpeedLimit", "1", "http.lowSpeedTime", strconv.Itoa(seconds), "http.emptyAuth", "false",
	}
	if strings.HasPrefix(address, "http:") {
		settings = append(settings, "http.proxy", "") // it would see the token
	}
	g := NewGit(getenv, dir, settings...)
	g.Env = append(g.Env, "DM_SYNC_HOST="+authority, "GIT_ALLOW_PROTOCOL=http:https")
	return &Repository{url: url, Git: g}
}

// Prepare makes the repository when it is missing, and removes what a git that was
// killed has left: whoever holds the state's lock is alone here.
func (r *Repository) Prepare(ctx context.Context) error {
	for _, folder := range []string{"", "refs/deployment-manager", "objects", "objects/pack"} {
		in := filepath.Join(r.Git.Dir, folder)
		entries, err := os.ReadDir(in)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for _, entry := range entries {
			path := filepath.Join(in, entry.Name())
			broken := strings.HasPrefix(folder, "refs/") && hashIn(path) == "" // as a crash of the machine may leave it
			if broken || strings.HasSuffix(path, ".lock") || strings.HasPrefix(entry.Name(), "tmp_") {
				err = errors.Join(err, os.Remove(path))
			}
		}
		if err != nil {
			return err
		}
	}
	if _, err := os.Lstat(filepath.Join(r.Git.Dir, "HEAD")); err == nil {
		return nil
	}
	_, err := r.Git.Run(ctx, "", "-c", "init.defaultBranch=main", "init", "-q", "--bare", "--template=")
	return err
}

// Mend repairs the repository, if that is what keeps git from working: what was
// fetched can be fetched again. It tells whether there was anything to mend.
func (r *Repository) Mend(ctx context.Context) bool {
	aside := func(name string) error {
		return os.Rename(filepath.Join(r.Git.Dir, name), filepath.Join(r.Git.Dir, fmt.Sprintf("damaged-%d-%s", time.Now().UnixNano(), filepath.Base(name))))
	}
	if _, err := r.Git.Run(ctx, "", "rev-parse", "--git-dir"); err != nil {
		return ctx.Err() == nil && errors.Join(aside("HEAD"), aside("config")) == nil && r.Prepare(ctx) == nil
	}
	if _, err := r.Git.Run(ctx, "", "rev-list", "--objects", "--quiet", FetchedRef); r.Fetched() == "" || err == nil || ctx.Err() != nil {
		return false
	}
	return errors.Join(aside("objects"), aside(FetchedRef), os.Mkdir(filepath.Join(r.Git.Dir, "objects"), 0o777)) == nil
}

// Fetch gets the newest commit and all that it needs. When there is nothing new
// that is one question to the server.
func (r *Repository) Fetch(ctx context.Context) error { return r.FetchInto(ctx, FetchedRef) }

// FetchInto fetches into another ref.
func (r *Repository) FetchInto(ctx context.Context, ref string, options ...string) error {
	args := append([]string{"fetch", "-q", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head"}, options...)
	_, err := r.Git.Run(ctx, "", append(args, r.url, "+"+MainRef+":"+ref)...)
	return err
}

// Ask asks the server for the name of its newest commit.
func (r *Repository) Ask(ctx context.Context) (string, error) {
	out, err := r.Git.Run(ctx, "", "ls-remote", "-q", r.url, MainRef)
	name, _, _ := strings.Cut(out, "\t")
	return name, err
}

// Fetched is the name of the commit that was fetched last; empty when there is none.
func (r *Repository) Fetched() string { return hashIn(filepath.Join(r.Git.Dir, FetchedRef)) }

// hashIn is the name of an object that a file holds, as that of a ref does.
func hashIn(path string) string {
	content, err := os.ReadFile(path)
	name := strings.TrimSpace(string(content))
	if _, ok := ParseBlob(name); err != nil || !ok {
		return ""
	}
	return name
}

// IsAncestor tells whether one commit is in the history of another one.
func (r *Repository) IsAncestor(ctx context.Context, older, newer string) bool {
	_, err := r.Git.Run(ctx, "", "merge-base", "--is-ancestor", older, newer)
	return err == nil
}

// PackageVersion is the version of the package that an application's folder came
// from, or the commit's short name.
func (r *Repository) PackageVersion(ctx context.Context, application, commit string) string {
	version := ""
	if application != "" {
		out, err := r.Git.Run(ctx, "", "--literal-pathspecs", "log", "-1", "--format=%(trailers:key=DM-Package,valueonly)", commit, "--", application)
		if err == nil {
			version, _, _ = strings.Cut(out, "\n")
			version = version[strings.LastIndexByte(version, '-')+1:]
		}
	}
	odd := func(c rune) bool {
		return c != '.' && c != '+' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	}
	if version == "" || strings.ContainsFunc(version, odd) {
		return commit[:7]
	}
	return version
}

// Bytes is how many bytes the contents have together.
func (r *Repository) Bytes(ctx context.Context, blobs []Blob) (sum int64) {
	var names strings.Builder
	for _, b := range blobs {
		names.WriteString(b.String() + "\n")
	}
	out, err := r.Git.Run(ctx, names.String(), "cat-file", "--batch-check=%(objectsize)")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(out) {
		size, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err == nil {
			sum += size
		}
	}
	return sum
}

// Patiently does it once more, after some seconds that are not the same in all pods
// that start together, when the server says that it is not ready.
func Patiently(ctx context.Context, do func(context.Context) error) error {
	err := do(ctx)
	deadline, _ := ctx.Deadline()
	if err == nil || Reason(err) != notReady || time.Until(deadline) < 12*time.Second {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(2*time.Second + time.Duration(time.Now().UnixNano()%int64(5*time.Second))):
		return do(ctx)
	}
}

const notReady = "the server is not ready; try again in a minute"

// reasons are what people are told, by what git says.
var reasons = []struct{ says, reason string }{
	{"Authentication failed", noSignIn}, {"could not read Username", noSignIn}, {"could not read Password", noSignIn}, {"error: 401", noSignIn},
	{"error: 403", "the server refused access to this folder"},
	{"not found", noFolder}, {"error: 404", noFolder}, {"find remote ref", noFolder},
	{"error: 429", "the server is busy; try again in a minute"},
	{"error: 5", notReady},
	{"error: 3", noRedirect}, {"redirect", noRedirect},
	{"Could not resolve", "the name of the server could not be resolved"},
	{"Failed to connect", unreachable}, {"Couldn't connect", unreachable}, {"onnection refused", unreachable},
	{"Connection reset", unreachable}, {"Empty reply", unreachable},
	{"too slow", tooSlow}, {"timed out", tooSlow},
	{"certificate", noCertificate}, {"SSL", noCertificate},
}

const (
	noSignIn      = "the server did not accept your sign-in; restart your notebook server to get a new one"
	noFolder      = "the server has no folder for you"
	noRedirect    = "the server redirects to another address, which is not followed"
	unreachable   = "the server is unreachable"
	tooSlow       = "the server is too slow"
	noCertificate = "the certificate of the server could not be verified"
)

// Reason is a sentence for people about what failed. The first line that git says
// anything known in counts.
func Reason(err error) string {
	var git *GitError
	if !errors.As(err, &git) {
		return ""
	}
	for line := range strings.Lines(git.said) {
		for _, r := range reasons {
			if strings.Contains(line, r.says) {
				return r.reason
			}
		}
	}
	return "the server gave an answer that could not be used"
}
