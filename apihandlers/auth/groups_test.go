package auth

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// groupsProver proves whoever names himself, and knows groups of theirs.
type groupsProver map[dm.UserName][]string

func (p groupsProver) Authenticate(_ context.Context, c dm.Credential) (dm.Identity, bool, error) {
	return dm.Identity{User: dm.UserName(c.User), Auth: "fake", Groups: p[dm.UserName(c.User)]}, true, nil
}

// TestGroupsOfAnIdentity: a group that comes with the identity counts as one of
// the directory does, at every door, and a person for whom a service acts gets
// none of the service's.
func TestGroupsOfAnIdentity(t *testing.T) {
	t.Parallel()
	d, err := NewDirectory(DirectoryConfig{TrustAny: true, Groups: map[string][]dm.UserName{"class-7": {"ana", "bob"}}})
	must(t, err)
	policy := dm.NewPolicy(dm.Strict, dm.PublishByMode)
	prover := groupsProver{"ana": {"publisher", "class-7"}, "console": {"admin"}}
	a, err := New(Config{
		Mode: dm.Strict, Directory: d, Policy: policy, Authenticators: []dm.Authenticator{prover},
		Impersonators: []dm.UserName{"console"}, ImpersonateAdmins: true,
	})
	must(t, err)
	for _, c := range []struct {
		user, claim string
		groups      []string
		deliver     bool // to others, which needs publisher or admin
	}{
		{"ana", "", []string{"class-7", "publisher"}, true},
		{"bob", "", []string{"class-7"}, false},
		{"zoe", "", nil, false},
		{"console", "", []string{"admin"}, true},
		{"console", "bob", []string{"class-7"}, false},
	} {
		r := httptest.NewRequest(http.MethodPut, "/x?user.name="+c.claim, nil)
		if c.claim == "" {
			r = httptest.NewRequest(http.MethodPut, "/x", nil)
		}
		r.SetBasicAuth(c.user, "x")
		asked, err := (&Door{Auth: a, Via: "api"}).Authenticate(r, apihandlers.Changing)
		must(t, err)
		actor, err := asked.Actor()
		must(t, err)
		if !slices.Equal(actor.Groups, c.groups) {
			t.Errorf("%s as %q is in %v, want %v", c.user, c.claim, actor.Groups, c.groups)
		}
		if err := policy.Authorize(actor, dm.AudienceDeliver, dm.Resource{Name: "noon"}); (err == nil) != c.deliver {
			t.Errorf("%s as %q delivers to others: %v, want allowed %v", c.user, c.claim, err, c.deliver)
		}
		if c.claim != "" {
			continue // git knows no such thing
		}
		cloner, err := (&GitDoor{a, ofAna{}}).Authorize(r, dm.Repository{Kind: dm.PackageRepository, Name: "flow"}, false)
		if err != nil || !slices.Equal(cloner.Groups, c.groups) {
			t.Errorf("git: %s is in %v, %v; want %v", c.user, cloner.Groups, err, c.groups)
		}
	}
}
