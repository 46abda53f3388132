package auth

import (
	"net/http/httptest"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// TestHubsUsersDoNotImpersonate: a service proves its name by a password or a
// token of the server's own. At the Hub anybody may have taken the name.
func TestHubsUsersDoNotImpersonate(t *testing.T) {
	t.Parallel()
	directory, err := NewDirectory(DirectoryConfig{TrustAny: true})
	must(t, err)
	a, err := New(Config{Mode: dm.PublicRead, Directory: directory, Impersonators: []dm.UserName{"console"}})
	must(t, err)
	for how, want := range map[string]dm.Kind{
		"htpasswd": "", "token:0123abcd": "", fromHub: dm.Forbidden, fromHub + ":a1": dm.Forbidden,
	} {
		c := caller{
			door: &Door{Auth: a, Via: "manager"}, r: httptest.NewRequest("PUT", "/applications/a?user.name=ana", nil),
			access: apihandlers.Changing, principal: principal{user: "console", auth: how}, proven: true,
		}
		actor, err := c.Actor()
		if dm.KindOf(err) != want || err == nil && (actor.User != "ana" || actor.Impersonator != "console") {
			t.Errorf("the console, known by %s, acts as %q for %q, %v; want kind %q", how, actor.Impersonator, actor.User, err, want)
		}
	}
}
