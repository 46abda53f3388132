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
	"path/filepath"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
)

// TestHalfOpenPushes sends pushes that stop in the middle of the pack.
func TestHalfOpenPushes(t *testing.T) {
	t.Parallel()
	const requests = 12
	s := newServer(t, func(cfg *githttp.Config) { cfg.Limits = githttp.Limits{Idle: 3 * time.Second} })
	body, _ := s.pushBody(t, noise(300<<10))
	text := head("Transfer-Encoding: chunked") + chunk(body[:200<<10])
	if err := s.git.Run(t.Context(), "", nil, nil, "init", "-q", "--bare", "--", s.dir(flow)); err != nil {
		t.Fatal(err)
	}
	var answers []*bufio.Reader
	for range requests {
		answers = append(answers, bufio.NewReader(s.raw(t, text)))
	}
	for _, r := range answers {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != 408 {
			t.Errorf("%s, want 408", resp.Status)
		}
	}
	if peak := s.most(); peak != 0 {
		t.Errorf("%d processes at a time, want none", peak)
	}
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
			t.Errorf("%s: %d bytes were taken, want at most %d", name, n, limit)
		}
	}
	eventually(t, "no process is left", func() bool { return s.processes(t) == 0 && s.running() == 0 })
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
		eventually(t, "a part arrives", func() bool { return s.read.Load() > 100<<10 })
		_ = c.Close()
		eventually(t, name+": the push is ended", func() bool { return len(s.ended()) > before })
		s.read.Store(0)
		if got := s.ended(); len(got) != before+1 || got[before] == nil {
			t.Errorf("%s: the contexts ended with %v, want one more that was cancelled", name, got)
		}
	}
	if s.judging() || s.most() > 0 {
		t.Error("git was started for a push that had not arrived")
	}
	if got := s.tip(t, flow, "refs/heads/main"); got != "" {
		t.Errorf("main is at %s", got)
	}
}

// TestPusherLeavesLate leaves while git judges. git also writes more than any
// buffer holds afterwards, and still ends well.
func TestPusherLeavesLate(t *testing.T) {
	t.Parallel()
	// Within both a busy machine must start git and give it all.
	const limit = 5 * time.Second
	s := newServer(t, func(cfg *githttp.Config) { cfg.Limits = githttp.Limits{Idle: limit, Duration: limit} })
	release := s.makeFlow(t)
	body, commit := s.pushBody(t, noise(300<<10))
	c := s.raw(t, head(fmt.Sprintf("Content-Length: %d", len(body)))+body)
	eventually(t, "git judges", s.judging)
	_ = c.Close()
	// Longer than any limit of the body: none of them counts now.
	alive := time.Now().Add(limit + 500*time.Millisecond)
	eventually(t, "time passes", func() bool { return time.Now().After(alive) || s.running() == 0 })
	if s.running() != 1 {
		t.Fatal("git was ended after its client had left")
	}
	release()
	eventually(t, "git ends", func() bool { return s.running() == 0 })
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
	eventually(t, "git is ended", func() bool { return s.processes(t) == 0 && s.running() == 0 })
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

// early refuses a push after some of its bytes, as the record does.
type early struct{ *store }

func (e early) ReceivePack(ctx context.Context, r dm.Repository, round dm.ReceiveRound) error {
	if round.Advertise {
		return e.store.ReceivePack(ctx, r, round)
	}
	if _, err := io.CopyN(io.Discard, round.In, 100<<10); err != nil {
		return nil // the client's probe
	}
	report := pkt("unpack it is enough\n") + pkt("ng refs/heads/x it is enough\n") + "0000"
	_, err := io.WriteString(round.Out, pkt("\x02it is enough\n")+pkt("\x01%s", report)+"0000")
	return dm.Wrap("test", err)
}

// TestRefusedWhileItSends refuses before the body has arrived. The person must
// read why.
func TestRefusedWhileItSends(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(cfg *githttp.Config) { cfg.Transport = early{cfg.Transport.(*store)} })
	dir := developer(t, noise(8<<20))
	out, err := client(t, "-C", dir, "-c", "http.postBuffer=65536", "push", s.URL+flowPath, "main:refs/heads/x")
	if err == nil || !strings.Contains(out, "remote: it is enough") || !strings.Contains(out, "[remote rejected]") {
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
