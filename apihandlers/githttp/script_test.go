package githttp_test

import (
	"net/http"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
)

// TestScript: everybody gets the script, and who has it already does not get it
// again.
func TestScript(t *testing.T) {
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

	none := newServer(t, nil)
	if resp, body := none.do(t, http.MethodGet, "/sync.sh", nil, nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("without a script: %d %q, want 404", resp.StatusCode, body)
	}
}
