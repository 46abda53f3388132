package apihandlers_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/auth"
)

// callers are the columns of the matrix of identities, six groups of them:
// nobody; people; tokens of ana and of root that are limited; the service
// console, for itself and for others; tokens that do not hold; tokens of
// JupyterHub, of people (one of them has the console's name), without the scope,
// of a service, unknown to it, and while it is away.
var callers = []string{
	"nobody",
	"ana", "bob", "publisher", "admin",
	"ana's token to read", "ana's for packages", "ana's for applications", "admin's for packages",
	"console", "console for ana", "console for an admin",
	"revoked", "expired",
	"ana by the Hub", "bob by the Hub", "admin by the Hub", "console by the Hub",
	"Hub, no scope", "Hub, service", "Hub, unknown", "Hub, away",
}

// rights gives a letter for each caller: y is the route's own success, n is
// 403, w is 401 and a is 503. What each person may do on every route is told by
// the tables in cmd/deployment-manager/testdata/access; here it is whether each
// sort of credential proves its person, and what its scope takes away.
var rights = map[string]map[dm.AuthMode]string{
	"read":         {dm.Strict: "w yyyy yyyy yyy ww yyyynnwa", dm.PublicRead: "y yyyy yyyy yyy ww yyyynnwa"},
	"packages":     {dm.Strict: "w yyyy nyny yyy ww yyyynnwa", dm.PublicRead: "w yyyy nyny yyy ww yyyynnwa"},
	"applications": {dm.Strict: "w yyyy nnyn yyy ww yyyynnwa", dm.PublicRead: "w yyyy nnyn yyy ww yyyynnwa"},

	// Over git the console is itself, whatever user.name says.
	"content over git":          {dm.Strict: "w ynny yyyy nnn ww ynynnnwa", dm.PublicRead: "w ynny yyyy nnn ww ynynnnwa"},
	"push to ana's application": {dm.Strict: "w ynny nnyn nnn ww ynynnnwa", dm.PublicRead: "w ynny nnyn nnn ww ynynnnwa"},
	"read of ana's workspace":   {dm.Strict: "w ynnn yyyn nnn ww ynnnnnwa", dm.PublicRead: "y yyyy yyyy yyy ww yyyynnwa"},
	"push to a workspace":       {dm.Strict: "w nnnn nnnn nnn ww nnnnnnwa", dm.PublicRead: "w nnnn nnnn nnn ww nnnnnnwa"},
}

// byCredential are routes of each door that ask no more of a person than to be
// one.
var byCredential = map[string]string{
	"packages/list-repository": "read", "manager/list-applications": "read", "manager/v1-at": "read",
	"packages/upload-package": "packages", "manager/deploy-package": "packages", "manager/create-application": "applications",
}

// identities is an Auth that knows everybody in callers, and their credentials.
type identities struct {
	*auth.Auth
	tokens map[string]string // by caller; "" is none
	ids    map[string]string
}

func newIdentities(t *testing.T, mode dm.AuthMode, admins bool) *identities {
	t.Helper()
	people := &identities{tokens: map[string]string{}, ids: map[string]string{}}
	path := filepath.Join(t.TempDir(), "tokens")
	make := func(caller string, user dm.UserName, scopes ...dm.Scope) {
		token, made, err := auth.CreateToken(path, auth.Token{User: user, Scopes: scopes, Expires: time.Now().Add(time.Hour)}, time.Now())
		must(t, err)
		people.tokens[caller], people.ids[caller] = token, made.ID
	}
	make("ana", "ana")
	make("bob", "bob")
	make("publisher", "pub")
	make("admin", "root")
	make("ana's token to read", "ana", dm.ScopeRead)
	make("ana's for packages", "ana", dm.ScopePackages)
	make("ana's for applications", "ana", dm.ScopeApplications)
	make("admin's for packages", "root", dm.ScopePackages, dm.ScopeRead)
	make("console", "console")
	people.tokens["console for ana"], people.tokens["console for an admin"] = people.tokens["console"], people.tokens["console"]
	make("revoked", "ana")
	_, err := auth.RevokeTokens(path, func(one auth.Token) bool { return one.ID == people.ids["revoked"] }, time.Now())
	must(t, err)
	hourAgo := time.Now().Add(-time.Hour)
	people.tokens["expired"], _, err = auth.CreateToken(path, auth.Token{User: "ana", Expires: hourAgo.Add(time.Minute)}, hourAgo)
	must(t, err)

	tokens, err := auth.OpenTokens(auth.TokensConfig{Path: path})
	must(t, err)
	directory, err := auth.NewDirectory(auth.DirectoryConfig{
		Users:  []dm.UserName{"ana", "bob", "console", "pub", "root"},
		Groups: map[string][]dm.UserName{"admin": {"root"}, "publisher": {"pub", "root"}},
	})
	must(t, err)
	hub, err := auth.OpenHub(auth.HubConfig{URL: people.startHub(t), Service: "deployment-manager"})
	must(t, err)
	people.Auth, err = auth.New(auth.Config{
		Mode: mode, Directory: directory, Policy: dm.NewPolicy(mode, dm.PublishByMode), Authenticators: []dm.Authenticator{tokens, hub},
		Impersonators: []dm.UserName{"console"}, ImpersonateAdmins: admins, Registerer: prometheus.NewRegistry(),
	})
	must(t, err)
	return people
}

// startHub starts a fakeHub and gives the callers who come by it their tokens.
func (p *identities) startHub(t *testing.T) (address string) {
	t.Helper()
	answers := fakeHub{}
	for i, one := range []struct{ caller, kind, name, scope string }{
		{"ana by the Hub", "user", "ana", "access:services!service=deployment-manager"},
		{"bob by the Hub", "user", "bob", "access:services!service=deployment-manager"},
		{"admin by the Hub", "user", "root", "access:services"},
		{"console by the Hub", "user", "console", "access:services"},
		{"Hub, no scope", "user", "ana", "access:servers!server=ana/"},
		{"Hub, service", "service", "ana", "access:services"},
		{"Hub, unknown", "", "", ""},
		{"Hub, away", "away", "", ""},
	} {
		token := fmt.Sprintf("%012d4aaa8%015d", i, i)
		p.tokens[one.caller] = token
		if one.kind != "" {
			answers["token "+token] = fmt.Sprintf(`{"kind": %q, "name": %q, "scopes": [%q]}`, one.kind, one.name, one.scope)
		}
	}
	server := httptest.NewServer(answers)
	t.Cleanup(server.Close)
	return server.URL
}

// fakeHub answers as JupyterHub does, by the header Authorization.
type fakeHub map[string]string

func (f fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, known := f[r.Header.Get("Authorization")]
	switch {
	case !known:
		w.WriteHeader(http.StatusForbidden)
	case strings.Contains(answer, "away"):
		w.WriteHeader(http.StatusBadGateway)
	}
	fmt.Fprint(w, answer)
}

// sign makes q come from the caller.
func (p *identities) sign(t *testing.T, q request, caller string) request {
	t.Helper()
	u, err := url.Parse(q.path)
	must(t, err)
	query := u.Query()
	query.Del("user.name")
	switch caller {
	case "nobody": // PNDA's package repository wants a name of them, which is believed nowhere here
		query.Set("user.name", "ana")
	case "console for ana":
		query.Set("user.name", "ana")
	case "console for an admin":
		query.Set("user.name", "root")
	}
	u.RawQuery = query.Encode()
	q.path, q.user, q.header = u.String(), "", q.header.Clone()
	if token := p.tokens[caller]; token != "" {
		if q.header == nil {
			q.header = http.Header{}
		}
		q.header.Set("Authorization", "Bearer "+token)
	}
	return q
}

// statuses are the letters of rights; success is what y stands for.
func statuses(t *testing.T, letters string, success int) []int {
	t.Helper()
	letters = strings.ReplaceAll(letters, " ", "")
	if len(letters) != len(callers) {
		t.Fatalf("%q has %d letters for %d callers", letters, len(letters), len(callers))
	}
	list := make([]int, len(letters))
	for i, letter := range letters {
		list[i] = map[rune]int{'y': success, 'n': http.StatusForbidden, 'w': http.StatusUnauthorized, 'a': http.StatusServiceUnavailable}[letter]
	}
	return list
}

// TestIdentityMatrix asks routes of every door with every sort of credential, and
// holds that no request without a valid one changes anything.
func TestIdentityMatrix(t *testing.T) {
	t.Parallel()
	routes := allRoutes(t)
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead} {
		people := newIdentities(t, mode, false)
		for _, key := range slices.Sorted(maps.Keys(byCredential)) {
			letters := rights[byCredential[key]][mode]
			h := newHarness(t, options{mode: mode, env: environment, maxBody: 100, identity: people.Auth})
			server, _, _ := strings.Cut(key, "/")
			for i, want := range statuses(t, letters, routes[key].Success) {
				q := goldenCases[key][0]
				q.method = routes[key].Method
				before := h.record.calls
				w := h.do(t, server, people.sign(t, q, callers[i]))
				if w.Code != want {
					t.Errorf("%s: %s %s as %s: got %d, want %d: %s", mode, q.method, q.path, callers[i], w.Code, want, w.Body)
				}
				if (w.Code == http.StatusUnauthorized || w.Code == http.StatusServiceUnavailable) && h.record.calls != before {
					t.Errorf("%s: %s %s as %s reached the record", mode, q.method, q.path, callers[i])
				}
				if challenged := w.Header().Get("WWW-Authenticate") != ""; challenged != (w.Code == http.StatusUnauthorized) {
					t.Errorf("%s: %s as %s: got %d with a challenge: %v", mode, key, callers[i], w.Code, challenged)
				}
			}
		}
	}
}

// TestGitIdentityMatrix does the same for the doors of git.
func TestGitIdentityMatrix(t *testing.T) {
	t.Parallel()
	workspace := dm.Repository{Kind: dm.WorkspaceRepository, Name: "ana"}
	flow := dm.Repository{Kind: dm.PackageRepository, Name: "flow"}
	noon := dm.Repository{Kind: dm.ApplicationRepository, Name: "noon"}
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead} {
		people := newIdentities(t, mode, false)
		for _, c := range []struct {
			class string
			repo  dm.Repository
			push  bool
		}{
			{"read of ana's workspace", workspace, false}, {"read", flow, false}, {"content over git", noon, false},
			{"push to a workspace", workspace, true}, {"packages", flow, true}, {"push to ana's application", noon, true},
		} {
			for i, want := range statuses(t, rights[c.class][mode], http.StatusOK) {
				q := people.sign(t, request{path: "/x/info/refs"}, callers[i])
				r := httptest.NewRequest(http.MethodGet, q.path, nil)
				r.Header = q.header
				actor, err := (&auth.GitDoor{Auth: people.Auth, Owners: &fakeRecord{}}).Authorize(r, c.repo, c.push)
				got := http.StatusOK
				if err != nil {
					got = apihandlers.FailureOf(err).Status
				}
				if got != want {
					t.Errorf("%s: %v, push %v, as %s: got %v, want %d", mode, c.repo, c.push, callers[i], err, want)
				}
				if err == nil && (actor.Impersonator != "" || strings.HasPrefix(callers[i], "console") && actor.User != "console") {
					t.Errorf("%s: %s is %+v over git", mode, callers[i], actor)
				}
			}
		}
	}
}

// TestImpersonation: who the record is told of.
func TestImpersonation(t *testing.T) {
	t.Parallel()
	upload := request{method: http.MethodPut, path: "/packages/new-1.0.0.tgz", body: "bytes"}
	cases := []struct {
		name, caller, claim string
		admins              bool
		status              int
		user, service       dm.UserName
		groups              []string
	}{
		{"in person", "ana", "", false, 200, "ana", "", nil},
		{"a person for themselves", "ana", "ana", false, 200, "ana", "", nil},
		{"a person for another", "ana", "bob", false, 403, "", "", nil},
		{"an admin for another", "admin", "bob", false, 403, "", "", nil},
		{"the service itself", "console", "", false, 200, "console", "", nil},
		{"the service for itself", "console", "console", false, 200, "console", "", nil},
		{"the service for a person", "console", "ana", false, 200, "ana", "console", nil},
		{"for a publisher", "console", "pub", false, 200, "pub", "console", []string{"publisher"}},
		{"for an admin", "console", "root", false, 200, "root", "console", []string{"publisher"}},
		{"for an admin, wanted so", "console", "root", true, 200, "root", "console", []string{"admin", "publisher"}},
		{"for nobody known", "console", "zoe", false, 403, "", "", nil},
		{"a user of JupyterHub with the service's name", "console by the Hub", "ana", false, 403, "", "", nil},
		{"for a malformed name", "console", "a/b", false, 400, "", "", nil},
	}
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead} {
		for _, c := range cases {
			t.Run(fmt.Sprint(mode, " ", c.name), func(t *testing.T) {
				t.Parallel()
				people := newIdentities(t, mode, c.admins)
				h := newHarness(t, options{mode: mode, identity: people.Auth})
				q := people.sign(t, upload, c.caller)
				if c.claim != "" {
					q.path += "?user.name=" + url.QueryEscape(c.claim)
				}
				w := h.do(t, "packages", q)
				got := h.record.actor
				if w.Code != c.status || got.User != c.user || got.Impersonator != c.service || !slices.Equal(got.Groups, c.groups) {
					t.Fatalf("got %d, %+v: %s", w.Code, got, w.Body)
				}
				if logged := strings.Contains(h.log.String(), `"impersonator":"console"`); logged != (c.service != "") {
					t.Errorf("the access line names a service: %v", logged)
				}
				if want := "token:" + people.ids[c.caller]; c.status == 200 && got.Auth != want {
					t.Errorf("the record is told %q, want %q", got.Auth, want)
				}
			})
		}
	}
}

// TestTooManyGuesses: a client is told in HTTP's words, and by no password.
func TestTooManyGuesses(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{mode: dm.Strict})
	for i := range 100 {
		r := httptest.NewRequest(http.MethodGet, "/applications", nil)
		r.SetBasicAuth("ana", fmt.Sprint("guess ", i))
		w := httptest.NewRecorder()
		h.manager.ServeHTTP(w, r)
		switch {
		case w.Code == http.StatusUnauthorized && i < 50:
			continue
		case w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || w.Header().Get("WWW-Authenticate") != "":
			t.Fatalf("guess %d: got %d, %v: %s", i, w.Code, w.Header(), w.Body)
		}
		return
	}
	t.Error("nobody is turned away")
}

// TestNoSecretIsTold plants secrets where clients put them, also where they do
// not belong, and looks for them in the log and in every answer.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	const planted = "PLANTED"
	basic := func(user, password string) http.Header {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return r.Header
	}
	encoded := strings.TrimPrefix(basic("ana", planted).Get("Authorization"), "Basic ")
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead, dm.InsecurePNDA} {
		h := newHarness(t, options{mode: mode, fail: fmt.Errorf("the record is broken")})
		for name, q := range map[string]request{
			"password":        {header: basic("ana", planted)},
			"user":            {header: basic(planted, "x")},
			"malformed user":  {header: basic("/"+planted, "x")},
			"bearer":          {header: http.Header{"Authorization": {"Bearer " + planted}}},
			"token":           {header: http.Header{"Authorization": {"Bearer dmt_" + planted}}},
			"Hub's scheme":    {header: http.Header{"Authorization": {"Token " + planted}}},
			"unknown scheme":  {header: http.Header{"Authorization": {"Negotiate " + planted}}},
			"no scheme":       {header: http.Header{"Authorization": {planted}}},
			"two":             {header: http.Header{"Authorization": {"Bearer " + planted, "Bearer " + planted}}},
			"cookie":          {header: http.Header{"Cookie": {"session=" + planted}}},
			"query":           {path: "?token=" + planted},
			"body":            {method: http.MethodPut, body: `{"package":"` + planted + `","password":"` + planted + `"}`, user: "ana"},
			"request id":      {header: http.Header{"X-Request-Id": {planted + "\n"}}},
			"signed in, fail": {user: "ana"},
		} {
			q.path = "/applications/new" + q.path
			if q.method == "" {
				q.method = http.MethodGet
			}
			w := h.do(t, "manager", q)
			// A body is the client's own, and what is wrong in it is quoted to them.
			if told := fmt.Sprint(w.Header(), w.Body); name != "body" && strings.Contains(told, planted) {
				t.Errorf("%s, %s: the answer tells it: %s", mode, name, told)
			}
			if log := h.log.String(); strings.Contains(log, planted) || strings.Contains(log, encoded) {
				t.Errorf("%s, %s: the log tells it: %s", mode, name, log)
			}
		}
		if !strings.Contains(h.log.String(), `"msg":"request"`) {
			t.Errorf("%s: nothing was logged at all", mode)
		}
	}
}
