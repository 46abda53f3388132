package githttp_test

import (
	"net/http"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
)

// TestHead: HEAD is GET without its body, wherever there is GET; it starts no git.
func TestHead(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(c *githttp.Config) { c.Script = []byte("echo sync\n") })
	s.add(t, dm.WorkspaceRepository, "ana", "x")
	s.add(t, dm.ToolsRepository, "", "x")
	s.add(t, dm.PackageRepository, "flow", "x")
	s.add(t, dm.ApplicationRepository, "noon", "x")
	for _, path := range []string{
		"/sync.sh", "/tools.git/info/refs?service=git-upload-pack", "/tools.git/info/refs?service=git-receive-pack", "/jupyter-ana/info/refs?service=git-upload-pack", "/jupyter-ana/head", "/packages/flow.git/info/refs?service=git-upload-pack",
		"/packages/flow/info/refs?service=git-receive-pack", "/applications/noon/info/refs?service=git-upload-pack",
		"/applications/none/info/refs?service=git-upload-pack", "/jupyter-ana/info/refs", "/nothing",
	} {
		before := s.most()
		head, body := s.do(t, http.MethodHead, path, nil, nil)
		if s.most() != before && before == 0 {
			t.Errorf("HEAD %s started git", path)
		}
		get, text := s.do(t, http.MethodGet, path, nil, nil)
		if head.StatusCode != get.StatusCode || body != "" || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			t.Errorf("HEAD %s: %d %v, GET %d %v", path, head.StatusCode, head.Header, get.StatusCode, get.Header)
		}
		if head.ContentLength >= 0 && head.ContentLength != int64(len(text)) {
			t.Errorf("HEAD %s tells %d bytes, GET has %d", path, head.ContentLength, len(text))
		}
	}
	for path, want := range map[string]int{"/jupyter-ana/git-upload-pack": 405, "/packages/flow/git-receive-pack": 405} {
		if head, _ := s.do(t, http.MethodHead, path, nil, nil); head.StatusCode != want {
			t.Errorf("HEAD %s: %d, want %d", path, head.StatusCode, want)
		}
	}
}

// TestNamesThatEndLikeTheSuffix: without ".git" the path names the same
// repository, and one whose name would only end so is none.
func TestNamesThatEndLikeTheSuffix(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.PackageRepository, "flow", "x")
	for path, want := range map[string]int{
		"/packages/flow": 200, "/packages/flow.git": 200, "/packages/flow.git.git": 404, "/packages/.git": 404, "/packages/flow.": 404,
		"/packages/flow/": 404, "/packages/flow.Git": 404, "/applications/.git": 404, "/applications/flow.git.git": 404,
	} {
		if got, text := s.do(t, http.MethodGet, path+"/info/refs?service=git-upload-pack", nil, nil); got.StatusCode != want {
			t.Errorf("%s: %d %s, want %d", path, got.StatusCode, strings.TrimSpace(text), want)
		}
	}
}
