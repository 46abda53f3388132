package apihandlers_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// ok stands for the route's own success in the matrix.
const ok = 0

// principals are the columns of the matrix. ana owns everything, root is in
// the group admin; "wrong" is ana with a password that does not hold.
var principals = []string{"", "ana", "bob", "root", "wrong"}

// expectations gives the codes by class of route and mode, in the order of
// principals. In insecure-pnda nobody looks at a password.
var expectations = map[string]map[dm.AuthMode][]int{
	"read": {
		dm.Strict:       {401, ok, ok, ok, 401},
		dm.PublicRead:   {ok, ok, ok, ok, 401},
		dm.InsecurePNDA: {ok, ok, ok, ok, ok},
	},
	"change": {
		dm.Strict:       {401, ok, ok, ok, 401},
		dm.PublicRead:   {401, ok, ok, ok, 401},
		dm.InsecurePNDA: {400, ok, ok, ok, ok},
	},
	"package's owner": { // insecure-pnda has none
		dm.Strict:       {401, ok, 403, ok, 401},
		dm.PublicRead:   {401, ok, 403, ok, 401},
		dm.InsecurePNDA: {400, ok, ok, ok, ok},
	},
	"owner": {
		dm.Strict:       {401, ok, 403, ok, 401},
		dm.PublicRead:   {401, ok, 403, ok, 401},
		dm.InsecurePNDA: {400, ok, 403, ok, ok},
	},
	"admin": {
		dm.Strict:       {401, 403, 403, ok, 401},
		dm.PublicRead:   {403, 403, 403, ok, 401},
		dm.InsecurePNDA: {403, 403, 403, ok, 403},
	},
	"content": {
		dm.Strict:       {401, ok, 403, ok, 401},
		dm.PublicRead:   {401, ok, 403, ok, 401},
		dm.InsecurePNDA: {ok, ok, ok, ok, ok},
	},
	"fallback": {
		dm.Strict:       {401, ok, ok, ok, 401},
		dm.PublicRead:   {401, ok, ok, ok, 401},
		dm.InsecurePNDA: {ok, ok, ok, ok, ok},
	},
}

// classes says which row of expectations each route follows. A new route must
// be put here by a person who has thought about it.
var classes = map[string]string{
	"packages/list-repository": "read", "packages/download-package": "read", "packages/probe-package": "read",
	"packages/upload-package": "change", "packages/delete-package": "package's owner",
	"manager/list-repository": "read", "manager/environment-endpoints": "read", "manager/selftest": "admin",
	"manager/list-packages": "read", "manager/package": "read", "manager/package-status": "read",
	"manager/package-applications": "read", "manager/package-other": "read",
	"manager/deploy-package": "change", "manager/undeploy-package": "owner",
	"manager/list-applications": "read", "manager/application": "read", "manager/application-status": "read",
	"manager/application-detail": "read", "manager/application-summary": "read", "manager/application-other": "read",
	"manager/create-application": "change", "manager/destroy-application": "owner",
	"manager/start-application": "owner", "manager/stop-application": "owner", "manager/application-other-action": "fallback",
	"manager/v1-application": "read", "manager/v1-change-application": "owner",
	"manager/v1-rollback": "owner", "manager/v1-application-history": "read", "manager/v1-application-diff": "content",
	"manager/v1-package-history": "read", "manager/v1-package-diff": "read", "manager/v1-at": "read",
}

func TestAuthMatrix(t *testing.T) {
	t.Parallel()
	routes := allRoutes(t)
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead, dm.InsecurePNDA} {
		h := newHarness(t, options{mode: mode, env: environment, maxBody: 100})
		for _, key := range slices.Sorted(maps.Keys(routes)) {
			want, known := expectations[classes[key]][mode]
			if !known {
				t.Errorf("%s: the route is in no class", key)
				continue
			}
			server, _, _ := strings.Cut(key, "/")
			for i, who := range principals {
				q := goldenCases[key][0]
				q.method = routes[key].Method
				as(&q, mode, who)
				code := want[i]
				if code == ok {
					code = routes[key].Success
				}
				w := h.do(t, server, q)
				if w.Code != code {
					t.Errorf("%s: %s %s as %q: got %d, want %d: %s", mode, q.method, q.path, who, w.Code, code, w.Body)
				}
				if challenged := w.Header().Get("WWW-Authenticate") != ""; challenged != (w.Code == http.StatusUnauthorized) {
					t.Errorf("%s: %s as %q: got %d with a challenge: %v", mode, key, who, w.Code, challenged)
				}
			}
		}
	}
}

// as makes q come from who: by user.name where names are believed, by password
// elsewhere. The package repository wants user.name, which may be empty.
func as(q *request, mode dm.AuthMode, who string) {
	q.path = strings.ReplaceAll(q.path, "user.name=root", "user.name=ana")
	switch {
	case mode == dm.InsecurePNDA:
		name := who
		if who == "wrong" {
			name = "ana"
			q.header = http.Header{"Authorization": {"Basic YW5hOndyb25n"}}
		}
		q.path = strings.ReplaceAll(q.path, "user.name=ana", "user.name="+name)
		if !strings.Contains(q.path, "user.name=") && name != "" {
			q.path += "?user.name=" + name
		}
		return
	case who == "wrong":
		q.header = http.Header{"Authorization": {"Basic YW5hOndyb25n"}}
	default:
		q.user = who
	}
	q.path = strings.ReplaceAll(q.path, "user.name=ana", "user.name=")
	if who != "" {
		q.path = strings.NewReplacer("?user.name=&", "?", "?user.name=", "", "&user.name=", "").Replace(q.path)
	}
}

func TestUserNameAgainstCredential(t *testing.T) {
	t.Parallel()
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead} {
		h := newHarness(t, options{mode: mode})
		cases := []struct {
			name, server string
			q            request
			want         int
		}{
			{"absent is the principal", "packages", request{method: "GET", path: "/packages", user: "ana"}, 200},
			{"equal", "packages", request{method: "GET", path: "/packages?user.name=ana", user: "ana"}, 200},
			{"different", "packages", request{method: "GET", path: "/packages?user.name=bob", user: "ana"}, 403},
			{"admin is no exception", "manager", request{method: "POST", path: "/applications/test-1/start?user.name=ana", user: "root"}, 403},
			{"empty read", "manager", request{method: "GET", path: "/packages?user.name=", user: "ana"}, 200},
			{"empty change", "manager", request{method: "PUT", path: "/packages/absent-1.0.0?user.name=", user: "ana"}, 400},
			{"repeated", "manager", request{method: "GET", path: "/packages?user.name=ana&user.name=ana", user: "ana"}, 400},
			{"malformed", "manager", request{method: "GET", path: "/packages?user.name=a%2Fb", user: "ana"}, 400},
		}
		for _, c := range cases {
			t.Run(string(mode)+" "+c.name, func(t *testing.T) {
				if w := h.do(t, c.server, c.q); w.Code != c.want {
					t.Errorf("got %d, want %d: %s", w.Code, c.want, w.Body)
				}
			})
		}
	}
}

// TestPublicReadBelievesNoName: a name without a proof neither counts nor tells
// who exists.
func TestPublicReadBelievesNoName(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{mode: dm.PublicRead})
	for _, path := range []string{"/packages?user.name=root", "/packages?user.name=zoe", "/packages?user.name="} {
		if w := h.do(t, "packages", request{method: "GET", path: path}); w.Code != http.StatusOK {
			t.Errorf("%s: got %d, want 200: %s", path, w.Code, w.Body)
		}
	}
	w := h.do(t, "manager", request{method: "GET", path: "/selftest/all?user.name=root"})
	if w.Code != http.StatusForbidden {
		t.Errorf("selftest with a claimed admin: got %d, want 403", w.Code)
	}
}

func TestActorReachesTheRecord(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		mode dm.AuthMode
		q    request
		on   string
		want dm.Actor
	}{
		{"proven", dm.Strict, request{method: "PUT", path: "/packages/absent-1.0.0", user: "root"}, "manager",
			dm.Actor{User: "root", Groups: []string{"admin"}, Auth: "htpasswd", Via: "manager"}},
		{"believed", dm.InsecurePNDA, request{method: "PUT", path: "/packages/new-1.0.0.tgz?user.name=bob"}, "packages",
			dm.Actor{User: "bob", Auth: "none", Via: "packages"}},
		{"native", dm.Strict, request{method: "PUT", path: "/api/v1/applications/test-1", body: `{"overrides":{}}`, user: "ana"}, "manager",
			dm.Actor{User: "ana", Auth: "htpasswd", Via: "api"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t, options{mode: c.mode})
			w := h.do(t, c.on, c.q)
			if w.Code >= 400 {
				t.Fatalf("got %d: %s", w.Code, w.Body)
			}
			got := h.record.actor
			if got.User != c.want.User || got.Auth != c.want.Auth || got.Via != c.want.Via || !slices.Equal(got.Groups, c.want.Groups) {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}
