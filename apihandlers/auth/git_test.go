package auth

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// TestGitPush asks who may push where.
func TestGitPush(t *testing.T) {
	t.Parallel()
	flow := dm.Repository{Kind: dm.PackageRepository, Name: "flow"}
	noon := dm.Repository{Kind: dm.ApplicationRepository, Name: "noon"}
	anas := dm.Repository{Kind: dm.WorkspaceRepository, Name: "ana"}
	basic := func(user, password string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(user, password) }
	}
	nobody := func(*http.Request) {}
	const fine, who, no = dm.Kind(""), dm.Unauthenticated, dm.Forbidden
	cases := []struct {
		name                    string
		set                     func(*http.Request)
		repo                    dm.Repository
		strict, public, trusted dm.Kind
	}{
		{"nobody, package", nobody, flow, who, who, who},
		{"nobody, application", nobody, noon, who, who, who},
		{"empty claim", basic("", "x"), flow, who, who, who},
		{"package", basic("ana", "good"), flow, fine, fine, fine},
		{"application", basic("ana", "good"), noon, fine, fine, fine},
		{"own workspace", basic("ana", "good"), anas, no, no, no},
		{"wrong password", basic("ana", "bad"), flow, who, who, fine},
		{"unknown to the list", basic("zoe", "zoes"), flow, no, no, no},
	}
	path := filepath.Join(t.TempDir(), "htpasswd")
	must(t, os.WriteFile(path, []byte("ana:"+hashOf(t, "good", 4)+"\nzoe:"+hashOf(t, "zoes", 4)+"\n"), 0o600))
	file, err := OpenHtpasswd(HtpasswdConfig{Path: path})
	must(t, err)
	d, err := NewDirectory(DirectoryConfig{Users: []dm.UserName{"ana", "bob"}})
	must(t, err)
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead, dm.InsecurePNDA} {
		a, err := New(Config{Mode: mode, Directory: d, Policy: dm.DefaultPolicy(mode), Authenticators: []dm.Authenticator{file}})
		must(t, err)
		for _, c := range cases {
			want := map[dm.AuthMode]dm.Kind{dm.Strict: c.strict, dm.PublicRead: c.public, dm.InsecurePNDA: c.trusted}[mode]
			r := httptest.NewRequest(http.MethodPost, "/x/git-receive-pack?user.name=root", nil)
			c.set(r)
			actor, err := a.Git(r, c.repo, true)
			if dm.KindOf(err) != want {
				t.Errorf("%s, %s: got %v, want kind %q", mode, c.name, err, want)
			}
			if err == nil && (actor.User != "ana" || actor.Via != "push") {
				t.Errorf("%s, %s: the actor is %+v, want ana through push", mode, c.name, actor)
			}
		}
	}
}

// TestGitPushNeedsOneAction holds that any of the changes that a push can mean
// opens the door, and that a credential for other things does not.
func TestGitPushNeedsOneAction(t *testing.T) {
	t.Parallel()
	flow := dm.Repository{Kind: dm.PackageRepository, Name: "flow"}
	noon := dm.Repository{Kind: dm.ApplicationRepository, Name: "noon"}
	grant := func(g dm.Grant, actions ...dm.Action) dm.Policy {
		return dm.Policy{Rules: []dm.Rule{{Grant: g, Actions: actions}}}
	}
	all := dm.DefaultPolicy(dm.Strict)
	owner := dm.Grant{Owner: true}
	admins := dm.Grant{Groups: []string{dm.AdminGroup}}
	cases := []struct {
		name   string
		policy dm.Policy
		scopes []dm.Scope
		repo   dm.Repository
		want   dm.Kind
	}{
		{"scope of packages, package", all, []dm.Scope{dm.ScopePackages}, flow, ""},
		{"scope of packages, application", all, []dm.Scope{dm.ScopePackages}, noon, dm.Forbidden},
		{"scope of applications, application", all, []dm.Scope{dm.ScopeApplications}, noon, ""},
		{"scope of applications, package", all, []dm.Scope{dm.ScopeApplications}, flow, dm.Forbidden},
		{"read only, package", all, []dm.Scope{dm.ScopeRead}, flow, dm.Forbidden},
		{"read only, application", all, []dm.Scope{dm.ScopeRead}, noon, dm.Forbidden},
		{"owners may stop", grant(owner, dm.ApplicationStop), nil, noon, ""},
		{"owners may destroy", grant(owner, dm.ApplicationDestroy), nil, noon, ""},
		{"owners may read", grant(owner, dm.ApplicationRead, dm.RepositoryRead), nil, noon, dm.Forbidden},
		{"admins may create", grant(admins, dm.ApplicationCreate), nil, noon, dm.Forbidden},
		{"everyone may read", grant(dm.Grant{Everyone: true}, dm.RepositoryRead), nil, flow, dm.Forbidden},
	}
	for _, c := range cases {
		a := &Auth{policy: c.policy}
		err := a.mayPush(dm.Actor{User: "ana", Scopes: c.scopes}, c.repo)
		if dm.KindOf(err) != c.want {
			t.Errorf("%s: got %v, want kind %q", c.name, err, c.want)
		}
	}
}
