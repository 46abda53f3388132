package githttp_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
)

// routes are the rows that do more than explain a mistake.
func routes(t *testing.T) []apihandlers.Route {
	t.Helper()
	git, err := githttp.New(githttp.Config{Transport: &store{}, Authorize: allow, Reader: readerOf, Script: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(git.Routes(), func(r apihandlers.Route) bool { return r.Fallback })
}

// pathOf is a path of the route, to what is called x.
func pathOf(route apihandlers.Route) string {
	return strings.NewReplacer("{user}", "x", "{name}", "x", "{app}", "x", "[.git]", "").Replace(route.Path)
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(cfg *githttp.Config) { cfg.Script = []byte("x") })
	s.add(t, dm.WorkspaceRepository, "x", "x")
	s.add(t, dm.ToolsRepository, "", "x")
	s.add(t, dm.PackageRepository, "x", "x")
	s.add(t, dm.ApplicationRepository, "x", "x")
	names := map[string]bool{}
	for _, route := range routes(t) {
		if names[route.Name] || route.Summary == "" {
			t.Errorf("the route %q is there twice or says nothing", route.Name)
		}
		names[route.Name] = true
		path := pathOf(route)
		var body io.Reader
		want, kind := 200, uploadType
		if strings.HasSuffix(path, "git-receive-pack") {
			kind = receiveType
		}
		if strings.Contains(path, "git-receive-pack") && (strings.HasPrefix(path, "/jupyter-") || strings.HasPrefix(path, "/tools")) {
			want = 403
		}
		if route.Method == http.MethodPost {
			body = strings.NewReader("0000")
		}
		resp, text := s.do(t, route.Method, path, http.Header{"Content-Type": {kind}}, body)
		if resp.StatusCode != want {
			t.Errorf("%s %s: %d %q, want %d", route.Method, path, resp.StatusCode, text, want)
		}
	}
}

func TestNewChecksItsConfiguration(t *testing.T) {
	t.Parallel()
	full := githttp.Config{Transport: &store{}, Authorize: allow, Reader: readerOf}
	if _, err := githttp.New(full); err != nil {
		t.Errorf("all that is required: %v", err)
	}
	for what, spoil := range map[string]func(*githttp.Config){
		"transport": func(c *githttp.Config) { c.Transport = nil },
		"policy":    func(c *githttp.Config) { c.Authorize = nil },
		"reader":    func(c *githttp.Config) { c.Reader = nil },
	} {
		cfg := full
		spoil(&cfg)
		if _, err := githttp.New(cfg); dm.KindOf(err) != dm.Invalid {
			t.Errorf("no %s: %v", what, err)
		}
	}
}
