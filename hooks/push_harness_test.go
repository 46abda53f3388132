package hooks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/hooks/hook"
)

// TestMain lets the test's own executable be the hook program that git starts.
func TestMain(m *testing.M) {
	if hook.Called(os.Args[0]) {
		os.Exit(hook.Program(os.Stdin, os.Stdout, os.Stderr, os.Getenv))
	}
	os.Exit(m.Run())
}

var (
	flowPackage     = dm.Repository{Kind: dm.PackageRepository, Name: "flow"}
	noonApplication = dm.Repository{Kind: dm.ApplicationRepository, Name: "noon-run"}
)

// fakePush is a push to a record that takes what its functions take.
type fakePush struct {
	repository dm.Repository
	judge      func(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) // nil takes all
	accept     func(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) // nil takes all

	mu       sync.Mutex
	judged   []dm.PushedRef
	accepted []dm.PushedRef
}

func (p *fakePush) Repository() dm.Repository { return p.repository }
func (p *fakePush) Actor() dm.Actor           { return dm.Actor{User: "ana", Via: "push"} }

// moved is the outcome of a record that takes everything.
func (p *fakePush) moved(ref dm.PushedRef) dm.PushOutcome {
	if ref.Version != nil {
		return dm.PushOutcome{Changed: true, Ref: "refs/tags/" + ref.Version.String()}
	}
	return dm.PushOutcome{Changed: true, Ref: ref.Name, Application: dm.ApplicationName(p.repository.Name)}
}

func (p *fakePush) Judge(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
	p.mu.Lock()
	p.judged = append(p.judged, ref)
	p.mu.Unlock()
	if p.judge != nil {
		return p.judge(ctx, ref)
	}
	return p.moved(ref), nil
}

func (p *fakePush) Accept(ctx context.Context, ref dm.PushedRef) (dm.PushOutcome, error) {
	p.mu.Lock()
	p.accepted = append(p.accepted, ref)
	p.mu.Unlock()
	if p.accept != nil {
		return p.accept(ctx, ref)
	}
	return p.moved(ref), nil
}

// calls returns the names that were judged and accepted.
func (p *fakePush) calls() (judged, accepted []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.judged {
		judged = append(judged, r.Name)
	}
	for _, r := range p.accepted {
		accepted = append(accepted, r.Name)
	}
	return judged, accepted
}

// pushBench is a push server at work.
type pushBench struct {
	*testing.T
	server   *PushServer
	events   *fakeStream
	registry *prometheus.Registry
	// stop ends Run and waits for it.
	stop func()
}

func newPushBench(t *testing.T, configure func(*PushConfig)) *pushBench {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	cfg := PushConfig{Folder: filepath.Join(t.TempDir(), "hooks"), Program: program, Relay: time.Minute, Registerer: registry, Events: newFakeStream()}
	if configure != nil {
		configure(&cfg)
	}
	b := &pushBench{T: t, registry: registry, events: cfg.Events.(*fakeStream)}
	if b.server, err = NewPushServer(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.server.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(b.stop)
	return b
}

// open opens a session that ends with the test at the latest.
func (b *pushBench) open(p dm.Push) (s dm.PushSession, end func()) {
	b.Helper()
	s, end, err := b.server.Open(dm.WithRequestID(context.Background(), "req-1"), p)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(end)
	return s, end
}

// said is what a hook program wrote, and its exit status.
type said struct {
	out, err string
	exit     int
}

// call runs the hook program in this process.
func (b *pushBench) call(s dm.PushSession, stdin string) said {
	var out, err bytes.Buffer
	in, end := io.Pipe() // git ends the hook's input when it has the report
	defer end.Close()
	exit := hook.Program(io.MultiReader(strings.NewReader(stdin), in), &out, &err, lookup(s.Environment))
	return said{out.String(), err.String(), exit}
}

func lookup(environment []string) func(string) string {
	return func(key string) string {
		for _, e := range environment {
			if k, v, _ := strings.Cut(e, "="); k == key {
				return v
			}
		}
		return ""
	}
}

// Object names for pushes without a repository.
var (
	oneID = strings.Repeat("1", 40)
)

const (
	tagLine  = "refs/tags/v1.2.3"
	mainLine = "refs/heads/main"
)

// packets are what git writes for new refs.
func packets(features string, names ...string) string {
	var b bytes.Buffer
	packet(&b, "version=1\x00"+features+"\n")
	b.WriteString(flushPacket)
	for _, n := range names {
		packet(&b, zeroID+" "+oneID+" "+n)
	}
	b.WriteString(flushPacket)
	return b.String()
}

// withOptions are packets of a push with options.
func withOptions(options []string, names ...string) string {
	var b bytes.Buffer
	b.WriteString(packets("push-options", names...))
	for _, o := range options {
		packet(&b, o)
	}
	b.WriteString(flushPacket)
	return b.String()
}

// gitBench is a developer's repository and a bare one to push to, with the
// hooks of a push server.
type gitBench struct {
	*pushBench
	bare, work string
}

func newGitBench(t *testing.T, configure func(*PushConfig)) *gitBench {
	t.Helper()
	b := &gitBench{pushBench: newPushBench(t, configure), bare: filepath.Join(t.TempDir(), "bare.git"), work: t.TempDir()}
	b.git(t.TempDir(), "init", "-q", "--bare", "-b", "main", b.bare)
	config := "[receive]\n\tprocReceiveRefs = refs\n\tadvertisePushOptions = true\n\tunpackLimit = 1\n" +
		"[core]\n\thooksPath = " + b.server.cfg.Folder + "\n"
	f, err := os.OpenFile(filepath.Join(b.bare, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(config)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	b.git(b.work, "init", "-q", "-b", "main")
	b.git(b.work, "commit", "-q", "--allow-empty", "-m", "one")
	b.git(b.work, "remote", "add", "origin", b.bare)
	return b
}

func (b *pushBench) command(dir string, environment []string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	b.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GORACE=atexit_sleep_ms=0", // a hook program of the race detector would sleep a second before it ends
		"GIT_AUTHOR_NAME=Ana", "GIT_AUTHOR_EMAIL=ana@example.org", "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z",
		"GIT_COMMITTER_NAME=Ana", "GIT_COMMITTER_EMAIL=ana@example.org", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z",
	}, environment...)
	return cmd
}

// git runs git, which must succeed, and returns what it wrote.
func (b *pushBench) git(dir string, args ...string) string {
	b.Helper()
	out, err := b.command(dir, nil, args...).CombinedOutput()
	if err != nil {
		b.Fatalf("git %q: %v\n%s", args, err, out)
	}
	return string(out)
}

// push pushes with the session of p and returns what the person sees, without
// the blanks that git puts behind remote lines.
func (b *gitBench) push(p dm.Push, args ...string) (output string, exit int) {
	b.Helper()
	s, end := b.open(p)
	defer end()
	cmd := b.command(b.work, s.Environment, append([]string{"push"}, args...)...)
	out, err := cmd.CombinedOutput()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		b.Fatal(err)
	}
	var shown []string
	for _, l := range strings.Split(string(out), "\n") {
		shown = append(shown, strings.TrimRight(l, " "))
	}
	if !cmd.ProcessState.Exited() {
		b.Errorf("git push was ended by a signal: %s", cmd.ProcessState)
	}
	return strings.Join(shown, "\n"), cmd.ProcessState.ExitCode()
}

// wantIn checks that all texts are in output, in this order.
func wantIn(t *testing.T, output string, texts ...string) {
	t.Helper()
	rest := output
	for _, text := range texts {
		_, after, found := strings.Cut(rest, text)
		if !found {
			t.Errorf("the output lacks %q (in this order); got\n%s", text, output)
			return
		}
		rest = after
	}
}
