package dm

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

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
	ApplicationHistory  Action = "deployment_manager:application:history" // who changed what, when and why; not what differs

	// ApplicationOverrides and ApplicationContent are what was delivered: the
	// first is what REST bodies show of it, the second the repository, its files
	// and the differences in its past.
	ApplicationOverrides Action = "deployment_manager:application:overrides"
	ApplicationContent   Action = "deployment_manager:application:content"

	AudienceDeliver Action = "deployment_manager:audience:deliver"
	EnvironmentRead Action = "deployment_manager:environment:read"
	ManagerRepoRead Action = "deployment_manager:repository:read"
	SelftestRun     Action = "deployment_manager:selftest:run"
	WorkspaceRead   Action = "deployment_manager:workspace:read"
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
		ApplicationOverrides, ApplicationContent, EnvironmentRead, ManagerRepoRead, WorkspaceRead:
		return true
	case RepositoryWrite, RepositoryDelete, PackageDeploy, PackageUndeploy:
		return s == ScopePackages
	case ApplicationCreate, ApplicationStart, ApplicationStop, ApplicationDestroy, ApplicationChange, ApplicationRollback, AudienceDeliver:
		return s == ScopeApplications
	}
	return false
}

// Resource is what an action is about. Owner "" means it has no owner: a package
// that nobody published yet, an application that nobody created.
type Resource struct {
	Name     string
	Owner    UserName
	Audience []Subject // of an application: to whom it delivers now
}

// delivers tells whether the actor is in the audience.
func (r Resource) delivers(to Actor) bool {
	return to.User != "" && Reaches(r.Audience, to.User, to.Groups)
}

// Reaches tells whether a user in the groups is in an audience.
func Reaches(audience []Subject, u UserName, groups []string) bool {
	return slices.ContainsFunc(audience, func(s Subject) bool {
		if group, ok := s.Group(); ok {
			return slices.Contains(groups, group)
		}
		return s == Everyone || s == UserSubject(u)
	})
}

// Owners is the record's slice for the policy: whose things are. Implemented by
// gitstore.
type Owners interface {
	// PackageOwner returns who published the first version of a package, also
	// when all versions were withdrawn since; "" when nobody published one.
	PackageOwner(name PackageName) UserName
	// ApplicationOwner returns whose the application is and to whom it delivers
	// now; of a destroyed one, as it was last. since is the first of its
	// deployments from which on it was that owner's, 1 when it always was: a name
	// can be taken by another person after a destroy, and the past of the name
	// stays in one repository. Kinds: NotFound (there never was one), Unavailable.
	ApplicationOwner(ctx context.Context, app ApplicationName) (on Resource, since int, err error)
}

// Grant says to whom a rule gives its actions. A grant holds when any of its
// parts holds.
type Grant struct {
	Everyone bool     // also the anonymous user
	Unowned  bool     // everyone, as long as the resource has no owner
	Owner    bool     // the resource's owner
	Audience bool     // to whom the application delivers
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
	PublisherGroup = "publisher" // publishes more versions of others' packages, delivers to others
	AuditorGroup   = "auditor"   // reads what was delivered
)

// PublishRule says who may publish and withdraw versions of a package that
// another person published first.
type PublishRule string

// The rules of publishing.
const (
	PublishByOwner  PublishRule = "owner"   // more versions: owner, publisher, admin; withdrawing: owner, admin
	PublishByAnyone PublishRule = "anyone"  // as PNDA
	PublishByMode   PublishRule = "default" // anyone in insecure-pnda, where everybody can claim to be the owner, else owner
)

// NewPolicy is PNDA's table as shipped, plus the server's own actions. Who is
// anonymous gets past the door only where the mode lets them.
func NewPolicy(mode AuthMode, publish PublishRule) Policy {
	anyone := publish == PublishByAnyone || publish == PublishByMode && mode == InsecurePNDA
	return Policy{Rules: []Rule{
		{Grant: Grant{Everyone: true}, Actions: []Action{
			RepositoryRead, PackageDeploy, PackageRead, PackagesRead,
			ApplicationCreate, ApplicationRead, ApplicationsRead, ApplicationHistory,
			EnvironmentRead, ManagerRepoRead,
		}},
		{Grant: Grant{Everyone: anyone, Unowned: true, Owner: true, Groups: []string{PublisherGroup, AdminGroup}}, Actions: []Action{RepositoryWrite}},
		{Grant: Grant{Everyone: anyone, Unowned: true, Owner: true, Groups: []string{AdminGroup}}, Actions: []Action{RepositoryDelete}},
		{Grant: Grant{Owner: true, Groups: []string{AdminGroup}}, Actions: []Action{
			PackageUndeploy,
			ApplicationStart, ApplicationStop, ApplicationDestroy, ApplicationChange, ApplicationRollback,
		}},
		// PNDA shows everybody the overrides, and has no repositories of applications.
		{Grant: readers(mode != Strict), Actions: []Action{ApplicationOverrides}},
		{Grant: readers(mode == InsecurePNDA), Actions: []Action{ApplicationContent}},
		{Grant: Grant{Groups: []string{PublisherGroup, AdminGroup}}, Actions: []Action{AudienceDeliver}},
		{Grant: Grant{Groups: []string{AdminGroup}}, Actions: []Action{SelftestRun}},
		// PNDA's start hook of JupyterHub clones without a credential.
		{Grant: Grant{Owner: true, Everyone: mode != Strict}, Actions: []Action{WorkspaceRead}},
	}}
}

// readers is whom an application's content is for.
func readers(everyone bool) Grant {
	return Grant{Everyone: everyone, Owner: true, Audience: true, Groups: []string{AdminGroup, AuditorGroup}}
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
	return Errorf(Forbidden, "authorize", "%s may not do %s", name, action).WithHint("%s", whoMay(action, on))
}

// whoMay tells a person who was refused whom to ask, where PNDA's own sentence
// does not say enough.
func whoMay(action Action, on Resource) string {
	switch {
	case on.Owner == "":
		return ""
	case action == ApplicationContent || action == ApplicationOverrides:
		return fmt.Sprintf("only its owner %s, its audience and the groups %s and %s may read what %s delivers", on.Owner, AdminGroup, AuditorGroup, on.Name)
	case action == RepositoryWrite:
		return fmt.Sprintf("the package belongs to %s, who published its first version: ask %s or somebody in the group %s or %s, or publish under another name",
			on.Owner, on.Owner, PublisherGroup, AdminGroup)
	case action == RepositoryDelete:
		return fmt.Sprintf("the package belongs to %s, who published its first version: ask %s or somebody in the group %s", on.Owner, on.Owner, AdminGroup)
	}
	return ""
}

func (g Grant) holds(actor Actor, on Resource) bool {
	switch {
	case g.Everyone, g.Unowned && on.Owner == "", g.Audience && on.delivers(actor):
		return true
	case g.Owner && actor.User != "" && actor.User == on.Owner:
		return true
	}
	return slices.ContainsFunc(g.Groups, actor.In)
}

// Words tells in a few words to whom the policy gives the action, for
// documentation.
func (p Policy) Words(action Action) string {
	var words []string
	for _, rule := range p.Rules {
		if !slices.Contains(rule.Actions, action) {
			continue
		}
		if rule.Grant.Everyone {
			return "everybody"
		}
		switch {
		case rule.Grant.Unowned:
			words = append(words, "owner (everybody while there is none)")
		case rule.Grant.Owner:
			words = append(words, "owner")
		}
		if rule.Grant.Audience {
			words = append(words, "audience")
		}
		words = append(words, rule.Grant.Groups...)
	}
	if len(words) == 0 {
		return "nobody"
	}
	return strings.Join(words, ", ")
}

// The secret list, by the words of a key.
var (
	// secretParts are secret wherever they stand in a word, such as dbpassword.
	secretParts = []string{"password", "passwd", "passphrase", "passcode", "credential", "secret"}
	// secretWords are secret as a word of their own.
	secretWords = []string{"pwd", "pw", "creds", "cred", "bearer", "authorization", "jwt", "passkey"}
	// secretKeys are the kinds of keys that nobody may have, beside api_key.
	secretKeys = []string{
		"api", "private", "secret", "access", "account", "auth", "client", "consumer", "decryption", "deploy", "encryption", "gpg", "hmac",
		"license", "master", "pgp", "rsa", "aes", "sas", "service", "session", "shared", "signing", "ssh", "ssl", "storage", "subscription", "tls",
	}
	// passOwners are whose a pass is that is no low_pass.
	passOwners = []string{
		"admin", "auth", "database", "db", "ftp", "http", "jdbc", "kafka", "ldap", "login", "mail", "mongo", "mysql", "pg", "postgres", "proxy",
		"redis", "root", "sasl", "smtp", "user",
	}
	// counting are words by which tokens are those of a text.
	counting = []string{
		"count", "counts", "length", "limit", "limits", "max", "maximum", "min", "minimum", "n", "num", "number", "size", "total", "budget",
		"context", "input", "output", "prompt", "completion", "stop", "special", "per", "window", "vocab",
	}
)

// IsSecret tells the keys whose values never leave the server: no API shows them,
// and they are no variables of templates, so they never enter git. It reads the
// words of the key, however they are put together: apiKey, api_key, API-KEY,
// apikey. A key of a table or of a keyboard is none, nor are a model's tokens.
func IsSecret(key string) bool {
	words := wordsOf(key)
	counts := slices.ContainsFunc(words, func(w string) bool { return slices.Contains(counting, w) })
	for i, word := range words {
		before := ""
		if i > 0 {
			before = words[i-1]
		}
		one := strings.TrimSuffix(word, "s")
		kind, isKey := strings.CutSuffix(one, "key")
		switch {
		case strings.HasPrefix(word, "secretar"):
			continue
		case slices.Contains(secretWords, word), slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(word, part) }):
			return true
		case strings.HasSuffix(one, "token") && !counts, strings.HasSuffix(word, "pwd"):
			return true
		case isKey && kind == "" && slices.Contains(secretKeys, before):
			return true
		case isKey && slices.ContainsFunc(secretKeys, func(k string) bool { return len(k) > 2 && strings.HasSuffix(kind, k) }):
			return true
		case word == "pass" && i == len(words)-1 && (i == 0 || slices.Contains(passOwners, before)):
			return true
		case (word == "auth" || word == "cookie") && slices.Contains([]string{"auth", "basic", "http", "session"}, before):
			return true
		}
	}
	return false
}

// wordsOf takes a key apart at what is no letter, where capitals begin a word, and
// behind digits, which are dropped: dbPassword2, AWSSecretKey, user.api-key.
func wordsOf(key string) []string {
	var words []string
	var word []rune
	runes := []rune(key)
	end := func() {
		if len(word) > 0 {
			words = append(words, strings.ToLower(string(word)))
		}
		word = word[:0]
	}
	for i, r := range runes {
		if !unicode.IsLetter(r) {
			end()
			continue
		}
		if unicode.IsUpper(r) && i > 0 {
			acronymEnds := unicode.IsUpper(runes[i-1]) && i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if unicode.IsLower(runes[i-1]) || acronymEnds {
				end()
			}
		}
		word = append(word, r)
	}
	end()
	return words
}

// secretTexts are forms that only a secret has: the password in a URL or in a
// connection string, a private key, a token of this server.
var secretTexts = regexp.MustCompile(`://[^/\s:@]*:[^/\s@]+@` +
	`|(?i:(?:^|[;&?,\s])(?:password|passwd|pwd|secret|accountkey|sharedaccesskey)\s?=\s?[^;&,\s]+)` +
	`|-----BEGIN [A-Z ]*PRIVATE KEY-----|dmt_[0-9a-f]{8}_[0-9a-f]{48}`)

// HoldsSecret tells a text that holds a secret, whatever key it stands under.
func HoldsSecret(text string) bool { return secretTexts.MatchString(text) }
