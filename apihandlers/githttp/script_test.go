package githttp_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
)

// TestScriptAndTools: everybody gets the script and the programs, and who has the
// script already does not get it again.
func TestScriptAndTools(t *testing.T) {
	t.Parallel()
	const text = "#!/bin/sh\necho hello\n"
	s := newServer(t, func(cfg *githttp.Config) {
		cfg.Script = []byte(text)
		cfg.Authorize = func(*http.Request, dm.Repository, bool) (dm.Actor, error) {
			return dm.Actor{}, dm.Errorf(dm.Unauthenticated, "test", "nobody may in")
		}
	})
	first, got := s.do(t, http.MethodGet, "/sync.sh", nil, nil)
	if got != text || first.StatusCode != http.StatusOK {
		t.Fatalf("GET: %d %q, want the script", first.StatusCode, got)
	}
	for header, want := range map[string]string{
		"Content-Type": "text/x-shellscript; charset=utf-8", "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff",
	} {
		if got := first.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	for _, c := range []struct {
		name, method, path string
		header             http.Header
		status             int
	}{
		{"the same again", http.MethodGet, "/sync.sh", http.Header{"If-None-Match": {first.Header.Get("ETag")}}, http.StatusNotModified},
		{"the head alone", http.MethodHead, "/sync.sh", nil, http.StatusOK},
		{"another method", http.MethodPut, "/sync.sh", nil, http.StatusMethodNotAllowed},
		{"another spelling", http.MethodGet, "/%73ync.sh", nil, http.StatusNotFound},
	} {
		resp, body := s.do(t, c.method, c.path, c.header, nil)
		if resp.StatusCode != c.status {
			t.Errorf("%s: %d %q, want %d", c.name, resp.StatusCode, body, c.status)
		}
	}

	// So are the programs for pods, which nobody writes but the server.
	fetched := filepath.Join(t.TempDir(), "fetched")
	if resp, body := s.do(t, http.MethodGet, "/tools.git/info/refs?service=git-upload-pack", nil, nil); resp.StatusCode != http.StatusNotFound || body != "repository not found\n" {
		t.Errorf("without a program: %d %q, want 404", resp.StatusCode, body)
	}
	s.add(t, dm.ToolsRepository, "", "a program")
	if out, err := client(t, "clone", "-q", "--depth", "1", s.URL+"/tools.git", fetched); err != nil {
		t.Fatalf("clone: %v\n%s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(fetched, "f")); err != nil || string(got) != "a program" {
		t.Errorf("the clone holds %q, %v", got, err)
	}
	if s.client != "nobody" {
		t.Errorf("it counted against the share of %q, want nobody's", s.client)
	}
	out, err := client(t, "-C", fetched, "push", "origin", "HEAD:refs/heads/mine")
	if err == nil || !strings.Contains(out, "this repository is read-only, the server is its only writer") {
		t.Errorf("a push: %v\n%s", err, out)
	}

	none := newServer(t, nil)
	if resp, body := none.do(t, http.MethodGet, "/sync.sh", nil, nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("without a script: %d %q, want 404", resp.StatusCode, body)
	}
}
