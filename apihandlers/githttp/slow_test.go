package githttp_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
	"github.com/pndaproject/deployment-manager/gitstore/gate"
)

// fakeGit reads what it is given and is content. A real git waits outside of
// synctest's clock.
type fakeGit struct{ running atomic.Int32 }

func (*fakeGit) Has(dm.Repository) error { return nil }

func (*fakeGit) Tip(context.Context, dm.Repository, dm.Reader) (string, error) { return "", nil }

func (g *fakeGit) UploadPack(_ context.Context, _ dm.Repository, round dm.UploadRound) error {
	return g.work(round.In, round.Out)
}

func (g *fakeGit) ReceivePack(_ context.Context, _ dm.Repository, round dm.ReceiveRound) error {
	return g.work(round.In, round.Out)
}

func (g *fakeGit) work(in io.Reader, out io.Writer) error {
	g.running.Add(1)
	defer g.running.Add(-1)
	if _, err := io.Copy(io.Discard, in); err != nil {
		return dm.Wrap("git", err)
	}
	_, err := io.WriteString(out, "done")
	return dm.Wrap("git", err)
}

// pipes is a listener whose connections are in memory, because synctest's clock
// does not move while somebody waits for a socket.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// plain is what every other door does with a body, an upload's for one.
var plain = apihandlers.Route{
	Name: "plain", Method: http.MethodPost, Path: "/plain", Access: apihandlers.Open, Streams: true,
	Handle: func(w http.ResponseWriter, r *http.Request) error {
		body, err := apihandlers.OpenBody(w, r, apihandlers.BodyLimits{Size: 1 << 30})
		if err == nil {
			_, err = io.Copy(io.Discard, body)
		}
		return err
	},
}

// TestPaceOfBodies sends bodies slowly under the limits that the server has. The
// rule is one for all doors, but that git's requests may not last for ever.
func TestPaceOfBodies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name            string
		times, piece    int // pieces that are sent, and their bytes
		every           time.Duration
		status          int
		atLeast, atMost time.Duration
	}{
		{"silence", 1, 10, 2 * time.Hour, 408, 30 * time.Second, 31 * time.Second},
		{"one byte every 29 s", 100, 1, 29 * time.Second, 408, 30 * time.Second, 31 * time.Second},
		{"one byte a second", 100, 1, time.Second, 408, 30 * time.Second, 31 * time.Second},
		{"half of the rate", 200, 512, time.Second, 408, 30 * time.Second, 65 * time.Second},
		{"a bit slower than the rate", 500, 900, time.Second, 408, time.Minute, 5 * time.Minute},
		{"a bit faster than the rate", 200, 1100, time.Second, 200, 199 * time.Second, 201 * time.Second},
		{"10 KB a second", 100, 10_000, time.Second, 200, 99 * time.Second, 101 * time.Second},
		{"10 KB a second in small pieces", 1000, 1_000, time.Second / 10, 200, 99 * time.Second, 101 * time.Second},
		{"with pauses", 20, 100_000, 29 * time.Second, 200, 579 * time.Second, 581 * time.Second},
		{"longer than a request may take", 400, 20_000, 10 * time.Second, 408, time.Hour, time.Hour + time.Second},
	}
	for _, form := range []struct {
		service string
		chunked bool // as one chunk, which net/http reads on and on
	}{{"git-receive-pack", false}, {"git-receive-pack", true}, {"git-upload-pack", true}, {"plain", false}, {"plain", true}} {
		for _, tt := range tests {
			path := "/packages/flow.git/" + form.service
			if form.service == "plain" {
				if path = plain.Path; tt.atLeast == time.Hour {
					tt.status, tt.atLeast, tt.atMost = 200, 3999*time.Second, 4001*time.Second
				}
			}
			t.Run(fmt.Sprintf("%s chunked=%v %s", form.service, form.chunked, tt.name), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					text := strings.Repeat("x", 300<<10) // more than what is read before git starts
					size := len(text) + tt.times*tt.piece
					head, end := fmt.Sprintf("Content-Length: %d\r\n\r\n", size), ""
					if form.chunked {
						head, end = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size), "\r\n0\r\n\r\n"
					}
					head = fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-%s-request\r\n%s", path, form.service, head)
					git := &fakeGit{}
					status, took := paced(t, git, func(send func(string), wait func(time.Duration)) {
						send(head + text)
						for range tt.times {
							wait(tt.every)
							send(text[:tt.piece])
						}
						send(end)
					})
					if status != tt.status || took < tt.atLeast || took > tt.atMost {
						t.Errorf("%d after %v, want %d after %v to %v", status, took, tt.status, tt.atLeast, tt.atMost)
					}
					if git.running.Load() != 0 {
						t.Error("git still runs after the answer")
					}
				})
			})
		}
	}
}

// paced serves one connection, on which client sends, and returns the status of
// the answer and when it came by the clock of the bubble. Then nobody works for
// it any more.
func paced(t *testing.T, git dm.GitTransport, client func(send func(string), wait func(time.Duration))) (status int, took time.Duration) {
	t.Helper()
	h := port(t, githttp.Config{Transport: git, Authorize: allow, Reader: readerOf}, apihandlers.Config{Tables: []apihandlers.Table{{Routes: []apihandlers.Route{plain}}}}, prometheus.NewRegistry())
	listener, server := make(pipes, 1), &http.Server{Handler: h}
	go func() { _ = server.Serve(listener) }()
	near, far := net.Pipe()
	listener <- far
	answered, cancel := context.WithCancel(t.Context())
	defer func() {
		cancel()
		_ = near.Close()
		if err := server.Shutdown(context.WithoutCancel(answered)); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	}()
	begin := time.Now()
	go client(func(text string) { _, _ = io.WriteString(near, text) }, func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-answered.Done():
		}
	})
	resp, err := http.ReadResponse(bufio.NewReader(near), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, time.Since(begin)
}

// startPush sends the beginning of a push, of which the rest does not come.
func (s *server) startPush(t *testing.T, user, body string) net.Conn {
	t.Helper()
	credential := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":x"))
	return s.raw(t, head(credential+"\r\nTransfer-Encoding: chunked")+chunk(body[:200<<10]))
}

// TestSlowPushesLeaveOthersAlone lets pushes arrive without an end, and fetches
// and pushes meanwhile with git's own client, as somebody else and as one of them.
func TestSlowPushesLeaveOthersAlone(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.turns = gate.New(gate.Config{What: "requests", Places: 2, Each: 1, Queue: 100, Wait: time.Minute})
	body, _ := s.pushBody(t, noise(300<<10))
	other := s.add(t, dm.PackageRepository, "other", "x")
	s.add(t, dm.PackageRepository, "flow", "y")
	const each = 4
	var slow []net.Conn
	for range each {
		slow = append(slow, s.startPush(t, "ana", body), s.startPush(t, "bob", body))
	}
	eventually(t, "all arrive", func() bool { return s.arriving.Load() == 2*each })
	if out, err := client(t, "ls-remote", s.URL+"/packages/other.git"); err != nil || !strings.Contains(out, other) {
		t.Errorf("ls-remote meanwhile: %v\n%s", err, out)
	}
	dir := developer(t, "z")
	for _, user := range []string{"ana", "eve"} {
		url := strings.Replace(s.URL, "//", "//"+user+":x@", 1) + flowPath
		if out, err := client(t, "-C", dir, "push", url, "main:refs/heads/"+user); err != nil {
			t.Errorf("a push of %s meanwhile: %v\n%s", user, err, out)
		}
	}
	if n := s.arriving.Load(); n != 2*each {
		t.Errorf("%d still arrive, want %d", n, 2*each)
	}
	for _, c := range slow {
		_ = c.Close()
	}
	eventually(t, "nothing is left", func() bool { return s.arriving.Load() == 0 && s.processes(t) == 0 && s.running() == 0 })
}

// TestPushesOfOneClientTakeTurns holds the only slot of one user by a push that
// is judged.
func TestPushesOfOneClientTakeTurns(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.turns = gate.New(gate.Config{What: "requests", Places: 2, Each: 1, Queue: 100, Wait: 50 * time.Millisecond})
	release := s.makeFlow(t)
	body, _ := s.pushBody(t, "x")
	credential := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ana:x")) + "\r\n"
	first := s.raw(t, head(credential+fmt.Sprintf("Content-Length: %d", len(body)))+body)
	eventually(t, "git judges", s.judging)
	header := http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte("ana:x"))}, "Content-Type": {receiveType}}
	for method, path := range map[string]string{"GET": flowPath + "/info/refs?service=git-receive-pack", "POST": flowPath + "/git-receive-pack"} {
		resp, text := s.do(t, method, path, header, strings.NewReader(body))
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "too many requests from this client") {
			t.Errorf("%s meanwhile: %s, %s", method, resp.Status, text)
		}
	}
	release()
	if resp := status(t, first); resp.StatusCode != 200 {
		t.Errorf("the first: %s", resp.Status)
	}
}

// TestTricklingPush never stands still for long.
func TestTricklingPush(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(cfg *githttp.Config) { cfg.Limits = githttp.Limits{Idle: 500 * time.Millisecond} })
	body, _ := s.pushBody(t, noise(300<<10))
	c := s.startPush(t, "ana", body)
	go func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for range ticker.C {
			if _, err := io.WriteString(c, chunk("x")); err != nil {
				return
			}
		}
	}()
	if resp := status(t, c); resp.StatusCode != 408 {
		t.Errorf("got %s, want 408", resp.Status)
	}
	eventually(t, "no process is left", func() bool { return s.processes(t) == 0 && s.running() == 0 })
	if got := s.tip(t, flow, "refs/heads/main"); got != "" {
		t.Errorf("main is at %s after half a push", got)
	}
}

// TestServerStopsDuringPush tells the server to stop while git judges.
func TestServerStopsDuringPush(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	release := s.makeFlow(t)
	body, commit := s.pushBody(t, noise(300<<10))
	c := s.raw(t, head(fmt.Sprintf("Content-Length: %d", len(body)))+body)
	eventually(t, "git judges", s.judging)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Config.Shutdown(t.Context()) }()
	eventually(t, "nobody is let in any more", func() bool {
		probe, err := net.Dial("tcp", s.Listener.Addr().String())
		if err == nil {
			_ = probe.Close()
		}
		return err != nil
	})
	release()
	resp := status(t, c)
	if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), "ok refs/heads/main") {
		t.Errorf("the answer is %q, %v", text, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if got := s.tip(t, flow, "refs/heads/main"); got != commit {
		t.Errorf("main is at %q, want %s", got, commit)
	}
}
