package hooks

import (
	"context"
	"errors"
	"fmt"

	dm "github.com/pndaproject/deployment-manager"
)

// AdmissionConfig is what an Admission needs.
type AdmissionConfig struct {
	Policy        dm.Policy    // required
	Planner       dm.Planner   // required
	Directory     dm.Directory // required
	RequireReason bool         // refuse changes that do not say why
}

// Admission is the one judgement on every change. It keeps no state and may be
// used by many goroutines.
type Admission struct{ cfg AdmissionConfig }

var _ dm.Admission = (*Admission)(nil)

// NewAdmission checks cfg.
func NewAdmission(cfg AdmissionConfig) (*Admission, error) {
	switch {
	case len(cfg.Policy.Rules) == 0:
		return nil, errors.New("hooks: an admission needs a policy")
	case cfg.Planner == nil:
		return nil, errors.New("hooks: an admission needs a planner")
	case cfg.Directory == nil:
		return nil, errors.New("hooks: an admission needs a directory")
	}
	return &Admission{cfg}, nil
}

// Admit returns nil when the change may be made, and its plan for a create, a
// change and a rollback. Kinds: Invalid (no user name, no reason where one is
// required, or findings), Forbidden. Policy comes before content, so that nobody
// learns what a package holds by proposing it.
func (a *Admission) Admit(_ context.Context, p dm.AdmissionRequest) (*dm.Plan, error) {
	const op = "hooks.Admit"
	needed, err := permissions(p)
	if err != nil {
		return nil, err
	}
	if p.Actor.User == "" { // the doors refuse it too; a change without an author must not slip past one
		return nil, dm.Errorf(dm.Invalid, op, "a user name is required")
	}
	if a.cfg.RequireReason && p.Actor.Reason == "" && p.Actor.Via != dm.SelftestVia {
		return nil, dm.Errorf(dm.Invalid, op, "a reason is required for every change").
			WithHint("give reason=<text> in the query, or git push -o reason=<text>")
	}
	if err := reserved(p); err != nil {
		return nil, err
	}
	for _, n := range needed {
		if err := a.cfg.Policy.Authorize(p.Actor, n.action, n.on); err != nil {
			return nil, dm.Wrap(op, err)
		}
	}
	if !p.Verb.MakesDeployment() {
		return nil, nil
	}
	if err := a.authorizeAudience(p); err != nil {
		return nil, err
	}
	plan, findings, err := a.cfg.Planner.Plan(p.Package, p.Spec, p.Files, p.Reserve)
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	findings = append(a.unknownAudience(p), findings...)
	if len(findings) > 0 {
		return nil, dm.Refuse(op, fmt.Sprintf("the application %s cannot be created from %s", p.Application, p.Package), findings)
	}
	return &plan, nil
}

// reserved keeps the names of the server's own test from everybody else: the
// test destroys what it finds under them.
func reserved(p dm.AdmissionRequest) error {
	if p.Actor.Via == dm.SelftestVia {
		return nil
	}
	for _, name := range []string{string(p.Application), string(p.Package.Name)} {
		if name == string(dm.SelftestApplication) || name == string(dm.SelftestPackage) {
			return dm.Errorf(dm.Forbidden, "hooks.Admit", "the name %s is reserved for the self-test of the server", name)
		}
	}
	return nil
}

// permission is one question to the policy.
type permission struct {
	action dm.Action
	on     dm.Resource
}

// permissions is the table from verb to what the policy must grant, in the
// order of PNDA's checks. A verb that is not in it is refused.
func permissions(p dm.AdmissionRequest) ([]permission, error) {
	pkg := dm.Resource{Name: p.Package.String(), Owner: p.PackageOwner}
	app := dm.Resource{Name: string(p.Application), Owner: p.ApplicationOwner}
	switch p.Verb {
	case dm.Publish:
		return []permission{{dm.RepositoryWrite, pkg}}, nil
	case dm.Withdraw:
		return []permission{{dm.RepositoryDelete, pkg}}, nil
	case dm.Deploy:
		return []permission{{dm.PackageDeploy, pkg}}, nil
	case dm.Undeploy:
		return []permission{{dm.PackageUndeploy, pkg}}, nil
	case dm.Create:
		return []permission{{dm.PackageRead, pkg}, {dm.ApplicationCreate, app}}, nil
	case dm.Change:
		return []permission{{dm.ApplicationChange, app}}, nil
	case dm.Rollback:
		return []permission{{dm.ApplicationRollback, app}}, nil
	case dm.Start:
		return []permission{{dm.ApplicationStart, app}}, nil
	case dm.Stop:
		return []permission{{dm.ApplicationStop, app}}, nil
	case dm.Destroy:
		return []permission{{dm.ApplicationDestroy, app}}, nil
	}
	return nil, dm.Errorf(dm.Forbidden, "hooks.Admit", "no rule covers the action %q", p.Verb)
}

// authorizeAudience asks for audience:deliver when the application, as it would
// be, reaches anyone but the actor and its owner. It is asked for a change of
// the package or the overrides too, because that delivers as well.
func (a *Admission) authorizeAudience(p dm.AdmissionRequest) error {
	for _, s := range p.Spec.Audience {
		if isOwn(s, p) {
			continue
		}
		on := dm.Resource{Name: string(p.Application), Owner: p.ApplicationOwner}
		return dm.Wrap("hooks.Admit", a.cfg.Policy.Authorize(p.Actor, dm.AudienceDeliver, on))
	}
	return nil
}

// isOwn tells whether s is the actor or, for a change, the owner: an admin who
// changes a person's application goes on delivering to that person.
func isOwn(s dm.Subject, p dm.AdmissionRequest) bool {
	u, ok := s.User()
	return ok && (u == p.Actor.User || p.Verb != dm.Create && u == p.ApplicationOwner)
}

// unknownAudience finds the users that the directory does not know. It judges
// only an audience that this proposal sets: a person who has left must not make
// every later change impossible.
func (a *Admission) unknownAudience(p dm.AdmissionRequest) []dm.Finding {
	if !p.Audience {
		return nil
	}
	var findings []dm.Finding
	for _, s := range p.Spec.Audience {
		if u, ok := s.User(); ok && !isOwn(s, p) && !a.cfg.Directory.Known(u) {
			findings = append(findings, dm.Finding{Message: fmt.Sprintf("no such user in the audience: %q", u)})
		}
	}
	return findings
}

// orDefault gives a field its default.
func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
