package dm

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Phase is a state of a package or of an application, spelled as PNDA spells
// it. It is computed from refs, never stored as such.
type Phase string

// The phases of PNDA's contract, sections 4.8 and 5.9.
const (
	NotDeployed Phase = "NOTDEPLOYED"
	Deploying   Phase = "DEPLOYING"
	Deployed    Phase = "DEPLOYED"
	Undeploying Phase = "UNDEPLOYING"

	NotCreated Phase = "NOTCREATED"
	Creating   Phase = "CREATING"
	Created    Phase = "CREATED"
	Starting   Phase = "STARTING"
	Started    Phase = "STARTED"
	Stopping   Phase = "STOPPING"
	Destroying Phase = "DESTROYING"
)

// Working tells whether p is a state that passes by itself.
func (p Phase) Working() bool {
	switch p {
	case Deploying, Undeploying, Creating, Starting, Stopping, Destroying:
		return true
	}
	return false
}

// Verb is what a change does; it stands in the DM-Action trailer.
type Verb string

// The verbs of packages and of applications.
const (
	Publish  Verb = "publish"
	Withdraw Verb = "withdraw" // take a version out of the repository (HTTP DELETE)
	Deploy   Verb = "deploy"
	Undeploy Verb = "undeploy"

	Create   Verb = "create"
	Change   Verb = "change"
	Start    Verb = "start"
	Stop     Verb = "stop"
	Rollback Verb = "rollback"
	Destroy  Verb = "destroy"

	FetchVerb Verb = "fetch" // of an event: somebody fetched what an application delivers
)

// MakesDeployment tells whether a change of an application is one of content:
// it is planned anew and gets a number. Start, stop and destroy keep both.
func (v Verb) MakesDeployment() bool { return v == Create || v == Change || v == Rollback }

// WantedState is the state that an application.json asks for.
type WantedState string

// The wanted states.
const (
	WantCreated   WantedState = "created"
	WantStarted   WantedState = "started"
	WantDestroyed WantedState = "destroyed"
)

// Settled is the phase that a change to w reaches when it succeeds.
func (w WantedState) Settled() Phase {
	switch w {
	case WantStarted:
		return Started
	case WantDestroyed:
		return NotCreated
	}
	return Created
}

// WorkingPhase is the state shown while a change of verb v towards w is carried
// out: the word follows the action; a change and a rollback show CREATING or
// STARTING by the wanted state.
func WorkingPhase(v Verb, w WantedState) Phase {
	switch v {
	case Start:
		return Starting
	case Stop:
		return Stopping
	case Destroy:
		return Destroying
	case Change, Rollback:
		if w == WantStarted {
			return Starting
		}
	}
	return Creating
}

// Subject is one member of an audience: "user:ana", "group:class-7" or
// "everyone".
type Subject string

// UserSubject is the subject of one user.
func UserSubject(u UserName) Subject { return Subject("user:" + string(u)) }

// Receivers are those to whom the application delivers: its owner where it names
// nobody.
func (s Spec) Receivers() []Subject {
	if len(s.Audience) == 0 {
		return []Subject{UserSubject(s.Owner)}
	}
	return s.Audience
}

// User returns the user that s names, if s names one.
func (s Subject) User() (UserName, bool) {
	u, ok := strings.CutPrefix(string(s), "user:")
	return UserName(u), ok
}

// Group returns the group that s names, if s names one.
func (s Subject) Group() (string, bool) { return strings.CutPrefix(string(s), "group:") }

// Everyone is the subject of all users.
const Everyone Subject = "everyone"

// ParseSubject checks the three forms.
func ParseSubject(text string) (Subject, error) {
	s := Subject(text)
	if s == Everyone {
		return s, nil
	}
	if u, ok := s.User(); ok {
		_, err := ParseUserName(string(u))
		return s, err
	}
	if g, ok := s.Group(); ok {
		_, err := ParseUserName(g) // groups follow the rule of user names
		return s, err
	}
	return "", Errorf(Invalid, "parse audience", "the audience %q must be user:<name>, group:<name> or everyone", clip(text))
}

// ParseAudience checks every subject and returns them sorted and once each, so
// that equal audiences are equal texts. An empty list is Invalid.
func ParseAudience(texts []string) ([]Subject, error) {
	if len(texts) == 0 {
		return nil, Errorf(Invalid, "parse audience", "\"audience\" must be a list of at least one string, for example [\"user:ana\"]")
	}
	subjects := make([]Subject, len(texts))
	for i, text := range texts {
		s, err := ParseSubject(text)
		if err != nil {
			return nil, err
		}
		subjects[i] = s
	}
	slices.Sort(subjects)
	return slices.Compact(subjects), nil
}

// Spec is what an application shall be: the content of application.json.
type Spec struct {
	Name      ApplicationName `json:"name"`
	Package   PackageRef      `json:"package"`
	Owner     UserName        `json:"owner"`
	State     WantedState     `json:"state"`
	Overrides Overrides       `json:"overrides"`
	Audience  []Subject       `json:"audience"`

	// Team is under whose name, quota and rights its work runs where the server
	// runs work for teams. It is decided at create, from the groups of who creates
	// it, and stays. "" where there are none.
	Team string `json:"team,omitempty"`
}

// Edit names what a Change replaces; nil fields stay as they are.
type Edit struct {
	Package   *PackageRef
	Overrides Overrides
	Audience  []Subject
}

// Stamp is the who, when and how of one change, as its trailers record it.
type Stamp struct {
	Verb         Verb
	User         UserName
	Auth         string // how the user was verified: "htpasswd", "token:<id>", "none"
	Via          string // the door: "packages", "manager", "api", "push", "selftest"
	Impersonator UserName
	Reason       string
	Time         time.Time
	RequestID    string
	Seq          uint64 // number in the sequence of Events; 0 before format 3
}

// Application is what a reader may know of one application, at one instant.
type Application struct {
	Spec        Spec // the desired one while working, then the one in effect
	Phase       Phase
	Information string // the last failure, or notes of the last success; may be empty
	Defaults    Defaults
	Deployment  int      // number of the last change of content in Spec's history
	Desired     Revision // tip of refs/heads/main
	Observed    *Observation
	Last        Stamp // of the desired commit
}

// Resource is the application as the policy sees it.
func (a Application) Resource() Resource {
	return Resource{Name: string(a.Spec.Name), Owner: a.Spec.Owner, Audience: a.Spec.Audience}
}

// Observation is one outcome, the content of refs/observed/head.
type Observation struct {
	Desired     Revision       `json:"desired"`              // the change that this is the outcome of
	Effective   Revision       `json:"effective,omitempty"`  // the last change that succeeded; "" when nothing is in effect
	Deployment  int            `json:"deployment,omitempty"` // number of the content in effect; the record fills it in
	Phase       Phase          `json:"phase"`
	Information string         `json:"information,omitempty"`
	Records     []PluginRecord `json:"records,omitempty"`
	Left        bool           `json:"left,omitempty"`   // the change failed, and what it left could not be taken back
	Health      string         `json:"health,omitempty"` // the outcome stands, and this tells which components do otherwise than it told
	Time        time.Time      `json:"time"`

	// Logs are what components wrote last before they ended. The record takes them
	// beside the outcome and never gives them with one; see KeptLogs.
	Logs []KeptLog `json:"-"`
}

// KeptLog is the end of what one component wrote.
type KeptLog struct {
	Type      ComponentType
	Component ComponentName
	Time      time.Time // when it was taken
	Text      []byte    // whole lines
}

// Subject kinds of events.
const (
	PackageEvent     = "package"
	ApplicationEvent = "application"
)

// Event is one transition: a ref of the record moved. For uploads and deletions
// of a package State is CREATED and NOTCREATED.
type Event struct {
	Kind        string // PackageEvent or ApplicationEvent
	ID          string // package id or application name
	State       Phase  // that it led to; of a change of an application the working state that it began
	Information string
	Stamp                // who asked for it, when it happened, how, and its number
	Owner       UserName // whose the application was then
	Ref         string   // that moved; "" when none did, because what happened is not recorded
	Old, New    Revision // of Ref; "" when it did not exist, or does no more
	Again       bool     // one more outcome of the same change, which corrects it or tells of its health
}

// Before is the working state that ended with e, for who is told states: deploys
// and undeploys are decided while they are asked for, and only how they ended
// moves a ref. "" for all else.
func (e Event) Before() Phase {
	switch e.Verb {
	case Deploy:
		return Deploying
	case Undeploy:
		return Undeploying
	}
	return ""
}

// requestIDKey carries the request id of the work in hand.
type requestIDKey struct{}

// WithRequestID returns a context that carries id to the log and to trailers.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the id that WithRequestID put into ctx, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// clientKey carries who asked for the work in hand.
type clientKey struct{}

// WithClient returns a context whose work counts against the share of client.
func WithClient(ctx context.Context, client string) context.Context {
	return context.WithValue(ctx, clientKey{}, client)
}

// Client returns what WithClient put into ctx, or "", which has no share of its
// own.
func Client(ctx context.Context) string {
	client, _ := ctx.Value(clientKey{}).(string)
	return client
}
