package apihandlers_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

const (
	mine = "https://console.example"
	evil = "https://evil.example"
)

// gitPort is a port of open routes, as git's is; it counts what comes through.
func gitPort(t *testing.T, site *apihandlers.Site) (http.Handler, *int) {
	t.Helper()
	asked := 0
	handle := func(http.ResponseWriter, *http.Request) error { asked++; return nil }
	metrics, err := apihandlers.NewMetrics(prometheus.NewRegistry())
	must(t, err)
	h, err := apihandlers.New(apihandlers.Config{
		Server: "git", Errors: apihandlers.LineBody, Metrics: metrics, Site: site,
		Tables: []apihandlers.Table{{Routes: []apihandlers.Route{every(http.MethodGet, handle), every(http.MethodPost, handle)}}},
	})
	must(t, err)
	return h, &asked
}

// every is an open route for every path.
func every(method string, handle func(http.ResponseWriter, *http.Request) error) apihandlers.Route {
	return apihandlers.Route{Name: "every", Method: method, Path: "/{path:.*}", Access: apihandlers.Open, Acts: true, Handle: handle}
}

// TestHost: by which names the server lets itself be called, on every port.
func TestHost(t *testing.T) {
	t.Parallel()
	loopback := []string{"127.0.0.1:8888", "[::1]:5000", "localhost:8099"}
	pod := []string{":8888", "0.0.0.0:5000", "[::]:8099"}
	card := []string{"192.0.2.1:8888", "192.0.2.1:5000", "dm.example.org:8099"}
	services := []string{"deployment-manager", "deployment-manager.pnda", "deployment-manager.pnda.svc", "packages.example.org"}
	cases := []struct {
		name   string
		listen []string
		hosts  []string
		known  []string
		not    []string
	}{
		{"on loopback", loopback, nil,
			[]string{"localhost", "localhost:8888", "LOCALHOST:1", "localhost.", "dm.localhost:80", "127.0.0.1:5000", "127.0.0.2", "[::1]:5000", "[::ffff:127.0.0.1]:1", ""},
			[]string{"evil.example", "evil.example:5000", "evil.example.", "localhost.evil.example:5000", "127.0.0.1.nip.io", "192.0.2.1:5000", "0.0.0.0:5000",
				"[2001:db8::1]:1", "deployment-manager:5000", "xn--lcalhost-55a", "127.1", "2130706433", "0x7f.0.0.1", "localhost@evil.example", "localhost:80:80", "[::1", "[localhost]x"}},
		{"in a pod", pod, services,
			[]string{"10.1.2.3:5000", "[fd00::3]:8888", "localhost:8888", "deployment-manager:5000", "deployment-manager.pnda.svc:5000", "Packages.Example.org", "packages.example.org:443"},
			[]string{"evil.example", "deployment-manager.evil.example", "deployment-manager.other", "evil.packages.example.org", "packages.example.org.evil"}},
		{"on one card", card, nil, []string{"192.0.2.1:5000", "dm.example.org:8099", "localhost"}, []string{"192.0.2.2:5000", "127.0.0.1:5000", "example.org", "evil.example"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := apihandlers.SiteConfig{Mode: dm.InsecurePNDA, Listen: c.listen, Hosts: c.hosts, Public: []string{"", "https://Public.example:8443/dm"}}
			h := newHarness(t, options{site: cfg})
			site, err := apihandlers.NewSite(cfg)
			must(t, err)
			git, _ := gitPort(t, site)
			ask := func(handler http.Handler, method, path, host string) *httptest.ResponseRecorder {
				r := httptest.NewRequest(method, path, nil)
				r.Host = host
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				return w
			}
			for _, host := range append(c.known, "public.example", "public.example:8443") {
				for _, handler := range []http.Handler{h.packages, h.manager, git} {
					if w := ask(handler, "GET", "/packages?user.name=ana", host); w.Code != http.StatusOK {
						t.Errorf("Host %q: %d %s, want 200", host, w.Code, w.Body)
					}
				}
			}
			for _, host := range c.not {
				for name, handler := range map[string]http.Handler{"packages": h.packages, "manager": h.manager, "git": git} {
					for _, line := range []string{"GET /packages?user.name=ana", "PUT /packages/x-1.0.0.tgz?user.name=ana", "OPTIONS /packages", "HEAD /packages?user.name=ana", "GET /nothing", "GET /metrics"} {
						method, path, _ := strings.Cut(line, " ")
						w := ask(handler, method, path, host)
						if w.Code != http.StatusMisdirectedRequest || method != "HEAD" && !strings.Contains(w.Body.String(), "unknown host") {
							t.Errorf("%s: %s with Host %q: %d %s, want 421", name, line, host, w.Code, w.Body)
						}
					}
					for _, probe := range []string{"/livez", "/readyz"} {
						if w := ask(handler, "GET", probe, host); w.Code != http.StatusOK {
							t.Errorf("%s: %s with Host %q: %d, want 200", name, probe, host, w.Code)
						}
					}
				}
			}
			if n := h.record.changes(); n != 0 {
				t.Errorf("the record was asked for %d changes", n)
			}
		})
	}
}

// TestHostByMode: the name counts where something is answered without a credential.
func TestHostByMode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		mode dm.AuthMode
		user string
		want int
	}{
		{dm.InsecurePNDA, "", 421}, {dm.InsecurePNDA, "ana", 421},
		{dm.PublicRead, "", 421}, {dm.PublicRead, "ana", 200},
		{dm.Strict, "", 401}, {dm.Strict, "ana", 200},
	} {
		h := newHarness(t, options{mode: c.mode})
		q := request{method: "GET", path: "http://evil.example/applications", user: c.user}
		if w := h.do(t, "manager", q); w.Code != c.want {
			t.Errorf("%s as %q: %d, want %d: %s", c.mode, c.user, w.Code, c.want, w.Body)
		}
		q.path = "http://example.com/applications"
		if w := h.do(t, "manager", q); c.want == 421 && w.Code != 200 {
			t.Errorf("%s as %q by the server's name: %d, want 200: %s", c.mode, c.user, w.Code, w.Body)
		}
	}
}

// pages are who may send a request, and whether it may change anything.
var pages = []struct {
	name   string
	header http.Header
	may    bool
}{
	{"no browser", nil, true},
	{"own page", http.Header{"Sec-Fetch-Site": {"same-origin"}}, true},
	{"typed by the user", http.Header{"Sec-Fetch-Site": {"none"}}, true},
	{"own page, old browser", http.Header{"Origin": {"http://example.com"}}, true},
	{"listed page", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {mine}}, true},
	{"evil page", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {evil}}, false},
	{"evil page, old browser", http.Header{"Origin": {evil}}, false},
	{"page of a neighbour's port or host", http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"http://hub.example.com"}}, false},
	{"neighbour's port, old browser", http.Header{"Origin": {"http://example.com:8000"}}, false},
	{"sandboxed page", http.Header{"Origin": {"null"}}, false},
	{"image or form of an evil page", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}}, false},
}

// TestPagesOfOtherSites: whatever the mode and the credential, a page of another
// site changes nothing and sets nothing going; a read reaches the server and is
// none of the page's business.
func TestPagesOfOtherSites(t *testing.T) {
	t.Parallel()
	changes := []struct{ server, line, body string }{
		{"packages", "PUT /packages/new-1.0.0.tgz", "bytes"}, {"packages", "DELETE /packages/flow-collector-2.14.3.tar.gz", ""},
		{"manager", "PUT /packages/absent-1.0.0", ""}, {"manager", "PUT /applications/new", `{"package":"flow-collector-2.14.3"}`},
		{"manager", "POST /applications/test-1/start", ""}, {"manager", "POST /applications/noon-run/stop", ""},
		{"manager", "DELETE /applications/noon-run", ""}, {"manager", "POST /api/v1/applications/noon-run/rollback", `{"to":1}`},
		{"manager", "GET /selftest/all", ""}, {"manager", "HEAD /selftest/all", ""},
	}
	for mode, user := range map[dm.AuthMode]string{dm.InsecurePNDA: "", dm.PublicRead: "root", dm.Strict: "root"} {
		for _, page := range pages {
			for _, change := range changes {
				h := newHarness(t, options{mode: mode, site: apihandlers.SiteConfig{Origins: []string{mine}}})
				method, path, _ := strings.Cut(change.line, " ")
				w := h.do(t, change.server, request{method: method, path: path + "?user.name=root", body: change.body, user: user, header: page.header})
				if got := w.Code != http.StatusForbidden; got != page.may {
					t.Errorf("%s, %s, %s: %d %s, want allowed %v", mode, page.name, change.line, w.Code, w.Body, page.may)
				}
				if !page.may && h.record.changes() != 0 {
					t.Errorf("%s, %s, %s: the record was asked", mode, page.name, change.line)
				}
			}
			h := newHarness(t, options{mode: mode, site: apihandlers.SiteConfig{Origins: []string{mine}}})
			if w := h.do(t, "manager", request{method: "GET", path: "/applications", user: user, header: page.header}); w.Code != http.StatusOK {
				t.Errorf("%s, %s: a read is %d %s", mode, page.name, w.Code, w.Body)
			}
		}
	}
}

// TestPagesOfOtherSitesOnTheGitPort: there even the first GET may make a workspace.
func TestPagesOfOtherSitesOnTheGitPort(t *testing.T) {
	t.Parallel()
	site, err := apihandlers.NewSite(apihandlers.SiteConfig{Mode: dm.Strict, Origins: []string{mine}})
	must(t, err)
	for _, page := range pages {
		for _, line := range []string{"GET /jupyter-ana/info/refs?service=git-upload-pack", "POST /jupyter-ana/git-upload-pack", "POST /packages/p.git/git-receive-pack"} {
			git, asked := gitPort(t, site)
			method, path, _ := strings.Cut(line, " ")
			r := httptest.NewRequest(method, path, nil)
			maps.Copy(r.Header, page.header)
			w := httptest.NewRecorder()
			git.ServeHTTP(w, r)
			if (*asked == 1) != page.may || !page.may && (w.Code != http.StatusForbidden || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain")) {
				t.Errorf("%s, %s: %d %s, asked %d times, want allowed %v", page.name, line, w.Code, w.Body, *asked, page.may)
			}
		}
	}
}

// TestCORS: answers are readable by the pages of listed origins, of no other, and
// never with what the browser keeps.
func TestCORS(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, origin string
		origins      []string
		want         string
	}{
		{"default", evil, nil, ""},
		{"default, without origin", "", nil, ""},
		{"listed", mine, []string{mine}, mine},
		{"second of the list", mine, []string{"http://other.example:8080", mine}, mine},
		{"not listed", evil, []string{mine}, ""},
		{"null", "null", []string{mine}, ""},
		{"suffix", "https://console.example.evil", []string{mine}, ""},
		{"prefix", "https://evil-console.example", []string{mine}, ""},
		{"scheme", "http://console.example", []string{mine}, ""},
		{"port", "https://console.example:8443", []string{mine}, ""},
		{"letter case", "https://Console.example", []string{mine}, ""},
		{"no origin", "", []string{mine}, ""},
	}
	for _, mode := range []dm.AuthMode{dm.InsecurePNDA, dm.PublicRead} {
		for _, c := range cases {
			h := newHarness(t, options{mode: mode, site: apihandlers.SiteConfig{Origins: c.origins}})
			site, err := apihandlers.NewSite(apihandlers.SiteConfig{Mode: mode, Origins: c.origins, Hosts: []string{"example.com"}})
			must(t, err)
			git, _ := gitPort(t, site)
			for server, handler := range map[string]http.Handler{"packages": h.packages, "manager": h.manager, "git": git} {
				for _, line := range []string{"GET /packages?user.name=ana", "GET /nowhere", "OPTIONS /packages"} {
					method, path, _ := strings.Cut(line, " ")
					r := httptest.NewRequest(method, path, nil)
					if method == "OPTIONS" {
						r.Header.Set("Access-Control-Request-Method", "GET")
					}
					if c.origin != "" {
						r.Header.Set("Origin", c.origin)
					}
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, r)
					got, vary := w.Header().Get("Access-Control-Allow-Origin"), w.Header().Get("Vary") == "Origin"
					if got != c.want || vary != (len(c.origins) > 0) || w.Header().Get("Access-Control-Allow-Credentials") != "" {
						t.Errorf("%s, %s, %s: %s: %v; want origin %q", mode, c.name, server, line, w.Header(), c.want)
					}
					if allowed := w.Header().Get("Access-Control-Allow-Methods"); method == "OPTIONS" && c.origin != "" && (allowed != "") != (c.want != "") {
						t.Errorf("%s, %s, %s: the preflight allows the methods %q", mode, c.name, server, allowed)
					}
				}
			}
		}
	}
}

// TestPreflightOfAListedPage: every port tells its methods.
func TestPreflightOfAListedPage(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{mode: dm.Strict, site: apihandlers.SiteConfig{Origins: []string{mine}}})
	for path, want := range map[string]string{
		"packages /packages/x-1.0.0.tgz": "GET, HEAD, PUT, DELETE", "manager /applications/x": "GET, HEAD, PUT, DELETE", "manager /applications/x/start": "POST",
	} {
		server, path, _ := strings.Cut(path, " ")
		w := h.do(t, server, request{method: "OPTIONS", path: path, header: http.Header{"Origin": {mine}, "Access-Control-Request-Method": {"PUT"}}})
		if got := w.Header().Get("Access-Control-Allow-Methods"); w.Code != http.StatusNoContent || got != want || !strings.Contains(w.Header().Get("Access-Control-Allow-Headers"), "Authorization") {
			t.Errorf("%s %s: %d %v, want the methods %s", server, path, w.Code, w.Header(), want)
		}
	}
}

// TestSiteConfiguration: what cannot be a name or an origin stops the start.
func TestSiteConfiguration(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]apihandlers.SiteConfig{
		"host with a scheme":   {Hosts: []string{"http://dm.example"}},
		"host with a port":     {Hosts: []string{"dm.example:5000"}},
		"host with a path":     {Hosts: []string{"dm.example/x"}},
		"empty host":           {Hosts: []string{""}},
		"host with a star":     {Hosts: []string{"*.example"}},
		"origin without form":  {Origins: []string{"console.example"}},
		"origin with a path":   {Origins: []string{mine + "/x"}},
		"every origin":         {Origins: []string{"*"}},
		"address without port": {Listen: []string{"127.0.0.1"}},
	} {
		if _, err := apihandlers.NewSite(cfg); dm.KindOf(err) != dm.Invalid {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	if _, err := apihandlers.NewSite(apihandlers.SiteConfig{Hosts: []string{"DM.example.org", "fd00::1", "10.0.0.1"}, Origins: slices.Repeat([]string{mine}, 2)}); err != nil {
		t.Error(err)
	}
}
