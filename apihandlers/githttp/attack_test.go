package githttp_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
	"github.com/pndaproject/deployment-manager/gitstore/gate"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
)

// raw opens a connection and sends text as it is.
func (s *server) raw(t *testing.T, text string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c
}

func status(t *testing.T, c net.Conn) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestTraversal sends paths as no well-behaved client would. Around the store
// lie a repository and a file that must not be reached.
func TestTraversal(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.PackageRepository, "p", "x")
	s.add(t, dm.WorkspaceRepository, "ana", "x")
	s.add(t, dm.ToolsRepository, "", "x")
	outside := filepath.Join(s.root, "outside.git")
	if err := os.Symlink(s.dir(dm.Repository{Kind: dm.PackageRepository, Name: "p"}), outside); err != nil {
		t.Fatal(err)
	}
	repositories := []string{
		"/../outside", "/../outside.git", "/packages/../outside.git", "/packages/../../outside.git", "/packages/./p.git",
		"/%2e%2e/outside.git", "/%2e%2e%2foutside.git", "/packages/%2e%2e/outside.git", "/packages/%2e%2e%2foutside.git",
		"/packages/..%2foutside.git", "/packages/%252e%252e%252foutside.git", "/packages/..git", "/packages/...git",
		"/packages/.git", "/packages/p%2egit", "/packages/%70.git", "/packages/p.git%00", "/packages/p%00.git", "/packages/p%0d%0a.git",
		"/packages/..\\outside.git", "/packages/%5c..%5coutside.git", "//packages/p.git", "/packages//p.git", "/packages/p.git/",
		"/packages/p.git/../p.git", "/packages/-.git", "/packages/--upload-pack=x.git", "/packages/~root.git", "/~root",
		"/packages/a.git/x", "/jupyter-a.git.git", "/packages/p.git.git", "/PACKAGES/p.git", "/applications/..git", "/applications/a.b.git",
		"/jupyter-", "/jupyter-.git", "/jupyter-..", "/jupyter-%2e%2e", "/jupyter-%2e%2e%2foutside", "/jupyter-ana%2f..%2f..%2foutside",
		"/jupyter-ana/../outside", "/jupyter-ana%00", "/jupyter-ana%0d%0aX: y", "/jupyter-ana%0a", "/jupyter-ana\\x", "/jupyter-ana%5cx",
		"/jupyter--", "/jupyter---upload-pack=x", "/jupyter-%2d-help", "/jupyter-.hidden", "/jupyter-ana.git/x", "/jupyter-ana%", "/jupyter-ana%zz",
		"/jupyter-%ff", "/jupyter-e%cc%81", "/jupyter-%e2%80%ae", "/jupyter-" + strings.Repeat("a", 129), "/users/ana.git", "/homes/ana.git",
		"/tools", "/tools.git.git", "/tools.git/", "/tools.git/tools.git", "/TOOLS.git", "/tools%2egit", "/tools.git%00", "/tools.git/../tools.git",
		"/x/jupyter-ana", "/git-upload-pack/packages/p.git", "",
	}
	for _, repository := range repositories {
		for _, end := range []string{"GET %s/info/refs?service=git-upload-pack", "POST %s/git-upload-pack"} {
			line := fmt.Sprintf(end, repository)
			c := s.raw(t, line+" HTTP/1.1\r\nHost: x\r\nContent-Type: "+uploadType+"\r\nContent-Length: 0\r\n\r\n")
			// 400 is net/http's answer to what is no request line at all.
			if resp := status(t, c); resp.StatusCode != 404 && resp.StatusCode != 400 {
				t.Errorf("%q: %s", line, resp.Status)
			}
			_ = c.Close()
		}
	}
	if len(s.asked) != 0 {
		t.Errorf("the transport was asked for %q", s.asked)
	}
}

func TestDumbProtocol(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.PackageRepository, "p", "x")
	for path, want := range map[string]int{
		"/info/refs":                   403,
		"/info/refs?service=":          403,
		"/info/refs?x=git-upload-pack": 403,
		"/HEAD":                        404,
		"/config":                      404,
		"/packed-refs":                 404,
		"/description":                 404,
		"/hooks/pre-receive":           404,
		"/objects/info/packs":          404,
		"/objects/info/alternates":     404,
		"/objects/pack/pack-1.pack":    404,
		"/refs/heads/main":             404,
	} {
		resp, body := s.do(t, "GET", "/packages/p.git"+path, nil, nil)
		if resp.StatusCode != want {
			t.Errorf("%s: %d %q, want %d", path, resp.StatusCode, body, want)
		}
		if path == "/info/refs" && body != "the dumb HTTP protocol is not supported\n" {
			t.Errorf("%s: %q", path, body)
		}
	}
}

func TestServiceConfusion(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.PackageRepository, "p", "x")
	for path, want := range map[string]int{
		"/packages/p.git/git-receive-pack?service=git-upload-pack": 415,
		"/packages/p.git/git-receive-pack":                         415,
		"/packages/p.git/git-upload-pack?service=git-receive-pack": 200, // is and stays a fetch
		"/jupyter-ana/git-receive-pack?service=git-upload-pack":    403,
		"/packages/p.git/git-receive-pack/git-upload-pack":         404,
		"/packages/p.git/git-receive-pack?/git-upload-pack":        415,
	} {
		resp, _ := s.do(t, "POST", path, http.Header{"Content-Type": {uploadType}}, strings.NewReader("0000"))
		if resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, resp.Status, want)
		}
	}
	if n := len(s.pushed()); n != 0 || len(s.asked) != 1 {
		t.Errorf("%d pushes were run and the transport was asked for %q, want the one fetch", n, s.asked)
	}
	s.asked = nil
	resp, _ := s.do(t, "POST", "/git-upload-pack/x/git-upload-pack", http.Header{"Content-Type": {uploadType}}, nil)
	if resp.StatusCode != 404 {
		t.Errorf("the operation's name as a path: %s", resp.Status)
	}
	if len(s.asked) != 0 {
		t.Errorf("the transport was asked for %q", s.asked)
	}
}

func TestContentType(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.PackageRepository, "p", "x")
	for kind, want := range map[string]int{
		uploadType:                               200,
		"":                                       415,
		"text/plain":                             415,
		"application/x-www-form-urlencoded":      415,
		"multipart/form-data":                    415,
		"application/x-git-receive-pack-request": 415,
		uploadType + "; charset=utf-8":           415,
	} {
		resp, _ := s.do(t, "POST", "/packages/p.git/git-upload-pack", http.Header{"Content-Type": {kind}}, strings.NewReader("0000"))
		if resp.StatusCode != want {
			t.Errorf("%q: %d, want %d", kind, resp.StatusCode, want)
		}
	}
	for encoding, want := range map[string]int{"identity": 200, "gzip": 400, "deflate": 415, "gzip, gzip": 415} {
		resp, _ := s.do(t, "POST", "/packages/p.git/git-upload-pack",
			http.Header{"Content-Type": {uploadType}, "Content-Encoding": {encoding}}, strings.NewReader("0000"))
		if resp.StatusCode != want {
			t.Errorf("plain text as %q: %d, want %d", encoding, resp.StatusCode, want)
		}
	}
}

func TestUnadvertisedVersion(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.PackageRepository, "p", "x")
	for header, want := range map[string]string{
		"version=0":             "",
		"version=1":             "version=1",
		"version=2":             "version=2",
		"version=3":             "",
		"version=22":            "",
		"version=2 ":            "version=2", // net/http trims
		"version=1:version=2":   "version=2",
		"version=2:version=1":   "version=2",
		"key:version=2:k=v":     "version=2",
		"version=2;touch x":     "",
		"version=2\tGIT_DIR=/x": "",
		"$(id)":                 "",
	} {
		s.protocols = nil
		resp, _ := s.do(t, "GET", "/packages/p.git/info/refs?service=git-upload-pack", http.Header{"Git-Protocol": {header}}, nil)
		if resp.StatusCode != 200 || len(s.protocols) != 1 || s.protocols[0] != want {
			t.Errorf("%q: %s, git was told %q; want %q", header, resp.Status, s.protocols, want)
		}
	}
}

// TestFourThousandHaves sends requests whose answer grows while they are still
// being read: each have of a commit that is there is acknowledged. A server
// that reads all before it writes, or the other way round, hangs.
func TestFourThousandHaves(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	commit := s.add(t, dm.PackageRepository, "p", "x")
	for _, n := range []int{4000, 16000} {
		body := pkt("want %s multi_ack_detailed\n", commit) + "0000" + strings.Repeat(pkt("have %s\n", commit), n) + pkt("done\n")
		begin := time.Now()
		resp, got := s.do(t, "POST", "/packages/p.git/git-upload-pack", http.Header{"Content-Type": {uploadType}}, strings.NewReader(body))
		if resp.StatusCode != 200 || strings.Count(got, "common\n") < n-1 || !strings.Contains(got, "PACK") {
			t.Errorf("%d haves: %s, %d acknowledged", n, resp.Status, strings.Count(got, "common\n"))
		}
		if d := time.Since(begin); d > patience {
			t.Errorf("%d haves took %v, want at most %v", n, d, patience)
		}
		eventually(t, "the process is gone", func() bool { return s.processes(t) == 0 })
	}
}

// stalled is the beginning of a POST that never ends, of at least size bytes.
func stalled(commit string, size int) string {
	body := pkt("want %s\n", commit) + "0000"
	for i := 0; len(body) < size; i++ {
		body += strings.Repeat(pkt("have %040x\n", i+1), 100)
	}
	return "POST /packages/p.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Type: " + uploadType +
		"\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
}

// TestHalfOpenRequests sends 40 requests that stop in the middle of the body,
// after more than what is buffered before a process starts.
func TestHalfOpenRequests(t *testing.T) {
	t.Parallel()
	const processes, requests = 4, 40
	s := newServer(t, func(cfg *githttp.Config) { cfg.Limits = githttp.Limits{Idle: 3 * time.Second} })
	s.turns = gate.New(gate.Config{What: "requests", Places: processes, Queue: requests, Wait: 50 * time.Millisecond})
	commit := s.add(t, dm.PackageRepository, "p", "x")
	text := stalled(commit, 100<<10)
	var list []net.Conn
	for range requests {
		list = append(list, s.raw(t, text))
	}
	// Not s.running: on a busy machine the first may be over when the last was sent.
	eventually(t, "the slots are taken", func() bool { return s.most() == processes })
	codes := map[int]int{}
	for _, c := range list {
		resp := status(t, c)
		codes[resp.StatusCode]++
		if resp.StatusCode == 503 && resp.Header.Get("Retry-After") != "5" {
			t.Errorf("503 with Retry-After %q", resp.Header.Get("Retry-After"))
		}
	}
	// On a slow machine a slot may become free for one that came late.
	if codes[503]+codes[408] != requests || codes[408] < processes || codes[503] < requests/2 {
		t.Errorf("the answers were %v, want about %d times 503 and %d times 408", codes, requests-processes, processes)
	}
	if peak := s.most(); peak > processes {
		t.Errorf("%d processes at a time, want at most %d", peak, processes)
	}
	eventually(t, "no process is left", func() bool { return s.processes(t) == 0 && s.running() == 0 })
}

// TestSlowHeadHoldsNoProcess sends requests that stop early.
func TestSlowHeadHoldsNoProcess(t *testing.T) {
	t.Parallel()
	s := newServerWith(t, gitcmd.Limits{Fetches: 1, Wait: 50 * time.Millisecond}, func(cfg *githttp.Config) {
		cfg.Limits = githttp.Limits{Idle: 300 * time.Millisecond}
	})
	commit := s.add(t, dm.PackageRepository, "p", "x")
	var list []net.Conn
	for range 20 {
		list = append(list, s.raw(t, stalled(commit, 10)))
	}
	// Somebody honest is served meanwhile.
	resp, _ := s.do(t, "GET", "/packages/p.git/info/refs?service=git-upload-pack", nil, nil)
	if resp.StatusCode != 200 {
		t.Errorf("another client meanwhile: %s", resp.Status)
	}
	for _, c := range list {
		if resp := status(t, c); resp.StatusCode != 408 {
			t.Errorf("a stalled request: %s", resp.Status)
		}
	}
	if len(s.protocols) != 1 {
		t.Errorf("git was started %d times, want once", len(s.protocols))
	}
}

// TestOneClientLeavesRoom holds the slots of one client and asks as another.
func TestOneClientLeavesRoom(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.turns = gate.New(gate.Config{What: "requests", Places: 2, Each: 1, Queue: 10, Wait: time.Second})
	commit := s.add(t, dm.PackageRepository, "p", "x")
	credential := func(name string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":x")) }
	s.raw(t, strings.Replace(stalled(commit, 100<<10), "Host: x\r\n", "Host: x\r\nAuthorization: "+credential("ana")+"\r\n", 1))
	eventually(t, "the slot is taken", func() bool { return s.running() == 1 })
	for name, want := range map[string]int{"ana": 503, "other": 200} {
		header := http.Header{"Authorization": {credential(name)}}
		resp, _ := s.do(t, "GET", "/packages/p.git/info/refs?service=git-upload-pack", header, nil)
		if resp.StatusCode != want {
			t.Errorf("client %q: %d, want %d", name, resp.StatusCode, want)
		}
	}
}

// TestGzipBomb sends bodies that grow beyond the limits.
func TestGzipBomb(t *testing.T) {
	t.Parallel()
	const wire, expanded = 256 << 10, 1 << 20
	s := newServer(t, func(cfg *githttp.Config) {
		cfg.Limits = githttp.Limits{Wire: wire, Expanded: expanded}
	})
	commit := s.add(t, dm.PackageRepository, "p", "x")
	wants := pkt("want %s multi_ack\n", commit) + strings.Repeat(pkt("want %s\n", commit), 1000)
	compress := func(text string, times int) io.Reader {
		var b bytes.Buffer
		z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		if err != nil {
			t.Fatal(err)
		}
		for range times {
			_, _ = io.WriteString(z, text)
		}
		_ = z.Close()
		return &b
	}
	packed := http.Header{"Content-Type": {uploadType}, "Content-Encoding": {"gzip"}}
	plain := http.Header{"Content-Type": {uploadType}}
	tests := []struct {
		name   string
		header http.Header
		body   io.Reader
		status []int
	}{
		{"lines that git accepts", packed, compress(wants, 100), []int{413}},
		// git refuses these at once, so either may be first.
		{"zeros", packed, compress(string(make([]byte, 1<<20)), 16), []int{413, 400}},
		{"too long as sent", plain, strings.NewReader(strings.Repeat(wants, 20)), []int{413}},
		{"too long as sent, in chunks", plain, io.MultiReader(strings.NewReader(strings.Repeat(wants, 20))), []int{413}},
		{"cut off", packed, io.LimitReader(compress(wants, 1), 40), []int{400}},
		{"empty", packed, strings.NewReader(""), []int{400}},
	}
	for _, tt := range tests {
		s.read.Store(0)
		begin := time.Now()
		resp, body := s.do(t, "POST", "/packages/p.git/git-upload-pack", tt.header, tt.body)
		ok := false
		for _, want := range tt.status {
			ok = ok || resp.StatusCode == want
		}
		if !ok {
			t.Errorf("%s: %d %q, want one of %v", tt.name, resp.StatusCode, body, tt.status)
		}
		if n := s.read.Load(); n > expanded {
			t.Errorf("%s: %d bytes were expanded, want at most %d", tt.name, n, expanded)
		}
		if d := time.Since(begin); d > patience {
			t.Errorf("%s: answered after %v", tt.name, d)
		}
	}
	eventually(t, "no process is left", func() bool { return s.processes(t) == 0 })
}

// noise is text that no compression makes smaller.
func noise(size int) string {
	b := make([]byte, 0, size)
	for x := uint64(1); len(b) < size; {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return string(b)
}

// TestClientGone leaves in each phase of a request.
func TestClientGone(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	commit := s.add(t, dm.PackageRepository, "p", noise(16<<20))
	whole := pkt("want %s side-band-64k ofs-delta\n", commit) + "0000" + pkt("done\n")
	head := "POST /packages/p.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Type: " + uploadType + "\r\nContent-Length: "
	for name, text := range map[string]string{
		"while it sends":  stalled(commit, 100<<10),
		"while it reads":  fmt.Sprintf("%s%d\r\n\r\n%s", head, len(whole), whole),
		"before the body": head + "100\r\n\r\n",
	} {
		c := s.raw(t, text)
		switch name {
		case "while it reads":
			if _, err := io.ReadFull(c, make([]byte, 100)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		case "while it sends":
			eventually(t, "git runs", func() bool { return s.processes(t) > 0 })
		}
		_ = c.Close()
		eventually(t, name+": the process is gone", func() bool { return s.processes(t) == 0 && s.running() == 0 })
	}
}

// TestDeafClient asks for much and reads nothing.
func TestDeafClient(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(cfg *githttp.Config) { cfg.Limits.Idle = 500 * time.Millisecond })
	commit := s.add(t, dm.PackageRepository, "p", noise(16<<20))
	body := pkt("want %s side-band-64k\n", commit) + "0000" + pkt("done\n")
	s.raw(t, fmt.Sprintf("POST /packages/p.git/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		uploadType, len(body), body))
	eventually(t, "git runs", func() bool { return s.most() > 0 }) // or did, between two looks
	eventually(t, "the process is gone", func() bool { return s.processes(t) == 0 && s.running() == 0 })
}

// TestObjectsOfOtherUsers asks one workspace for what lies in another's.
func TestObjectsOfOtherUsers(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.WorkspaceRepository, "ana", "of ana")
	secret := s.add(t, dm.WorkspaceRepository, "bob", "of bob")
	v0 := pkt("want %s\n", secret) + "0000" + pkt("done\n")
	v2 := pkt("command=fetch") + "0001" + pkt("want %s\n", secret) + pkt("done\n") + "0000"
	for version, body := range map[string]string{"": v0, "version=2": v2} {
		header := http.Header{"Content-Type": {uploadType}, "Git-Protocol": {version}}
		_, got := s.do(t, "POST", "/jupyter-ana/git-upload-pack", header, strings.NewReader(body))
		if !strings.Contains(got, "ERR upload-pack: not our ref "+secret) || strings.Contains(got, "PACK") {
			t.Errorf("version %q: %q", version, got)
		}
	}
}

// TestBrokenAnswer damages a repository so that git fails in the middle of the
// pack. The client must not take the part for the whole.
func TestBrokenAnswer(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.PackageRepository, "p", "x")
	dir := s.dir(dm.Repository{Kind: dm.PackageRepository, Name: "p"})
	var blob bytes.Buffer
	if err := s.git.Run(t.Context(), dir, nil, &blob, "rev-parse", "main:f"); err != nil {
		t.Fatal(err)
	}
	oid := strings.TrimSpace(blob.String())
	if err := os.Remove(filepath.Join(dir, "objects", oid[:2], oid[2:])); err != nil {
		t.Fatal(err)
	}
	clone := filepath.Join(t.TempDir(), "clone")
	if out, err := client(t, "clone", s.URL+"/packages/p.git", clone); err == nil {
		t.Errorf("the clone succeeded:\n%s", out)
	}
	eventually(t, "no process is left", func() bool { return s.processes(t) == 0 })
}
