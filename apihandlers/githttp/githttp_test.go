package githttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
	"github.com/pndaproject/deployment-manager/gitstore/gate"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
)

// store is a small transport over real repositories below root.
type store struct {
	git   *gitcmd.Git
	root  string
	turns *gate.Gate // of fetches, and of pushes that have arrived

	mu        sync.Mutex
	asked     []dm.Repository
	protocols []string
	client    string      // whose share the last fetch counted against
	readers   []dm.Reader // that were told of
	now, peak int
	read      atomic.Int64 // bytes of request bodies that have arrived
	arriving  atomic.Int32 // pushes
	actors    []dm.Actor   // of pushes
	endings   []error      // of the contexts of pushes, when git had ended
}

func (s *store) dir(r dm.Repository) string {
	return filepath.Join(s.root, string(r.Kind), url.PathEscape(r.Name)+".git")
}

func (s *store) Has(r dm.Repository) error {
	s.mu.Lock()
	s.asked = append(s.asked, r)
	s.mu.Unlock()
	if r.Name == "damaged" {
		return dm.Errorf(dm.Unavailable, "has", "the repository is damaged")
	}
	if _, err := os.Stat(s.dir(r)); err != nil {
		return dm.Errorf(dm.NotFound, "has", "no repository %s", r.Name)
	}
	return nil
}

// enter counts a process until leave is called.
func (s *store) enter(protocol string) (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.protocols = append(s.protocols, protocol)
	s.now++
	s.peak = max(s.peak, s.now)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}
}

func (s *store) UploadPack(ctx context.Context, r dm.Repository, round dm.UploadRound) error {
	leave, err := s.turns.Enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	defer s.enter(round.Protocol)()
	s.mu.Lock()
	s.client = dm.Client(ctx)
	s.readers = append(s.readers, round.Reader)
	s.mu.Unlock()
	if round.In != nil {
		round.In = &counter{round.In, &s.read}
	}
	return s.git.UploadPack(ctx, s.dir(r), round)
}

func (s *store) running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// most is how many processes ran at a time.
func (s *store) most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

type counter struct {
	r io.Reader
	n *atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// server is the port behind a real HTTP server.
type server struct {
	*store
	*httptest.Server
	registry *prometheus.Registry
}

// allow lets everybody in, with the name that they claim.
func allow(r *http.Request, _ dm.Repository, push bool) (dm.Actor, error) {
	actor := dm.Actor{Auth: "none", Via: "git"}
	if push {
		actor.Via, actor.User = "push", "somebody"
	}
	if user, _, ok := r.BasicAuth(); ok {
		actor.User, actor.Auth = dm.UserName(user), "test"
	}
	return actor, nil
}

func newServer(t *testing.T, change func(*githttp.Config)) *server {
	t.Helper()
	return newServerWith(t, gitcmd.Limits{}, change)
}

func newServerWith(t *testing.T, limits gitcmd.Limits, change func(*githttp.Config)) *server {
	t.Helper()
	return newServerAt(t, nil, limits, change)
}

func newServerAt(t *testing.T, site *apihandlers.Site, limits gitcmd.Limits, change func(*githttp.Config)) *server {
	t.Helper()
	git, err := gitcmd.New(t.Context(), gitcmd.Config{Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{store: &store{git: git, root: t.TempDir(), turns: gate.New(gate.Config{What: "requests", Places: 100})}, registry: prometheus.NewRegistry()}
	cfg := githttp.Config{Transport: s.store, Authorize: allow, Reader: readerOf}
	if change != nil {
		change(&cfg)
	}
	s.Server = httptest.NewServer(port(t, cfg, apihandlers.Config{Site: site}, s.registry))
	t.Cleanup(s.Close)
	return s
}

// port is the port that the server has, with the log and the site of config.
func port(t *testing.T, cfg githttp.Config, config apihandlers.Config, registry *prometheus.Registry) http.Handler {
	t.Helper()
	git, err := githttp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	config.Server, config.Errors = "git", apihandlers.LineBody
	config.Tables = append(config.Tables, apihandlers.Table{Routes: git.Routes()})
	if config.Metrics, err = apihandlers.NewMetrics(registry); err != nil {
		t.Fatal(err)
	}
	h, err := apihandlers.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// add makes a repository with one commit that holds one file of content.
func (s *server) add(t *testing.T, kind dm.RepositoryKind, name, content string) (commit string) {
	t.Helper()
	dir := s.dir(dm.Repository{Kind: kind, Name: name})
	run := func(in string, args ...string) string {
		var out bytes.Buffer
		repository := dir
		if args[0] == "init" {
			repository = ""
		}
		if err := s.git.Run(t.Context(), repository, strings.NewReader(in), &out, args...); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out.String())
	}
	run("", "init", "-q", "--bare", "--", dir)
	blob := run(content, "hash-object", "-w", "--stdin")
	tree := run("100644 blob "+blob+"\tf\n", "mktree")
	commit = run("tree "+tree+"\nauthor A <a@b> 1700000000 +0000\ncommitter A <a@b> 1700000000 +0000\n\nm\n",
		"hash-object", "-w", "-t", "commit", "--stdin")
	if err := s.git.UpdateRefs(t.Context(), dir, gitcmd.RefUpdate{Ref: "refs/heads/main", New: commit}); err != nil {
		t.Fatal(err)
	}
	return commit
}

// isolated is the environment of a git that knows nothing of the person.
func isolated() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
}

// client runs the real git client, shut off from the person's configuration.
func client(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Env = isolated()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// processes counts the git processes that name the store's folder.
func (s *server) processes(t *testing.T) int {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range lines {
		// A process that ended meanwhile, also as a zombie, reads as empty.
		if line, err := os.ReadFile(path); err == nil && bytes.Contains(line, []byte(s.root)) {
			n++
		}
	}
	return n
}

// patience is how long a busy machine may take for what takes moments where
// nothing else runs. It is less than Limits.Idle of most servers here: what only
// that ends comes too late.
const patience = 20 * time.Second

// eventually polls until ok, and fails the test when its patience is over.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

const uploadType = "application/x-git-upload-pack-request"

func (s *server) do(t *testing.T, method, path string, header http.Header, body io.Reader) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp, string(text)
}

// pkt writes one line of the protocol.
func pkt(format string, args ...any) string {
	line := fmt.Sprintf(format, args...)
	return fmt.Sprintf("%04x%s", len(line)+4, line)
}

func TestClone(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.WorkspaceRepository, "pnda", "of pnda")
	s.add(t, dm.WorkspaceRepository, "josé a", "of josé")
	s.add(t, dm.WorkspaceRepository, "a.git", "of a.git")
	s.add(t, dm.WorkspaceRepository, "a%2e", "of a%2e")
	s.add(t, dm.PackageRepository, "flow.v1-x", "of flow")
	s.add(t, dm.ApplicationRepository, "app_1", "of app")
	tests := []struct{ path, want string }{
		{"/jupyter-pnda", "of pnda"},
		{"/jupyter-pnda.git", "of pnda"},
		{"/packages/flow.v1-x", "of flow"},
		{"/applications/app_1", "of app"},
		{"/jupyter-%70nda", "of pnda"},
		{"/jupyter-jos%C3%A9%20a", "of josé"},
		{"/jupyter-josé%20a.git", "of josé"},
		{"/jupyter-a%252e", "of a%2e"}, // decoded once, never twice
		{"/packages/flow.v1-x.git", "of flow"},
		{"/applications/app_1.git", "of app"},
	}
	for _, version := range []string{"0", "1", "2"} {
		for _, tt := range tests {
			t.Run("v"+version+tt.path, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "clone")
				if out, err := client(t, "-c", "protocol.version="+version, "clone", "-q", s.URL+tt.path, dir); err != nil {
					t.Fatalf("clone: %v\n%s", err, out)
				}
				got, err := os.ReadFile(filepath.Join(dir, "f"))
				if err != nil || string(got) != tt.want {
					t.Errorf("the clone holds %q, %v; want %q", got, err, tt.want)
				}
			})
		}
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"0", "2"} {
		t.Run("v"+version, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, nil)
			one := s.add(t, dm.PackageRepository, "p", "one")
			dir := filepath.Join(t.TempDir(), "clone")
			if out, err := client(t, "clone", "-q", s.URL+"/packages/p.git", dir); err != nil {
				t.Fatalf("clone: %v\n%s", err, out)
			}
			two := s.add(t, dm.PackageRepository, "q", "two")
			repository := s.dir(dm.Repository{Kind: dm.PackageRepository, Name: "p"})
			other := s.dir(dm.Repository{Kind: dm.PackageRepository, Name: "q"})
			var pack bytes.Buffer
			if err := s.git.Run(t.Context(), other, strings.NewReader(two+"\n"), &pack, "pack-objects", "--revs", "--stdout", "-q"); err != nil {
				t.Fatal(err)
			}
			if err := s.git.Run(t.Context(), repository, &pack, nil, "unpack-objects", "-q"); err != nil {
				t.Fatal(err)
			}
			if err := s.git.UpdateRefs(t.Context(), repository, gitcmd.RefUpdate{Ref: "refs/heads/main", Old: one, New: two}); err != nil {
				t.Fatal(err)
			}
			if out, err := client(t, "-C", dir, "-c", "protocol.version="+version, "fetch", "-q"); err != nil {
				t.Fatalf("fetch: %v\n%s", err, out)
			}
			out, err := client(t, "-C", dir, "rev-parse", "refs/remotes/origin/main")
			if err != nil || strings.TrimSpace(out) != two {
				t.Errorf("fetched %q, %v; want %s", out, err, two)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(cfg *githttp.Config) {
		cfg.Authorize = func(_ *http.Request, repo dm.Repository, _ bool) (dm.Actor, error) {
			if repo.Name == "too_many" {
				return dm.Actor{}, dm.Wrap("authorize", apihandlers.TooMany("passwords", "too many wrong passwords"))
			}
			kind := dm.Kind(strings.ReplaceAll(repo.Name, "_", " "))
			switch kind {
			case dm.Unauthenticated, dm.Forbidden, dm.Unavailable, dm.Internal:
				return dm.Actor{}, dm.Errorf(kind, "authorize", "sentence of %s", kind)
			}
			return dm.Actor{User: "ana"}, nil
		}
	})
	s.add(t, dm.PackageRepository, "p", "x")
	const onlyGet, onlyPost = "method not allowed, use GET, HEAD\n", "method not allowed, use POST\n"
	const noSuch = "repository not found\n"
	derived := dm.Public(dm.ReadOnly("", dm.WorkspaceRepository)) + "\n"
	tests := []struct {
		name, method, path string
		status             int
		body               string
	}{
		{"unknown package", "GET", "/packages/none.git/info/refs?service=git-upload-pack", 404, noSuch},
		{"damaged", "GET", "/packages/damaged.git/info/refs?service=git-upload-pack", 503, "the repository is damaged\n"},
		{"nobody", "GET", "/jupyter-unauthenticated/info/refs?service=git-upload-pack", 401, "sentence of unauthenticated\n"},
		{"forbidden workspace", "GET", "/jupyter-forbidden/info/refs?service=git-upload-pack", 404, noSuch},
		{"forbidden application", "GET", "/applications/forbidden.git/info/refs?service=git-upload-pack", 403, "sentence of forbidden\n"},
		{"policy out of reach", "GET", "/applications/unavailable.git/info/refs?service=git-upload-pack", 503, "sentence of unavailable\n"},
		{"policy broken", "GET", "/applications/internal.git/info/refs?service=git-upload-pack", 500, "sentence of internal\n"},
		{"method of refs", "POST", "/packages/p.git/info/refs?service=git-upload-pack", 405, onlyGet},
		{"method of fetch", "GET", "/packages/p.git/git-upload-pack", 405, onlyPost},
		{"push to a workspace", "POST", "/jupyter-ana/git-receive-pack", 403, derived},
		{"first step of a push to a workspace", "GET", "/jupyter-ana/info/refs?service=git-receive-pack", 403, derived},
		{"push to a forbidden workspace", "GET", "/jupyter-forbidden/info/refs?service=git-receive-pack", 403, derived},
		{"out of tries", "GET", "/jupyter-too_many/info/refs?service=git-upload-pack", 429, "too many wrong passwords\n"},
		{"push of who is out of tries", "POST", "/packages/too_many.git/git-receive-pack", 429, "too many wrong passwords\n"},
		{"forbidden push", "GET", "/applications/forbidden.git/info/refs?service=git-receive-pack", 403, "sentence of forbidden\n"},
		{"push of nobody", "GET", "/packages/unauthenticated.git/info/refs?service=git-receive-pack", 401, "sentence of unauthenticated\n"},
		{"push to damaged", "GET", "/packages/damaged.git/info/refs?service=git-receive-pack", 503, "the repository is damaged\n"},
		{"method of push", "GET", "/packages/p.git/git-receive-pack", 405, onlyPost},
		{"method of a push's refs", "POST", "/packages/p.git/info/refs?service=git-receive-pack", 405, onlyGet},
		{"unknown service", "GET", "/packages/p.git/info/refs?service=git-upload-archive", 403, "unsupported service\n"},
		{"two services", "GET", "/packages/p.git/info/refs?service=git-upload-pack&service=git-receive-pack", 400, "exactly one service is required in the query\n"},
		{"bad query", "GET", "/packages/p.git/info/refs?service=git-upload-pack;x", 400, "exactly one service is required in the query\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			resp, body := s.do(t, tt.method, tt.path, http.Header{"Content-Type": {receiveType}}, nil)
			if resp.StatusCode != tt.status || body != tt.body {
				t.Errorf("got %d %q, want %d %q", resp.StatusCode, body, tt.status, tt.body)
			}
			wantHeaders := map[string]string{"Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
			switch tt.status {
			case 401:
				wantHeaders["WWW-Authenticate"] = `Basic realm="deployment-manager", charset="UTF-8"`
			case 429:
				wantHeaders["Retry-After"] = "5"
			case 503:
				wantHeaders["Retry-After"] = "5"
			case 405:
				wantHeaders["Allow"] = strings.TrimSuffix(strings.TrimPrefix(tt.body, "method not allowed, use "), "\n")
			}
			for name, want := range wantHeaders {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestAdvertisement(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	one := s.add(t, dm.PackageRepository, "p", "x")
	const service = "001e# service=git-upload-pack\n0000"
	for header, want := range map[string]string{
		"":          service + "0", // then the length of the first ref's line
		"version=1": service + "000eversion 1\n",
		"version=2": "000eversion 2\n",
	} {
		resp, body := s.do(t, "GET", "/packages/p.git/info/refs?service=git-upload-pack", http.Header{"Git-Protocol": {header}}, nil)
		if resp.StatusCode != 200 || !strings.HasPrefix(body, want) {
			t.Errorf("%q: %d %q, want it to begin with %q", header, resp.StatusCode, body, want)
		}
		if header != "version=2" && !strings.Contains(body, one+" refs/heads/main\n") {
			t.Errorf("%q: main is missing in %q", header, body)
		}
		if got := resp.Header.Get("Content-Type"); got != "application/x-git-upload-pack-advertisement" {
			t.Errorf("%q: Content-Type %q", header, got)
		}
		if got := resp.Header.Get("Cache-Control"); got != "no-cache, max-age=0, must-revalidate" {
			t.Errorf("%q: Cache-Control %q", header, got)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.PackageRepository, "p", "x")
	s.do(t, "GET", "/packages/p.git/info/refs?service=git-upload-pack", nil, nil)
	s.do(t, "GET", "/packages/p.git/HEAD", nil, nil)
	got := map[string]float64{}
	eventually(t, "both requests are counted", func() bool {
		families, err := s.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					name += " " + l.GetValue()
				}
				got[name] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		return got["dm_http_requests_total 200 git-package-refs git"] == 1 && got["dm_http_requests_total 404 other git"] == 1
	})
	if got["dm_http_request_duration_seconds git-package-refs git"] != 1 {
		t.Errorf("the duration is missing in %v", got)
	}
}
