package apihandlers_test

import (
	"net/http"
	"slices"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

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
