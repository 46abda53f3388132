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
	auditor := dm.Actor{User: "aud", Groups: []string{dm.AuditorGroup}}
	member := dm.Actor{User: "mia", Groups: []string{"class-7"}}
	named := dm.Actor{User: "ned"}
	anonymous := dm.Actor{}
	all := []dm.Actor{owner, stranger, admin, publisher, auditor, member, named, anonymous}
	nobodys := dm.Resource{Name: "app"}
	anas := dm.Resource{Name: "app", Owner: "ana", Audience: []dm.Subject{"group:class-7", "user:ana", "user:ned"}}
	everyones := dm.Resource{Name: "app", Owner: "ana", Audience: []dm.Subject{dm.Everyone}}
	content := []dm.Action{dm.ApplicationContent}
	overrides := []dm.Action{dm.ApplicationOverrides}
	readers := []dm.Actor{owner, admin, auditor, member, named}
	signedIn := []dm.Actor{owner, stranger, admin, publisher, auditor, member, named}
	cases := []struct {
		mode    dm.AuthMode
		actions []dm.Action
		on      dm.Resource
		may     []dm.Actor
	}{
		{dm.Strict, []dm.Action{dm.RepositoryWrite, dm.RepositoryDelete}, nobodys, all},
		{dm.Strict, []dm.Action{dm.RepositoryWrite}, anas, []dm.Actor{owner, publisher, admin}},
		{dm.Strict, []dm.Action{dm.RepositoryDelete}, anas, []dm.Actor{owner, admin}},
		{dm.PublicRead, []dm.Action{dm.RepositoryWrite}, anas, []dm.Actor{owner, publisher, admin}},
		{dm.PublicRead, []dm.Action{dm.RepositoryDelete}, anas, []dm.Actor{owner, admin}},
		{dm.InsecurePNDA, []dm.Action{dm.RepositoryWrite, dm.RepositoryDelete}, anas, all},
		{dm.Strict, append(overrides, content...), anas, readers},
		{dm.Strict, append(overrides, content...), everyones, signedIn},
		{dm.Strict, append(overrides, content...), nobodys, []dm.Actor{admin, auditor}},
		{dm.PublicRead, overrides, anas, all},
		{dm.PublicRead, content, anas, readers},
		{dm.PublicRead, content, everyones, signedIn},
		{dm.InsecurePNDA, append(overrides, content...), anas, all},
		{dm.Strict, []dm.Action{dm.RepositoryRead, dm.PackageDeploy, dm.PackageRead, dm.PackagesRead,
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
		policy := dm.NewPolicy(c.mode, dm.PublishByMode)
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

// TestPublishRule: an installation may choose PNDA's way, or not to, in any mode.
func TestPublishRule(t *testing.T) {
	t.Parallel()
	anas := dm.Resource{Name: "flow", Owner: "ana"}
	for _, mode := range []dm.AuthMode{dm.Strict, dm.PublicRead, dm.InsecurePNDA} {
		for rule, want := range map[dm.PublishRule]bool{
			dm.PublishByAnyone: true, dm.PublishByOwner: false, dm.PublishByMode: mode == dm.InsecurePNDA,
		} {
			for _, action := range []dm.Action{dm.RepositoryWrite, dm.RepositoryDelete} {
				err := dm.NewPolicy(mode, rule).Authorize(dm.Actor{User: "bo"}, action, anas)
				if (err == nil) != want {
					t.Errorf("%s, %s: another may do %s: got %v, want %v", mode, rule, action, err, want)
				}
				if err != nil && !strings.Contains(dm.Public(err), "belongs to ana") {
					t.Errorf("%s, %s: the refusal does not say whose it is: %v", mode, rule, dm.Public(err))
				}
			}
		}
	}
}

// TestActionsHaveWords: the page that people read says of every action the same
// as the table that decides.
func TestActionsHaveWords(t *testing.T) {
	t.Parallel()
	for action, want := range map[dm.Action]string{
		dm.ApplicationContent: "owner, audience, admin, auditor",
		dm.RepositoryDelete:   "owner (everybody while there is none), admin",
		dm.ApplicationRead:    "everybody",
		dm.WorkspaceRead:      "owner",
		"unknown":             "nobody",
	} {
		if got := dm.NewPolicy(dm.Strict, dm.PublishByMode).Words(action); got != want {
			t.Errorf("%s: got %q, want %q", action, got, want)
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
