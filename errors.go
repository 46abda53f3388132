package dm

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what sort of failure an error is; a caller decides by it what to
// do next. The list is closed: a new kind needs a reason.
type Kind string

// The kinds. The table from kind to HTTP status is in apihandlers.
const (
	Invalid         Kind = "invalid"         // the request is wrong; repeating it does not help
	Unauthenticated Kind = "unauthenticated" // no credential, or one that does not hold
	Forbidden       Kind = "forbidden"       // the actor may not do this
	NotFound        Kind = "not found"       // the thing does not exist
	Conflict        Kind = "conflict"        // not legal in the present state
	TooLarge        Kind = "too large"       // a limit was exceeded
	Stale           Kind = "stale"           // a compare-and-set lost its race; the caller may retry
	Unavailable     Kind = "unavailable"     // the record or another part can't be reached; retry later
	Internal        Kind = "internal"        // anything unforeseen; details stay in the log
)

// Error is the one error type that crosses packages. Message is written for
// the client: lower case, no full stop, no path of this machine. Err, when
// set, is the cause and stays in the log.
type Error struct {
	Op       string // what was attempted, "package.Function" or a few words
	Kind     Kind
	Message  string
	Hint     string    // what the person can do, may be empty
	Phase    Phase     // for NotFound and Conflict: the state the thing is in now, may be empty
	Findings []Finding // for Invalid: every fault found, may be empty
	RetryAt  time.Time // for Unavailable: before it, trying again is of no use; may be zero
	Err      error
}

// Errorf makes an Error without a cause.
func Errorf(kind Kind, op, format string, args ...any) *Error {
	return &Error{Op: op, Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Because sets the cause, kept for the log only.
func (e *Error) Because(err error) *Error { e.Err = err; return e }

// WithHint sets the hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// NotBefore sets the time before which trying again is of no use.
func (e *Error) NotBefore(t time.Time) *Error { e.RetryAt = t; return e }

// In sets the phase that the thing is in now.
func (e *Error) In(p Phase) *Error { e.Phase = p; return e }

// Wrap adds what was attempted. It keeps the kind, message, hint, phase,
// findings and time of an *Error below; any other error becomes Internal (its text goes
// to the log only). Wrap of nil is nil.
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Op: op, Kind: Internal, Message: "internal error", Err: err}
	}
	w := *e
	w.Op, w.Err = op, err
	return &w
}

// Error is the text for the log: operation, message and the chain of causes. A
// message that Wrap took over from below is said once, with the operations that
// it came through and what was said around them.
func (e *Error) Error() string {
	var through []string
	last, cause := e.Op, e.Err
	for below := (*Error)(nil); errors.As(cause, &below) && below.Message == e.Message; cause = below.Err {
		around, whole := strings.CutSuffix(cause.Error(), below.Error())
		if !whole {
			break // it is one of several causes, or more was said after it
		}
		if around != "" || below.Op != last {
			through = append(through, around+below.Op)
		}
		last = below.Op
	}
	text := e.Message
	if e.Op != "" {
		text = e.Op + ": " + text
	}
	if len(through) > 0 {
		text += " [" + strings.Join(through, ", ") + "]"
	}
	if cause != nil {
		text += ": " + cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.Err }

// Next says what follows an error that ended work on a change.
type Next int

// What may follow.
const (
	Stall   Next = iota // a person must act: the same would fail again, so the change has failed
	Wait                // it passes by itself: the same is tried again, with a back-off, for as long as it takes
	Suspect             // nobody foresaw it: the same is tried again, with a back-off, for a while
)

// NextOf tells what follows err by its kind: Wait after Unavailable, not before at
// where the error says a time, Suspect after Internal and Stall after any other.
func NextOf(err error) (next Next, at time.Time) {
	var e *Error
	switch KindOf(err) {
	case Unavailable:
		errors.As(err, &e)
		return Wait, e.RetryAt
	case Internal:
		return Suspect, time.Time{}
	}
	return Stall, time.Time{}
}

// Public is the sentence for the client: message, findings and hint.
func (e *Error) Public() string {
	s := e.Message
	if len(e.Findings) > 0 {
		s += ": " + JoinFindings(e.Findings)
	}
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// KindOf returns the kind of the outermost *Error in err's chain, Internal for
// any other error and "" for nil.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Kind
	default:
		return Internal
	}
}

// Public returns the sentence for the client of any error; what is not an
// *Error is only "internal error".
func Public(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Public()
	}
	return "internal error"
}

// Finding is one fault of a package or of a change, with its place. Type,
// Component and Path may be empty when the fault is of the whole.
type Finding struct {
	Type      ComponentType `json:"type,omitempty"`
	Component ComponentName `json:"component,omitempty"`
	Path      string        `json:"path,omitempty"`
	Message   string        `json:"message"`
}

func (f Finding) String() string {
	place := strings.Trim(string(f.Type)+"/"+string(f.Component)+"/"+f.Path, "/")
	if place == "" {
		return f.Message
	}
	return place + ": " + f.Message
}

// FindingTexts writes each finding as a sentence, in their order.
func FindingTexts(list []Finding) []string {
	texts := make([]string, len(list))
	for i, f := range list {
		texts[i] = f.String()
	}
	return texts
}

// JoinFindings writes findings as one sentence, in their order.
func JoinFindings(list []Finding) string { return strings.Join(FindingTexts(list), "; ") }

// Refuse makes the Invalid error that carries findings.
func Refuse(op, message string, findings []Finding) *Error {
	return &Error{Op: op, Kind: Invalid, Message: message, Findings: findings}
}

// doing are the words of PNDA's failure texts.
var doing = map[Verb]string{
	Deploy: "deploying", Undeploy: "undeploying", Create: "creating", Change: "changing", Rollback: "rolling back",
	Start: "starting", Stop: "stopping", Destroy: "deleting",
}

// FailureText is PNDA's sentence about a change of a package or an application
// that failed: Error deploying flow-1.0.0 NotFound, details: "…".
func FailureText(verb Verb, id string, err error) string {
	word, ok := doing[verb]
	if !ok {
		word = "changing"
	}
	var kind string // in one word, as PNDA's texts have it
	for _, part := range strings.Fields(string(KindOf(err))) {
		kind += strings.ToUpper(part[:1]) + part[1:]
	}
	return fmt.Sprintf(`Error %s %s %s, details: "%s"`, word, id, kind, Public(err))
}
