package hooks

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
)

// fakeDirectory knows the users of its groups and no one else.
type fakeDirectory map[string][]dm.UserName

func (d fakeDirectory) Known(u dm.UserName) bool { return slices.Contains(d.everyone(), u) }

func (d fakeDirectory) Groups(u dm.UserName) []string {
	var groups []string
	for g, members := range d {
		if slices.Contains(members, u) {
			groups = append(groups, g)
		}
	}
	slices.Sort(groups)
	return groups
}

func (d fakeDirectory) Members(group string) []dm.UserName { return d[group] }

func (d fakeDirectory) everyone() []dm.UserName {
	var all []dm.UserName
	for _, members := range d {
		all = append(all, members...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// fakePlanner answers as told and counts.
type fakePlanner struct {
	findings []dm.Finding
	err      error
	planned  int
}

func (p *fakePlanner) Validate(dm.PackageRef, string, fs.FS) (dm.Validation, error) {
	return dm.Validation{}, errors.New("admission does not validate packages")
}

func (p *fakePlanner) Look() func(string, int64) int64 { return nil }

func (p *fakePlanner) Plan(_ dm.PackageRef, spec dm.Spec, _ fs.FS, _ dm.Reserve) (dm.Plan, []dm.Finding, error) {
	p.planned++
	return dm.Plan{Notes: []string{"planned " + string(spec.Name)}}, p.findings, p.err
}

var directory = fakeDirectory{
	"admin": {"root"}, "publisher": {"paula"}, "class-7": {"bob", "ana"}, "staff": {"ana", "zoe"},
}

func actor(u dm.UserName) dm.Actor { return dm.Actor{User: u, Groups: directory.Groups(u)} }

func proposal(by dm.UserName, verb dm.Verb, audience ...dm.Subject) dm.AdmissionRequest {
	p := dm.AdmissionRequest{
		Actor: actor(by), Verb: verb,
		Package: dm.PackageRef{Name: "flow", Version: dm.Version{Major: 1}}, PackageOwner: "olga",
		Application: "noon", ApplicationOwner: "ana",
		Spec:  dm.Spec{Name: "noon", Owner: "ana", Audience: audience},
		Files: fstest.MapFS{}, Audience: len(audience) > 0,
	}
	if verb == dm.Create {
		p.ApplicationOwner, p.Spec.Owner = by, by
	}
	return p
}

// first is a proposal for a package that nobody published yet.
func first(p dm.AdmissionRequest) dm.AdmissionRequest {
	p.PackageOwner = ""
	return p
}

func TestAdmitAsksThePolicy(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		p    dm.AdmissionRequest
		want dm.Kind
	}{
		{"anyone publishes the first version", first(proposal("zoe", dm.Publish)), ""},
		{"owner publishes", proposal("olga", dm.Publish), ""},
		{"publisher publishes", proposal("paula", dm.Publish), ""},
		{"admin publishes", proposal("root", dm.Publish), ""},
		{"another publishes", proposal("zoe", dm.Publish), dm.Forbidden},
		{"owner withdraws", proposal("olga", dm.Withdraw), ""},
		{"publisher withdraws", proposal("paula", dm.Withdraw), dm.Forbidden},
		{"admin withdraws", proposal("root", dm.Withdraw), ""},
		{"another withdraws", proposal("zoe", dm.Withdraw), dm.Forbidden},
		{"anonymous publishes", proposal("", dm.Publish), dm.Invalid},
		{"anonymous withdraws", proposal("", dm.Withdraw), dm.Invalid},
		{"anyone deploys", proposal("zoe", dm.Deploy), ""},
		{"anonymous deploys", proposal("", dm.Deploy), dm.Invalid},
		{"package owner undeploys", proposal("olga", dm.Undeploy), ""},
		{"admin undeploys", proposal("root", dm.Undeploy), ""},
		{"application owner undeploys another's package", proposal("ana", dm.Undeploy), dm.Forbidden},
		{"anyone creates", proposal("zoe", dm.Create), ""},
		{"anonymous creates", proposal("", dm.Create), dm.Invalid},
		{"owner changes", proposal("ana", dm.Change), ""},
		{"admin changes", proposal("root", dm.Change), ""},
		{"stranger changes", proposal("zoe", dm.Change), dm.Forbidden},
		{"package owner changes another's application", proposal("olga", dm.Change), dm.Forbidden},
		{"owner rolls back", proposal("ana", dm.Rollback, "user:ana"), ""},
		{"admin rolls back for the owner", proposal("root", dm.Rollback, "user:ana"), ""},
		{"stranger rolls back", proposal("zoe", dm.Rollback), dm.Forbidden},
		{"package owner rolls back another's application", proposal("olga", dm.Rollback), dm.Forbidden},
		{"anonymous rolls back", proposal("", dm.Rollback), dm.Invalid},
		{"owner rolls back to an audience of others", proposal("ana", dm.Rollback, "group:class-7"), dm.Forbidden},
		{"owner starts", proposal("ana", dm.Start), ""},
		{"stranger starts", proposal("zoe", dm.Start), dm.Forbidden},
		{"anonymous starts", proposal("", dm.Start), dm.Invalid},
		{"owner stops", proposal("ana", dm.Stop), ""},
		{"stranger stops", proposal("zoe", dm.Stop), dm.Forbidden},
		{"owner destroys", proposal("ana", dm.Destroy), ""},
		{"stranger destroys", proposal("zoe", dm.Destroy), dm.Forbidden},
		{"a verb without a rule", proposal("root", dm.Verb("paint")), dm.Forbidden},

		{"create for oneself", proposal("zoe", dm.Create, "user:zoe"), ""},
		{"create for another", proposal("zoe", dm.Create, "user:zoe", "user:bob"), dm.Forbidden},
		{"create for a group one is in", proposal("zoe", dm.Create, "group:staff"), dm.Forbidden},
		{"create for everyone", proposal("zoe", dm.Create, dm.Everyone), dm.Forbidden},
		{"publisher creates for everyone", proposal("paula", dm.Create, dm.Everyone, "group:class-7"), ""},
		{"admin creates for another", proposal("root", dm.Create, "user:bob"), ""},
		{"publisher creates for a stranger", proposal("paula", dm.Create, "user:nobody"), dm.Invalid},
		{"owner changes the audience to others", proposal("ana", dm.Change, "group:class-7"), dm.Forbidden},
		{"admin changes for the owner", proposal("root", dm.Change, "user:ana"), ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			planner := &fakePlanner{}
			plan, err := newAdmission(t, dm.NewPolicy(dm.Strict, dm.PublishByMode), planner).Admit(context.Background(), c.p)
			if got := dm.KindOf(err); got != c.want {
				t.Fatalf("kind = %q (%v), want %q", got, err, c.want)
			}
			wantPlan := err == nil && slices.Contains([]dm.Verb{dm.Create, dm.Change, dm.Rollback}, c.p.Verb)
			if (plan != nil) != wantPlan {
				t.Errorf("plan = %v, want one: %t", plan, wantPlan)
			}
			if c.want == dm.Forbidden && planner.planned != 0 {
				t.Error("what policy refuses was planned nevertheless")
			}
		})
	}
}

func newAdmission(t *testing.T, policy dm.Policy, planner dm.Planner) *Admission {
	t.Helper()
	a, err := NewAdmission(AdmissionConfig{Policy: policy, Planner: planner, Directory: directory})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestSelftestNames: the server's own test destroys what it finds under its
// names, so nobody else may use them.
func TestSelftestNames(t *testing.T) {
	t.Parallel()
	a := newAdmission(t, dm.NewPolicy(dm.Strict, dm.PublishByMode), &fakePlanner{})
	for _, via := range []string{"manager", dm.SelftestVia} {
		app, pkg := proposal("root", dm.Create), proposal("root", dm.Publish)
		app.Application, pkg.Package.Name = dm.SelftestApplication, dm.SelftestPackage
		for _, p := range []dm.AdmissionRequest{app, pkg} {
			p.Actor.Via = via
			want := dm.Forbidden
			if via == dm.SelftestVia {
				want = ""
			}
			if _, err := a.Admit(context.Background(), p); dm.KindOf(err) != want {
				t.Errorf("%s via %s: %v, want %q", p.Verb, via, err, want)
			}
		}
	}
}

func TestCreateNeedsBothPermissions(t *testing.T) {
	t.Parallel()
	for _, missing := range []dm.Action{dm.PackageRead, dm.ApplicationCreate} {
		actions := slices.DeleteFunc([]dm.Action{dm.PackageRead, dm.ApplicationCreate}, func(a dm.Action) bool { return a == missing })
		policy := dm.Policy{Rules: []dm.Rule{{Actions: actions, Grant: dm.Grant{Everyone: true}}}}
		_, err := newAdmission(t, policy, &fakePlanner{}).Admit(context.Background(), proposal("zoe", dm.Create))
		want := "zoe may not do " + string(missing)
		if dm.KindOf(err) != dm.Forbidden || dm.Public(err) != want {
			t.Errorf("without %s: %v, want Forbidden %q", missing, err, want)
		}
	}
}

func TestAdmitAnswersAllFindings(t *testing.T) {
	t.Parallel()
	planner := &fakePlanner{findings: []dm.Finding{
		{Type: "jupyter", Component: "report", Message: "no notebook"},
		{Type: "oozie", Component: "nightly", Message: "needs spark 2"},
	}}
	p := proposal("paula", dm.Create, "user:nobody")
	_, err := newAdmission(t, dm.NewPolicy(dm.Strict, dm.PublishByMode), planner).Admit(context.Background(), p)
	var e *dm.Error
	if !errors.As(err, &e) || e.Kind != dm.Invalid || len(e.Findings) != 3 {
		t.Fatalf("got %#v, want Invalid with 3 findings", err)
	}
	for _, want := range []string{"nobody", "jupyter/report: no notebook", "oozie/nightly: needs spark 2"} {
		if !strings.Contains(e.Public(), want) {
			t.Errorf("%q lacks %q", e.Public(), want)
		}
	}

	p.Actor, p.Spec.Audience = actor("zoe"), []dm.Subject{dm.Everyone}
	if _, err = newAdmission(t, dm.NewPolicy(dm.Strict, dm.PublishByMode), planner).Admit(context.Background(), p); dm.KindOf(err) != dm.Forbidden {
		t.Errorf("got %v, want Forbidden before findings", err)
	}
}

func TestUnchangedAudienceMayHaveLeft(t *testing.T) {
	t.Parallel()
	p := proposal("paula", dm.Change, "user:gone")
	p.ApplicationOwner, p.Audience = "paula", false
	if _, err := newAdmission(t, dm.NewPolicy(dm.Strict, dm.PublishByMode), &fakePlanner{}).Admit(context.Background(), p); err != nil {
		t.Errorf("a change that leaves the audience alone: %v", err)
	}
}

func TestPlannerFailureKeepsItsKind(t *testing.T) {
	t.Parallel()
	planner := &fakePlanner{err: dm.Errorf(dm.Unavailable, "plan", "the package cannot be read")}
	if _, err := newAdmission(t, dm.NewPolicy(dm.Strict, dm.PublishByMode), planner).Admit(context.Background(), proposal("zoe", dm.Create)); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

func TestNewAdmissionNeedsEverything(t *testing.T) {
	t.Parallel()
	full := AdmissionConfig{Policy: dm.NewPolicy(dm.Strict, dm.PublishByMode), Planner: &fakePlanner{}, Directory: directory}
	for name, spoil := range map[string]func(*AdmissionConfig){
		"policy":    func(c *AdmissionConfig) { c.Policy = dm.Policy{} },
		"planner":   func(c *AdmissionConfig) { c.Planner = nil },
		"directory": func(c *AdmissionConfig) { c.Directory = nil },
	} {
		cfg := full
		spoil(&cfg)
		if _, err := NewAdmission(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
