package githttp_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
)

const receiveType = "application/x-git-receive-pack-request"

// ReceivePack runs git's own receive-pack, which also makes what is missing.
func (s *store) ReceivePack(ctx context.Context, r dm.Repository, round dm.ReceiveRound) error {
	defer s.enter(round.Protocol)()
	s.mu.Lock()
	s.actors = append(s.actors, round.Actor)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.endings = append(s.endings, ctx.Err())
	}()
	if r.Name == "broken" {
		return dm.Errorf(dm.Unavailable, "receive-pack", "the disk is full")
	}
	dir := s.dir(r)
	if _, err := os.Stat(dir); err != nil {
		if err := s.git.Run(ctx, "", nil, nil, "init", "-q", "--bare", "--", dir); err != nil {
			return err
		}
	}
	args := []string{"receive-pack", "--stateless-rpc"}
	if round.Advertise {
		args = append(args, "--http-backend-info-refs")
	}
	cmd := exec.CommandContext(ctx, "git", append(args, dir)...)
	cmd.Env = append(isolated(), "GIT_PROTOCOL="+round.Protocol)
	cmd.Stdout = round.Out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	if round.Protocol == "version=2" {
		return dm.Errorf(dm.Internal, "receive-pack", "there is no such version for pushes")
	}
	if round.In != nil {
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		go func() {
			_, _ = io.Copy(stdin, &counter{round.In, &s.read})
			_ = stdin.Close()
		}()
	}
	if err := cmd.Run(); err != nil {
		return dm.Errorf(dm.Internal, "receive-pack", "git receive-pack failed").Because(err)
	}
	return nil
}

// flow is the package that most of these tests push to.
var flow = dm.Repository{Kind: dm.PackageRepository, Name: "flow"}

const flowPath = "/packages/flow.git"

// developer makes a repository of one's own with one commit of content.
func developer(t *testing.T, content string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "-q", "-b", "main"}, {"add", "f"},
		{"-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "-m", "m"},
	} {
		if out, err := client(t, append([]string{"-C", dir}, args...)...); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	return dir
}

// tip is the commit that ref names in the repository r, "" for none.
func (s *server) tip(t *testing.T, r dm.Repository, ref string) string {
	t.Helper()
	out, err := client(t, "--git-dir="+s.dir(r), "for-each-ref", "--format=%(objectname)", ref)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// pushBody is the body of a push that makes refs/heads/main, as git sends it.
func (s *server) pushBody(t *testing.T, content string) (body, commit string) {
	t.Helper()
	commit = s.add(t, dm.PackageRepository, "source", content)
	var pack bytes.Buffer
	source := s.dir(dm.Repository{Kind: dm.PackageRepository, Name: "source"})
	if err := s.git.Run(t.Context(), source, strings.NewReader(commit+"\n"), &pack, "pack-objects", "--revs", "--stdout", "-q"); err != nil {
		t.Fatal(err)
	}
	line := pkt("%040d %s refs/heads/main\x00 report-status side-band-64k", 0, commit)
	return line + "0000" + pack.String(), commit
}

// makeFlow makes flow.git, empty, with a pre-receive hook that first says so
// and then waits until the returned function lets it go on.
func (s *server) makeFlow(t *testing.T) (release func()) {
	t.Helper()
	dir := s.dir(flow)
	if err := s.git.Run(t.Context(), "", nil, nil, "init", "-q", "--bare", "--", dir); err != nil {
		t.Fatal(err)
	}
	gate := filepath.Join(dir, "gate")
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	hook := "#!/bin/sh\necho judging >&2\ntouch started\nread line <gate\ni=0\nwhile [ $i -lt 2000 ]; do echo more >&2; i=$((i+1)); done\n"
	if err := os.WriteFile(filepath.Join(dir, "hooks", "pre-receive"), []byte(hook), 0o700); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		eventually(t, 5*time.Second, "the hook waits", func() bool {
			f, err := os.OpenFile(gate, os.O_WRONLY|syscall.O_NONBLOCK, 0)
			if err != nil {
				return false // nobody reads yet
			}
			defer func() { _ = f.Close() }()
			_, err = io.WriteString(f, "go\n")
			return err == nil
		})
	}
}

func (s *server) judging() bool {
	_, err := os.Stat(filepath.Join(s.dir(flow), "started"))
	return err == nil
}

// ended returns the contexts' errors of the pushes that are over.
func (s *server) ended() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.endings)
}

// pushed returns who started receive-pack, for each time.
func (s *server) pushed() []dm.Actor {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.actors)
}

// head is the beginning of a push as HTTP sends it.
func head(end string) string {
	return "POST " + flowPath + "/git-receive-pack HTTP/1.1\r\nHost: x\r\nContent-Type: " + receiveType + "\r\n" + end + "\r\n\r\n"
}

func chunk(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }

func TestPush(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0", "1", "2"} {
		for _, path := range []string{"packages/flow", "applications/noon"} {
			t.Run("v"+version+" "+path, func(t *testing.T) {
				t.Parallel()
				s := newServer(t, func(cfg *githttp.Config) {
					cfg.Authorize = func(r *http.Request, repo dm.Repository, push bool) (dm.Actor, error) {
						if _, _, ok := r.BasicAuth(); push && !ok {
							return dm.Actor{}, nil // git sends what the address holds when it is asked
						}
						return allow(r, repo, push)
					}
				})
				dir := developer(t, "one")
				url := strings.Replace(s.URL, "//", "//ana:x@", 1) + "/" + path + ".git"
				out, err := client(t, "-C", dir, "-c", "protocol.version="+version, "push", url, "main", "main:refs/tags/v1.0.0")
				if err != nil {
					t.Fatalf("push: %v\n%s", err, out)
				}
				want, _ := client(t, "-C", dir, "rev-parse", "main")
				kind, name, _ := strings.Cut(path, "/")
				for _, ref := range []string{"refs/heads/main", "refs/tags/v1.0.0"} {
					if got := s.tip(t, dm.Repository{Kind: dm.RepositoryKind(kind), Name: name}, ref); got != strings.TrimSpace(want) {
						t.Errorf("%s is at %q, want %s", ref, got, want)
					}
				}
				for _, actor := range s.pushed() {
					if actor.User != "ana" || actor.Via != "push" {
						t.Errorf("the push is of %+v, want ana through push", actor)
					}
				}
				// What was pushed can be fetched.
				if out, err := client(t, "clone", "-q", url, filepath.Join(t.TempDir(), "c")); err != nil {
					t.Errorf("clone: %v\n%s", err, out)
				}
			})
		}
	}
}

func TestPushAdvertisement(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	commit := s.add(t, dm.PackageRepository, "flow", "x")
	const service = "001f# service=git-receive-pack\n0000"
	for header, want := range map[string]string{
		"":          service + "00",
		"version=1": service + "000eversion 1\n",
		"version=2": service + "00",
	} {
		resp, body := s.do(t, "GET", flowPath+"/info/refs?service=git-receive-pack", http.Header{"Git-Protocol": {header}}, nil)
		if resp.StatusCode != 200 || !strings.HasPrefix(body, want) || !strings.Contains(body, commit+" refs/heads/main\x00") {
			t.Errorf("%q: %d %q, want it to begin with %q and to name main", header, resp.StatusCode, body, want)
		}
		if got := resp.Header.Get("Content-Type"); got != "application/x-git-receive-pack-advertisement" {
			t.Errorf("%q: Content-Type %q", header, got)
		}
	}
}

// TestBigPush makes git send in chunks, which it tries with an empty request
// first.
func TestBigPush(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	dir := developer(t, noise(4<<20))
	out, err := client(t, "-C", dir, "-c", "http.postBuffer=65536", "push", s.URL+flowPath, "main")
	if err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	if n := len(s.pushed()); n != 3 {
		t.Errorf("git was started %d times, want advertisement, probe and push", n)
	}
	if s.tip(t, flow, "refs/heads/main") == "" {
		t.Error("main was not made")
	}
}

func TestProbe(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	resp, body := s.do(t, "POST", flowPath+"/git-receive-pack", http.Header{"Content-Type": {receiveType}}, strings.NewReader("0000"))
	if resp.StatusCode != 200 || body != "" || resp.Header.Get("Content-Type") != "application/x-git-receive-pack-result" {
		t.Errorf("got %s %q %q, want an empty result", resp.Status, resp.Header.Get("Content-Type"), body)
	}
}

func TestGzippedPush(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	body, commit := s.pushBody(t, noise(200<<10))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = io.WriteString(z, body)
	_ = z.Close()
	resp, text := s.do(t, "POST", flowPath+"/git-receive-pack",
		http.Header{"Content-Type": {receiveType}, "Content-Encoding": {"gzip"}}, &packed)
	if resp.StatusCode != 200 || !strings.Contains(text, "ok refs/heads/main") {
		t.Errorf("got %s %q", resp.Status, text)
	}
	if got := s.tip(t, flow, "refs/heads/main"); got != commit {
		t.Errorf("main is at %q, want %s", got, commit)
	}
}

// TestContentTypeOfPush sends what a page of another site can make a browser
// send without asking, and asks as a browser would for the rest.
func TestContentTypeOfPush(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for kind, want := range map[string]int{
		receiveType: 200, "": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data": 415,
		uploadType: 415, receiveType + "; charset=utf-8": 415,
	} {
		header := http.Header{"Content-Type": {kind}, "Authorization": {"Basic YW5hOng="}, "Origin": {"https://elsewhere.example"}}
		resp, _ := s.do(t, "POST", flowPath+"/git-receive-pack", header, strings.NewReader("0000"))
		if resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", kind, resp.StatusCode, want)
		}
	}
	header := http.Header{"Origin": {"https://elsewhere.example"}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"content-type"}}
	resp, _ := s.do(t, "OPTIONS", flowPath+"/git-receive-pack", header, nil)
	if resp.StatusCode != 405 || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a browser's question: %s, %v", resp.Status, resp.Header)
	}
}

// TestPushToWorkspace looks at what the person reads.
func TestPushToWorkspace(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.WorkspaceRepository, "ana", "x")
	dir := developer(t, "one")
	for _, user := range []string{"ana", "nobody"} { // who is there and who is not
		out, err := client(t, "-C", dir, "push", s.URL+"/jupyter-"+user, "main")
		if err == nil || !strings.Contains(out, "remote: the server writes this workspace itself") || !strings.Contains(out, "its sync") || !strings.Contains(out, "403") {
			t.Errorf("push to %s: %v\n%s", user, err, out)
		}
	}
	if len(s.asked)+len(s.pushed()) != 0 {
		t.Errorf("the transport was asked for %v", s.asked)
	}
}

// TestPushSignsIn lets git ask its person.
func TestPushSignsIn(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(cfg *githttp.Config) {
		cfg.Authorize = func(r *http.Request, _ dm.Repository, push bool) (dm.Actor, error) {
			user, password, _ := r.BasicAuth()
			if push && (user == "" || password != "good") {
				return dm.Actor{}, dm.Errorf(dm.Unauthenticated, "authorize", "the password is wrong")
			}
			if user == "reader" {
				return dm.Actor{}, dm.Errorf(dm.Forbidden, "authorize", "the scope of the credential does not cover it")
			}
			return dm.Actor{User: dm.UserName(user), Auth: "test", Via: "push"}, nil
		}
	})
	dir := developer(t, "one")
	for _, tt := range []struct{ name, user, password, want string }{
		{"good", "ana", "good", ""},
		{"wrong password", "ana", "bad", "Authentication failed"},
		{"nobody", "", "", "remote: the password is wrong"},
		{"read only", "reader", "good", "remote: the scope of the credential does not cover it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			helper := filepath.Join(t.TempDir(), "askpass")
			script := "#!/bin/sh\ncase $1 in Username*) echo '" + tt.user + "';; *) echo '" + tt.password + "';; esac\n"
			if err := os.WriteFile(helper, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			out, err := client(t, "-C", dir, "-c", "core.askPass="+helper, "push", s.URL+flowPath, "main")
			if (err == nil) != (tt.want == "") || !strings.Contains(out, tt.want) {
				t.Errorf("push: %v, want %q in\n%s", err, tt.want, out)
			}
		})
	}
	resp, _ := s.do(t, "POST", flowPath+"/git-receive-pack", http.Header{"Content-Type": {receiveType}}, strings.NewReader("0000"))
	if resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("a second step of nobody: %s, %q", resp.Status, resp.Header.Get("WWW-Authenticate"))
	}
	for _, actor := range s.pushed() {
		if actor.User != "ana" {
			t.Errorf("git was started for %+v", actor)
		}
	}
}

// TestHalfOpenPushes sends pushes that stop in the middle of the pack.
func TestHalfOpenPushes(t *testing.T) {
	t.Parallel()
	const processes, requests = 3, 12
	s := newServer(t, func(cfg *githttp.Config) {
		cfg.Limits = githttp.Limits{Processes: processes, PerClient: processes, Wait: 50 * time.Millisecond, Idle: time.Second}
	})
	body, _ := s.pushBody(t, noise(300<<10))
	text := head("Transfer-Encoding: chunked") + chunk(body[:200<<10])
	if err := s.git.Run(t.Context(), "", nil, nil, "init", "-q", "--bare", "--", s.dir(flow)); err != nil {
		t.Fatal(err)
	}
	codes := map[int]int{}
	var answers []*bufio.Reader
	for range requests {
		answers = append(answers, bufio.NewReader(s.raw(t, text)))
	}
	eventually(t, 2*time.Second, "the slots are taken", func() bool { return s.running() == processes })
	for _, r := range answers {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		codes[resp.StatusCode]++
	}
	if codes[408] < processes || codes[408]+codes[503] != requests {
		t.Errorf("the answers were %v, want %d times 408 and the rest 503", codes, processes)
	}
	if s.peak > processes {
		t.Errorf("%d processes at a time, want at most %d", s.peak, processes)
	}
	eventually(t, 2*time.Second, "no process is left", func() bool { return s.processes(t) == 0 && s.running() == 0 })
	if got := s.tip(t, flow, "refs/heads/main"); got != "" {
		t.Errorf("main is at %s after half a push", got)
	}
}

// TestTooLargePush sends more than the limit in each way of telling the size.
func TestTooLargePush(t *testing.T) {
	t.Parallel()
	const limit = 256 << 10
	s := newServer(t, func(cfg *githttp.Config) { cfg.Limits = githttp.Limits{Push: limit} })
	body, commit := s.pushBody(t, noise(400<<10))
	var bomb bytes.Buffer // of lines that git reads on and on
	z := gzip.NewWriter(&bomb)
	for i := range 5_000 {
		_, _ = io.WriteString(z, pkt("%040d %s refs/heads/x%d\n", 0, commit, i))
	}
	_ = z.Close()
	for name, tt := range map[string]struct {
		encoding string
		body     io.Reader
	}{
		"announced": {"", strings.NewReader(body)},
		"in chunks": {"", io.MultiReader(strings.NewReader(body))},
		"expanded":  {"gzip", &bomb},
	} {
		s.read.Store(0)
		header := http.Header{"Content-Type": {receiveType}, "Content-Encoding": {tt.encoding}}
		resp, text := s.do(t, "POST", flowPath+"/git-receive-pack", header, tt.body)
		if resp.StatusCode != 413 {
			t.Errorf("%s: %s %q, want 413", name, resp.Status, text)
		}
		if n := s.read.Load(); n > limit {
			t.Errorf("%s: git got %d bytes, want at most %d", name, n, limit)
		}
	}
	eventually(t, 2*time.Second, "no process is left", func() bool { return s.processes(t) == 0 && s.running() == 0 })
	if got := s.tip(t, flow, "refs/heads/main"); got != "" {
		t.Errorf("main is at %s after a push that is too large", got)
	}
}

// TestPusherLeavesEarly leaves while the body arrives. The worst moment is
// when only the mark of the end is missing: git has not begun to judge.
func TestPusherLeavesEarly(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.makeFlow(t)
	body, _ := s.pushBody(t, noise(300<<10))
	for name, text := range map[string]string{
		"in the middle, in chunks": head("Transfer-Encoding: chunked") + chunk(body[:200<<10]),
		"in the middle, announced": head(fmt.Sprintf("Content-Length: %d", len(body))) + body[:200<<10],
		"one byte before the end":  head(fmt.Sprintf("Content-Length: %d", len(body))) + body[:len(body)-1],
		"before the last chunk":    head("Transfer-Encoding: chunked") + chunk(body),
	} {
		before := len(s.ended())
		c := s.raw(t, text)
		eventually(t, 5*time.Second, "git runs", func() bool { return s.processes(t) > 0 && s.read.Load() > 100<<10 })
		_ = c.Close()
		eventually(t, 3*time.Second, name+": git is ended", func() bool { return s.processes(t) == 0 && s.running() == 0 })
		s.read.Store(0)
		if got := s.ended(); len(got) != before+1 || got[before] == nil {
			t.Errorf("%s: the contexts ended with %v, want one more that was cancelled", name, got)
		}
	}
	if s.judging() {
		t.Error("git judged a push that had not arrived")
	}
	if got := s.tip(t, flow, "refs/heads/main"); got != "" {
		t.Errorf("main is at %s", got)
	}
}

// TestPusherLeavesLate leaves while git judges. git also writes more than any
// buffer holds afterwards, and still ends well.
func TestPusherLeavesLate(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(cfg *githttp.Config) { cfg.Limits = githttp.Limits{Idle: time.Second, Duration: 2 * time.Second} })
	release := s.makeFlow(t)
	body, commit := s.pushBody(t, noise(300<<10))
	c := s.raw(t, head(fmt.Sprintf("Content-Length: %d", len(body)))+body)
	eventually(t, 5*time.Second, "git judges", s.judging)
	_ = c.Close()
	// Longer than any limit of the body: none of them counts now.
	alive := time.Now().Add(2500 * time.Millisecond)
	eventually(t, 5*time.Second, "time passes", func() bool { return time.Now().After(alive) || s.running() == 0 })
	if s.running() != 1 {
		t.Fatal("git was ended after its client had left")
	}
	release()
	eventually(t, 5*time.Second, "git ends", func() bool { return s.running() == 0 })
	if got := s.ended(); len(got) != 1 || got[0] != nil {
		t.Errorf("the context ended with %v, want nil", got)
	}
	if got := s.tip(t, flow, "refs/heads/main"); got != commit {
		t.Errorf("main is at %q, want %s", got, commit)
	}
}

// TestPushMustFinish bounds git when it has all and does not end.
func TestPushMustFinish(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(cfg *githttp.Config) { cfg.Limits = githttp.Limits{Finish: 300 * time.Millisecond} })
	s.makeFlow(t)
	body, _ := s.pushBody(t, "x")
	c := s.raw(t, head(fmt.Sprintf("Content-Length: %d", len(body)))+body)
	resp := status(t, c)
	// The hook's first line was sent, so the answer can only break off.
	if _, err := io.ReadAll(resp.Body); resp.StatusCode == 200 && err == nil {
		t.Error("the answer of a push that was ended looks complete")
	}
	eventually(t, 3*time.Second, "git is ended", func() bool { return s.processes(t) == 0 && s.running() == 0 })
}

// TestProgressArrives reads what the hook says while it still works.
func TestProgressArrives(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	release := s.makeFlow(t)
	body, _ := s.pushBody(t, "x")
	resp := status(t, s.raw(t, head(fmt.Sprintf("Content-Length: %d", len(body)))+body))
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || !strings.Contains(line, "judging") {
		t.Fatalf("the first line is %q, %v; want the hook's", line, err)
	}
	release()
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(rest), "ok refs/heads/main") {
		t.Errorf("the rest is %q, %v", rest, err)
	}
}

// TestRefusedWhileItSends lets git refuse before the body has arrived. The
// person must read why.
func TestRefusedWhileItSends(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.PackageRepository, "flow", "x")
	if out, err := client(t, "--git-dir="+s.dir(flow), "config", "receive.maxInputSize", "10000"); err != nil {
		t.Fatalf("config: %v\n%s", err, out)
	}
	dir := developer(t, noise(8<<20))
	out, err := client(t, "-C", dir, "-c", "http.postBuffer=65536", "push", s.URL+flowPath, "main:refs/heads/x")
	if err == nil || !strings.Contains(out, "remote: fatal: pack exceeds maximum allowed size") || !strings.Contains(out, "[remote rejected]") {
		t.Errorf("push: %v\n%s", err, out)
	}
}

// TestRefusedByHook holds that a refusal by git is an answer like any other.
func TestRefusedByHook(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.PackageRepository, "flow", "x")
	hook := filepath.Join(s.dir(flow), "hooks", "pre-receive")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho the name is taken >&2\nexit 1\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := client(t, "-C", developer(t, "one"), "push", s.URL+flowPath, "main:refs/heads/x")
	if err == nil || !strings.Contains(out, "remote: the name is taken") || !strings.Contains(out, "[remote rejected]") {
		t.Errorf("push: %v\n%s", err, out)
	}
}

// TestBrokenPush lets the transport fail before it said anything.
func TestBrokenPush(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	for method, path := range map[string]string{"GET": "/packages/broken.git/info/refs?service=git-receive-pack", "POST": "/packages/broken.git/git-receive-pack"} {
		resp, body := s.do(t, method, path, http.Header{"Content-Type": {receiveType}}, strings.NewReader("0000"))
		if resp.StatusCode != 503 || body != "the disk is full\n" {
			t.Errorf("%s: %s %q, want 503", method, resp.Status, body)
		}
	}
}
