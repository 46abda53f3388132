package dm_test

import (
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

func TestDefaultPolicy(t *testing.T) {
	t.Parallel()
	owner := dm.Actor{User: "ana"}
	stranger := dm.Actor{User: "bo"}
	admin := dm.Actor{User: "root", Groups: []string{"staff", dm.AdminGroup}}
	publisher := dm.Actor{User: "pat", Groups: []string{dm.PublisherGroup}}
	anonymous := dm.Actor{}
	all := []dm.Actor{owner, stranger, admin, publisher, anonymous}
	anas := dm.Resource{Name: "app", Owner: "ana"}
	cases := []struct {
		mode    dm.AuthMode
		actions []dm.Action
		on      dm.Resource
		may     []dm.Actor
	}{
		{dm.Strict, []dm.Action{dm.RepositoryRead, dm.RepositoryWrite, dm.RepositoryDelete, dm.PackageDeploy, dm.PackageRead, dm.PackagesRead,
			dm.ApplicationCreate, dm.ApplicationRead, dm.ApplicationsRead, dm.ApplicationHistory, dm.EnvironmentRead, dm.ManagerRepoRead}, anas, all},
		{dm.Strict, []dm.Action{dm.PackageUndeploy, dm.ApplicationStart, dm.ApplicationStop, dm.ApplicationDestroy, dm.ApplicationChange,
			dm.ApplicationRollback}, anas, []dm.Actor{owner, admin}},
		{dm.Strict, []dm.Action{dm.ApplicationStart, dm.PackageUndeploy}, dm.Resource{Name: "app"}, []dm.Actor{admin}},
		{dm.Strict, []dm.Action{dm.AudienceDeliver}, anas, []dm.Actor{publisher, admin}},
		{dm.Strict, []dm.Action{dm.SelftestRun}, anas, []dm.Actor{admin}},
		{dm.Strict, []dm.Action{dm.WorkspaceRead}, anas, []dm.Actor{owner}},
		{dm.PublicRead, []dm.Action{dm.WorkspaceRead}, anas, all},
		{dm.InsecurePNDA, []dm.Action{dm.WorkspaceRead}, anas, all},
		{dm.InsecurePNDA, []dm.Action{dm.ApplicationDestroy}, anas, []dm.Actor{owner, admin}},
		{dm.InsecurePNDA, []dm.Action{"deployment_manager:unknown:thing", ""}, anas, nil},
	}
	for _, c := range cases {
		policy := dm.DefaultPolicy(c.mode)
		for _, action := range c.actions {
			for _, actor := range all {
				want := false
				for _, a := range c.may {
					want = want || a.User == actor.User
				}
				err := policy.Authorize(actor, action, c.on)
				if (err == nil) != want {
					t.Errorf("%s: %q may do %s on %+v: got %v, want %v", c.mode, actor.User, action, c.on, err, want)
				}
				if err != nil && (dm.KindOf(err) != dm.Forbidden || !strings.Contains(dm.Public(err), string(action))) {
					t.Errorf("refusal %v", err)
				}
			}
		}
	}
}

func TestEmptyPolicyRefuses(t *testing.T) {
	t.Parallel()
	err := dm.Policy{}.Authorize(dm.Actor{}, dm.RepositoryRead, dm.Resource{})
	if dm.KindOf(err) != dm.Forbidden || !strings.Contains(dm.Public(err), "the anonymous user") {
		t.Errorf("got %v", err)
	}
}

func TestParseAuthMode(t *testing.T) {
	t.Parallel()
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead, dm.InsecurePNDA} {
		if got, err := dm.ParseAuthMode(string(mode)); err != nil || got != mode {
			t.Errorf("%s: got %s, %v", mode, got, err)
		}
	}
	for _, text := range []string{"", "none", "Strict"} {
		_, err := dm.ParseAuthMode(text)
		refused(t, err, "must be strict")
	}
}
