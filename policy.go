package dm

import "slices"

// AuthMode is how the server learns who calls.
type AuthMode string

// The modes; README.md tells when to use which.
const (
	Strict       AuthMode = "strict"        // a credential is required
	PublicRead   AuthMode = "public-read"   // reads that PNDA gave to everyone and clones of workspaces are open
	InsecurePNDA AuthMode = "insecure-pnda" // user.name is taken on trust
)

// ParseAuthMode accepts the three modes.
func ParseAuthMode(s string) (AuthMode, error) {
	switch m := AuthMode(s); m {
	case Strict, PublicRead, InsecurePNDA:
		return m, nil
	}
	return "", Errorf(Invalid, "parse auth mode", "the auth mode %q must be strict, public-read or insecure-pnda", clip(s))
}

// Actor is who does something, and why. The zero Actor is anonymous.
type Actor struct {
	User         UserName
	Groups       []string
	Auth         string   // how User was verified; "none" when it was not
	Via          string   // the door that was used
	Impersonator UserName // the verified service that acts for User, "" when User came in person
	Scopes       []Scope  // what the credential is good for; empty means everything that User may do
	Reason       string   // why, in the person's words; see ParseReason
}

// In tells whether the actor is a member of group.
func (a Actor) In(group string) bool { return slices.Contains(a.Groups, group) }

// Action is a qualified action name, as PNDA's rules and refusals spell it.
type Action string

// The actions. Those of PNDA keep PNDA's names.
const (
	RepositoryRead   Action = "package_repository:repository:read"
	RepositoryWrite  Action = "package_repository:repository:write"
	RepositoryDelete Action = "package_repository:repository:delete"

	PackageDeploy       Action = "deployment_manager:package:deploy"
	PackageUndeploy     Action = "deployment_manager:package:undeploy"
	PackageRead         Action = "deployment_manager:package:read"
	PackagesRead        Action = "deployment_manager:packages:read"
	ApplicationCreate   Action = "deployment_manager:application:create"
	ApplicationRead     Action = "deployment_manager:application:read"
	ApplicationsRead    Action = "deployment_manager:applications:read"
	ApplicationStart    Action = "deployment_manager:application:start"
	ApplicationStop     Action = "deployment_manager:application:stop"
	ApplicationDestroy  Action = "deployment_manager:application:destroy"
	ApplicationChange   Action = "deployment_manager:application:change"
	ApplicationRollback Action = "deployment_manager:application:rollback"
	ApplicationHistory  Action = "deployment_manager:application:history"
	AudienceDeliver     Action = "deployment_manager:audience:deliver"
	EnvironmentRead     Action = "deployment_manager:environment:read"
	ManagerRepoRead     Action = "deployment_manager:repository:read"
	SelftestRun         Action = "deployment_manager:selftest:run"
	WorkspaceRead       Action = "deployment_manager:workspace:read"
)

// Scope bounds what a credential is good for, whatever its user may do.
type Scope string

// The scopes. Each of the others includes ScopeRead.
const (
	ScopeRead         Scope = "read"
	ScopePackages     Scope = "packages"     // upload and delete, deploy and undeploy packages
	ScopeApplications Scope = "applications" // every change of applications
)

// ParseScope accepts the three scopes.
func ParseScope(text string) (Scope, error) {
	switch s := Scope(text); s {
	case ScopeRead, ScopePackages, ScopeApplications:
		return s, nil
	}
	return "", Errorf(Invalid, "parse scope", "the scope %q must be read, packages or applications", clip(text))
}

// covers tells whether a credential of scope s may be used for the action.
func (s Scope) covers(action Action) bool {
	switch action {
	case RepositoryRead, PackageRead, PackagesRead, ApplicationRead, ApplicationsRead, ApplicationHistory,
		EnvironmentRead, ManagerRepoRead, WorkspaceRead:
		return true
	case RepositoryWrite, RepositoryDelete, PackageDeploy, PackageUndeploy:
		return s == ScopePackages
	case ApplicationCreate, ApplicationStart, ApplicationStop, ApplicationDestroy, ApplicationChange, ApplicationRollback, AudienceDeliver:
		return s == ScopeApplications
	}
	return false
}

// Resource is what an action is about. Owner "" means it has no owner.
type Resource struct {
	Name  string
	Owner UserName
}

// Grant says to whom a rule gives its actions. A grant holds when any of its
// parts holds.
type Grant struct {
	Everyone bool     // also the anonymous user
	Owner    bool     // the resource's owner
	Groups   []string // members of any of these
}

// Rule grants a set of actions.
type Rule struct {
	Actions []Action
	Grant   Grant
}

// Policy is the table of rules. What no rule grants is refused.
type Policy struct{ Rules []Rule }

// Groups that the default table knows.
const (
	AdminGroup     = "admin"
	PublisherGroup = "publisher"
)

// DefaultPolicy is PNDA's table as shipped, plus the server's own actions.
// Workspaces are readable by their owner; where mode is not strict, by everyone,
// as PNDA's start hook needs it.
func DefaultPolicy(mode AuthMode) Policy {
	return Policy{Rules: []Rule{
		{Grant: Grant{Everyone: true}, Actions: []Action{
			RepositoryRead, RepositoryWrite, RepositoryDelete,
			PackageDeploy, PackageRead, PackagesRead,
			ApplicationCreate, ApplicationRead, ApplicationsRead, ApplicationHistory,
			EnvironmentRead, ManagerRepoRead,
		}},
		{Grant: Grant{Owner: true, Groups: []string{AdminGroup}}, Actions: []Action{
			PackageUndeploy,
			ApplicationStart, ApplicationStop, ApplicationDestroy, ApplicationChange, ApplicationRollback,
		}},
		{Grant: Grant{Groups: []string{PublisherGroup, AdminGroup}}, Actions: []Action{AudienceDeliver}},
		{Grant: Grant{Groups: []string{AdminGroup}}, Actions: []Action{SelftestRun}},
		{Grant: Grant{Owner: true, Everyone: mode != Strict}, Actions: []Action{WorkspaceRead}},
	}}
}

// Authorize returns nil when a rule grants the action, else a Forbidden error
// that names the user and the action. It is the only such decision for REST,
// git and console.
func (p Policy) Authorize(actor Actor, action Action, on Resource) error {
	covers := func(s Scope) bool { return s.covers(action) }
	if len(actor.Scopes) > 0 && !slices.ContainsFunc(actor.Scopes, covers) {
		return Errorf(Forbidden, "authorize", "the scope of the credential does not cover %s", action)
	}
	for _, rule := range p.Rules {
		if slices.Contains(rule.Actions, action) && rule.Grant.holds(actor, on) {
			return nil
		}
	}
	name := string(actor.User)
	if name == "" {
		name = "the anonymous user"
	}
	return Errorf(Forbidden, "authorize", "%s may not do %s", name, action)
}

func (g Grant) holds(actor Actor, on Resource) bool {
	if g.Everyone {
		return true
	}
	if g.Owner && actor.User != "" && actor.User == on.Owner {
		return true
	}
	return slices.ContainsFunc(g.Groups, actor.In)
}
