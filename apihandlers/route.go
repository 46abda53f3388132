package apihandlers

import (
	"context"
	"net/http"
	"net/url"

	"github.com/gorilla/mux"

	dm "github.com/pndaproject/deployment-manager"
)

// Access says what a route demands of the caller's identity.
type Access string

// The kinds of access.
const (
	Reading  Access = "read"   // may be open to the anonymous user, by mode and policy
	Changing Access = "change" // a named user always
	Open     Access = "open"   // nobody is asked; a handler that wants to know the caller asks by itself
)

// Route is one row of a route table. The table makes the router, the access
// line's route name, the API page and the test that no route lacks one.
type Route struct {
	Name     string // closed set: label of metrics and log
	Method   string
	Path     string // segments in braces are variables, see Var; a query must be there as it is; "[…]" may be left out and is part of the variable before it
	Access   Access
	Actions  []dm.Action // what the policy is asked, for the page
	Success  int
	Summary  string
	Request  string // example of a request body, may be empty
	Response string // example of an answer's body, may be empty
	// Fallback marks a route that only explains why a path is wrong. It is not
	// offered in Allow headers and not shown on the page.
	Fallback bool
	// Streams marks a route whose body or answer may take long; its handler
	// sets its own deadlines.
	Streams bool
	// Acts marks a route that sets something going although it is a GET; no page
	// of another site may ask for it.
	Acts bool
	// Early marks a route whose answer may begin while its body still arrives, as
	// git's does. A refusal then does not wait for the body either.
	Early  bool
	Handle func(w http.ResponseWriter, r *http.Request) error
}

// Gate verifies who calls. It is asked before a handler runs, so that a caller
// without a valid credential learns nothing else.
type Gate interface {
	// Authenticate proves the credential of r, if one is demanded or offered.
	// Kinds: Unauthenticated, Unavailable, Invalid.
	Authenticate(r *http.Request, access Access) (Caller, error)
}

// Caller is a request whose credential was verified. What it claims to be with
// user.name is judged only when a handler asks, because PNDA's order of checks
// puts some checks of the request before that.
type Caller interface {
	// Actor kinds: Invalid (user.name absent, repeated or malformed),
	// Forbidden (no such user, or not the verified one).
	Actor() (dm.Actor, error)
}

// Table is a set of routes behind one gate.
type Table struct {
	Gate   Gate
	Routes []Route
}

type callerKey struct{}

// asking is a caller with what the route demands.
type asking struct {
	Caller
	access Access
}

// Actor returns who sends r and, of a change, why: every door takes the reason
// in the query parameter reason. Handlers call it where PNDA's order of checks
// wants it.
func Actor(r *http.Request) (dm.Actor, error) {
	caller, ok := r.Context().Value(callerKey{}).(asking)
	if !ok {
		return dm.Actor{}, dm.Errorf(dm.Internal, "apihandlers.Actor", "internal error")
	}
	actor, err := caller.Actor()
	if err != nil {
		return dm.Actor{}, err
	}
	SetUser(r.Context(), actor.User)
	exchangeOf(r.Context()).impersonator = actor.Impersonator
	if caller.access != Changing {
		return actor, nil
	}
	text, _, err := Query(r, "reason")
	if err == nil {
		actor.Reason, err = dm.ParseReason(text)
	}
	return actor, err
}

func withCaller(ctx context.Context, c Caller, access Access) context.Context {
	return context.WithValue(ctx, callerKey{}, asking{c, access})
}

// Var returns the decoded text of a variable segment of the path. It may hold
// any bytes, slashes included, until the caller has parsed it.
func Var(r *http.Request, name string) string {
	raw := RawVar(r, name)
	text, err := url.PathUnescape(raw)
	if err != nil {
		return raw
	}
	return text
}

// RawVar returns a variable segment of the path as it was sent.
func RawVar(r *http.Request, name string) string { return mux.Vars(r)[name] }
