package apihandlers_test

import (
	"net/http/httptest"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// TestClients tells whose share a request counts against.
func TestClients(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		user       dm.UserName
		auth, from string
		share      string
	}{
		{"ana", "htpasswd", "192.0.2.1:5", "user ana"},
		{"ana", "token:x", "127.0.0.1:5", "user ana"},
		{"ana", "none", "192.0.2.1:5", "192.0.2.1"},
		{"", "none", "[2001:db8::1]:5", "2001:db8::1"},
		{"", "", "192.0.2.1:5", "192.0.2.1"},
		{"ana", "none", "127.0.0.1:5", "claimed ana"},
		{"ana", "none", "[::1]:5", "claimed ana"},
		{"", "none", "127.0.0.1:5", ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.from
		if got := dm.Client(apihandlers.WithClient(r, dm.Actor{User: c.user, Auth: c.auth}).Context()); got != c.share {
			t.Errorf("%q by %q from %s: %q, want %q", c.user, c.auth, c.from, got, c.share)
		}
	}
}
