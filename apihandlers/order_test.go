package apihandlers_test

import (
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// TestOrderOfChecks sends requests with several faults; the answer tells which
// check came first.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	const good = `{"package":"flow-collector-2.14.3"}`
	cases := []struct {
		name, server string
		mode         dm.AuthMode
		q            request
		want         int
		says         string
	}{
		{"upload: credential before the name", "packages", dm.Strict, request{method: "PUT", path: "/packages/bad"}, 401, "credential"},
		{"upload: name before user.name", "packages", dm.InsecurePNDA, request{method: "PUT", path: "/packages/bad"}, 400, "must end in"},
		{"upload: name before the user", "packages", dm.InsecurePNDA, request{method: "PUT", path: "/packages/bad?user.name=zoe"}, 400, "must end in"},
		{"upload: user.name before the body", "packages", dm.InsecurePNDA,
			request{method: "PUT", path: "/packages/a-1.0.0.tgz", body: strings.Repeat("x", 200)}, 400, "user.name"},
		{"upload: user before the body", "packages", dm.InsecurePNDA,
			request{method: "PUT", path: "/packages/a-1.0.0.tgz?user.name=zoe", body: strings.Repeat("x", 200)}, 403, "no such user"},
		{"download: user before existence", "packages", dm.InsecurePNDA, request{method: "GET", path: "/packages/none-1.0.0.tgz?user.name=zoe"}, 403, "zoe"},
		{"delete: user before existence", "packages", dm.InsecurePNDA, request{method: "DELETE", path: "/packages/none-1.0.0.tgz?user.name=zoe"}, 403, "zoe"},
		{"list: user before recency", "packages", dm.InsecurePNDA, request{method: "GET", path: "/packages?user.name=zoe&recency=x"}, 403, "zoe"},
		{"create: credential before the body", "manager", dm.Strict, request{method: "PUT", path: "/applications/-rf", body: "?"}, 401, "credential"},
		{"create: body before user.name", "manager", dm.InsecurePNDA, request{method: "PUT", path: "/applications/new", body: "?"}, 400, "not JSON"},
		{"create: package before user in the body", "manager", dm.InsecurePNDA, request{method: "PUT", path: "/applications/new", body: `{"user":"ana"}`}, 400, `\"package\" is required`},
		{"create: user in the body before user.name", "manager", dm.InsecurePNDA,
			request{method: "PUT", path: "/applications/new", body: `{"package":"a-1.0.0","user":"ana"}`}, 400, `\"user\" is not allowed`},
		{"create: user.name before the application's state", "manager", dm.InsecurePNDA, request{method: "PUT", path: "/applications/noon-run", body: good}, 400, "user.name"},
		{"create: application before package", "manager", dm.InsecurePNDA,
			request{method: "PUT", path: "/applications/noon-run?user.name=ana", body: `{"package":"absent-1.0.0"}`}, 409, "STARTED"},
		{"stop: state before rules", "manager", dm.InsecurePNDA, request{method: "POST", path: "/applications/test-1/stop?user.name=bob"}, 409, "CREATED"},
		{"undeploy: state before rules", "manager", dm.InsecurePNDA, request{method: "DELETE", path: "/packages/absent-1.0.0?user.name=bob"}, 404, "NOTDEPLOYED"},
		{"detail: user before existence", "manager", dm.InsecurePNDA, request{method: "GET", path: "/applications/none/detail?user.name=zoe"}, 403, "zoe"},
		{"selftest: rules", "manager", dm.InsecurePNDA, request{method: "GET", path: "/selftest/all?user.name=bob"}, 403, "bob"},
		{"read of a damaged record: rules first", "manager", dm.InsecurePNDA, request{method: "GET", path: "/applications/broken?user.name=zoe"}, 403, "zoe"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, options{mode: c.mode, maxBody: 100})
			w := h.do(t, c.server, c.q)
			if w.Code != c.want || !strings.Contains(w.Body.String(), c.says) {
				t.Errorf("got %d %s, want %d and %q", w.Code, w.Body, c.want, c.says)
			}
		})
	}
}

// TestRefusedBeforeTheRecord: what a handler refuses never reaches the record.
func TestRefusedBeforeTheRecord(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{mode: dm.Strict, maxBody: 100})
	for _, q := range []request{
		{method: "PUT", path: "/packages/a-1.0.0.tgz", body: "x"},
		{method: "PUT", path: "/packages/a-1.0.0.tgz?user.name=bob", body: "x", user: "ana"},
		{method: "PUT", path: "/packages/a-1.0.0.tgz", body: strings.Repeat("x", 101), user: "ana"},
		{method: "DELETE", path: "/packages/..%2fa-1.0.0.tgz", user: "ana"},
	} {
		if w := h.do(t, "packages", q); w.Code < 400 {
			t.Errorf("%s %s: got %d", q.method, q.path, w.Code)
		}
	}
	if n := h.record.changes(); n != 0 {
		t.Errorf("the record was asked for %d changes, want 0", n)
	}
}

func TestPreflightNeedsNoCredential(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{mode: dm.Strict})
	for path, want := range map[string]int{"/applications/x": 204, "/selftest/all": 204, "/nowhere": 404} {
		if w := h.do(t, "manager", request{method: "OPTIONS", path: path}); w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
}
