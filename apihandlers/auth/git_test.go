package auth

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// ofAna is a record in which everything is ana's: noon delivers to the group
// class, taken is a name that was another's before deployment 3, and other was
// never created.
type ofAna struct{}

func (ofAna) PackageOwner(dm.PackageName) dm.UserName { return "ana" }

func (ofAna) ApplicationOwner(_ context.Context, app dm.ApplicationName) (on dm.Resource, since int, err error) {
	on = dm.Resource{Name: string(app), Owner: "ana", Audience: []dm.Subject{"group:class", "user:ana"}}
	switch app {
	case "taken":
		return on, 3, nil
	case "other":
		return dm.Resource{}, 0, dm.Errorf(dm.NotFound, "owner", "there never was an application other")
	}
	return on, 1, nil
}

// TestGitReadsOfApplications asks who may clone what an application delivers, and
// who is shown it by the first step of a push.
func TestGitReadsOfApplications(t *testing.T) {
	t.Parallel()
	actor := func(user dm.UserName, groups ...string) dm.Actor { return dm.Actor{User: user, Groups: groups} }
	const fine, no, none = dm.Kind(""), dm.Forbidden, dm.NotFound
	cases := []struct {
		name         string
		actor        dm.Actor
		app          string
		read, pushes dm.Kind
	}{
		{"owner", actor("ana"), "noon", fine, fine},
		{"audience", actor("bob", "class"), "noon", fine, fine}, // what is pushed is judged by itself
		{"stranger", actor("zoe", "staff"), "noon", no, no},
		{"publisher", actor("pub", dm.PublisherGroup), "noon", no, no},
		{"auditor", actor("aud", dm.AuditorGroup), "noon", fine, fine},
		{"admin", actor("root", dm.AdminGroup), "noon", fine, fine},
		{"owner of a name that was another's", actor("ana"), "taken", no, no},
		{"audience of such a name", actor("bob", "class"), "taken", no, no},
		{"auditor of such a name", actor("aud", dm.AuditorGroup), "taken", fine, fine},
		{"admin of such a name", actor("root", dm.AdminGroup), "taken", fine, fine},
		{"a name that never was", actor("zoe"), "other", none, fine},
	}
	d := &GitDoor{&Auth{policy: dm.NewPolicy(dm.Strict, dm.PublishByMode)}, ofAna{}}
	for _, c := range cases {
		repo := dm.Repository{Kind: dm.ApplicationRepository, Name: c.app}
		if err := d.mayRead(t.Context(), c.actor, repo); dm.KindOf(err) != c.read {
			t.Errorf("%s reads: got %v, want kind %q", c.name, err, c.read)
		}
		if err := d.mayPush(t.Context(), c.actor, repo); dm.KindOf(err) != c.pushes {
			t.Errorf("%s pushes: got %v, want kind %q", c.name, err, c.pushes)
		}
	}
}

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
		a, err := New(Config{Mode: mode, Directory: d, Policy: dm.NewPolicy(mode, dm.PublishByMode), Authenticators: []dm.Authenticator{file}})
		must(t, err)
		for _, c := range cases {
			want := map[dm.AuthMode]dm.Kind{dm.Strict: c.strict, dm.PublicRead: c.public, dm.InsecurePNDA: c.trusted}[mode]
			r := httptest.NewRequest(http.MethodPost, "/x/git-receive-pack?user.name=root", nil)
			c.set(r)
			actor, err := (&GitDoor{a, ofAna{}}).Authorize(r, c.repo, true)
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
	all := dm.NewPolicy(dm.Strict, dm.PublishByMode)
	owner := dm.Grant{Owner: true}
	admins := dm.Grant{Groups: []string{dm.AdminGroup}}
	cases := []struct {
		name   string
		policy dm.Policy
		scopes []dm.Scope
		repo   dm.Repository
		want   dm.Kind
	}{
		{"scope of packages, another's package", dm.Policy{Rules: dm.NewPolicy(dm.Strict, dm.PublishByMode).Rules[:1]}, []dm.Scope{dm.ScopePackages}, flow, dm.Forbidden},
		{"scope of packages, package", all, []dm.Scope{dm.ScopePackages}, flow, ""},
		{"scope of packages, application", all, []dm.Scope{dm.ScopePackages}, noon, dm.Forbidden},
		{"scope of applications, application", all, []dm.Scope{dm.ScopeApplications}, noon, ""},
		{"scope of applications, package", all, []dm.Scope{dm.ScopeApplications}, flow, dm.Forbidden},
		{"read only, package", all, []dm.Scope{dm.ScopeRead}, flow, dm.Forbidden},
		{"read only, application", all, []dm.Scope{dm.ScopeRead}, noon, dm.Forbidden},
		{"owners may stop", grant(owner, dm.ApplicationStop, dm.ApplicationContent), nil, noon, ""},
		{"owners may destroy", grant(owner, dm.ApplicationDestroy, dm.ApplicationContent), nil, noon, ""},
		{"owners may stop, not read", grant(owner, dm.ApplicationStop), nil, noon, dm.Forbidden},
		{"owners may read", grant(owner, dm.ApplicationRead, dm.RepositoryRead), nil, noon, dm.Forbidden},
		{"admins may create", grant(admins, dm.ApplicationCreate), nil, noon, dm.Forbidden},
		{"everyone may read", grant(dm.Grant{Everyone: true}, dm.RepositoryRead), nil, flow, dm.Forbidden},
	}
	for _, c := range cases {
		d := &GitDoor{&Auth{policy: c.policy}, ofAna{}}
		err := d.mayPush(t.Context(), dm.Actor{User: "ana", Scopes: c.scopes}, c.repo)
		if dm.KindOf(err) != c.want {
			t.Errorf("%s: got %v, want kind %q", c.name, err, c.want)
		}
	}
}

// TestReaderOfWorkspaces: who signed in tells their own groups, which may come with
// the credential. Of a user whose workspace somebody else reads only the directory is
// asked, and a name that it takes on trust is not one that it can name.
func TestReaderOfWorkspaces(t *testing.T) {
	t.Parallel()
	directory, err := NewDirectory(DirectoryConfig{TrustAny: true, Groups: map[string][]dm.UserName{"class-7": {"ana", "bob"}}})
	must(t, err)
	d := &GitDoor{&Auth{directory: directory}, ofAna{}}
	ana, zoe := dm.Actor{User: "ana", Groups: []string{"class-7", "staff"}}, dm.Actor{User: "zoe"}
	claimed := &GitDoor{&Auth{directory: directory, mode: dm.InsecurePNDA}, ofAna{}}
	if got, want := claimed.Reader(zoe, "zoe"), (dm.Reader{}); !reflect.DeepEqual(got, want) {
		t.Errorf("a name that is taken on trust: %+v, want %+v", got, want)
	}
	for _, c := range []struct {
		name string
		by   dm.Actor
		user dm.UserName
		want dm.Reader
	}{
		{"themself", ana, "ana", dm.Reader{Groups: []string{"class-7", "staff"}, Proved: true, Known: true}},
		{"themself, of whom nobody knew", zoe, "zoe", dm.Reader{Proved: true, Known: true}},
		{"somebody else", ana, "bob", dm.Reader{Groups: []string{"class-7"}, Known: true, Other: true}},
		{"somebody else, whom nobody can name", ana, "zoe", dm.Reader{Other: true}},
		{"nobody", dm.Actor{}, "ana", dm.Reader{Groups: []string{"class-7"}, Known: true}},
		{"nobody, and nobody can name them", dm.Actor{}, "zoe", dm.Reader{}},
	} {
		if got := d.Reader(c.by, c.user); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
