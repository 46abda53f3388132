package githttp_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
)

const receiveType = "application/x-git-receive-pack-request"

// ReceivePack runs git's own receive-pack, which also makes what is missing.
func (s *store) ReceivePack(ctx context.Context, r dm.Repository, round dm.ReceiveRound) error {
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
	var arrived []byte
	if !round.Advertise {
		var err error
		s.arriving.Add(1)
		arrived, err = io.ReadAll(&counter{round.In, &s.read})
		s.arriving.Add(-1)
		if err != nil {
			return dm.Wrap("receive-pack", err)
		}
	}
	leave, err := s.turns.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	defer s.enter(round.Protocol)()
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
	cmd.Stdin = bytes.NewReader(arrived)
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
		eventually(t, "the hook waits", func() bool {
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
// send without asking, and asks as a browser would for the rest. A page that is
// listed is held to git's type; one that is not is refused before.
func TestContentTypeOfPush(t *testing.T) {
	t.Parallel()
	site, err := apihandlers.NewSite(apihandlers.SiteConfig{Mode: dm.Strict, Origins: []string{"https://listed.example"}})
	if err != nil {
		t.Fatal(err)
	}
	s := newServerAt(t, site, gitcmd.Limits{}, nil)
	for kind, want := range map[string]int{
		receiveType: 200, "": 415, "text/plain": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data": 415,
		uploadType: 415, receiveType + "; charset=utf-8": 415,
	} {
		for origin, want := range map[string]int{"https://listed.example": want, "https://elsewhere.example": 403} {
			header := http.Header{"Content-Type": {kind}, "Authorization": {"Basic YW5hOng="}, "Origin": {origin}}
			resp, _ := s.do(t, "POST", flowPath+"/git-receive-pack", header, strings.NewReader("0000"))
			if resp.StatusCode != want {
				t.Errorf("%q from %s: %d, want %d", kind, origin, resp.StatusCode, want)
			}
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
		if err == nil || !strings.Contains(out, "remote: this workspace is read-only, the server writes it") || !strings.Contains(out, "its sync") || !strings.Contains(out, "403") {
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

// TestRouteNames reads the access line of each route.
func TestRouteNames(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	h := port(t, githttp.Config{Transport: &store{root: t.TempDir()}, Reader: readerOf, Script: []byte("x"), Authorize: func(*http.Request, dm.Repository, bool) (dm.Actor, error) {
		return dm.Actor{}, dm.Errorf(dm.Forbidden, "authorize", "no")
	}}, apihandlers.Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, prometheus.NewRegistry())
	routes := append(routes(t), apihandlers.Route{Name: "other", Method: "GET", Path: "/packages/x.git/HEAD"},
		apihandlers.Route{Name: "git-package-refs", Method: "GET", Path: "/packages/x.git/info/refs"})
	for _, route := range routes {
		log.Reset()
		path := pathOf(route)
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(route.Method, path, nil))
		if want := " route=" + route.Name + " "; !strings.Contains(log.String(), want) {
			t.Errorf("%s %s: the line is %q, want%s", route.Method, path, log.String(), want)
		}
	}
}

// TestPushMetrics counts both steps of a push.
func TestPushMetrics(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	if out, err := client(t, "-C", developer(t, "one"), "push", s.URL+flowPath, "main"); err != nil {
		t.Fatalf("push: %v\n%s", err, out)
	}
	for _, step := range []string{"git-package-push-refs", "git-package-push"} {
		want := `dm_http_requests_total{code="200",route="` + step + `",server="git"} 1`
		eventually(t, want, func() bool {
			w := httptest.NewRecorder()
			promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			return strings.Contains(w.Body.String(), want)
		})
	}
}
