package apihandlers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	dm "github.com/pndaproject/deployment-manager"
)

// Answer is how one kind of failure is told over HTTP: the status and PNDA's
// short upper-case word for it.
type Answer struct {
	Status int
	Word   string
}

// answers is the table from kind to status and word. A lost race is 503: the
// same request, sent again, is judged on the new state.
var answers = map[dm.Kind]Answer{
	dm.Invalid:         {http.StatusBadRequest, "BADREQUEST"},
	dm.Unauthenticated: {http.StatusUnauthorized, "UNAUTHORIZED"},
	dm.Forbidden:       {http.StatusForbidden, "FORBIDDEN"},
	dm.NotFound:        {http.StatusNotFound, "NOTFOUND"},
	dm.Conflict:        {http.StatusConflict, "CONFLICT"},
	dm.TooLarge:        {http.StatusRequestEntityTooLarge, "TOOLARGE"},
	dm.Stale:           {http.StatusServiceUnavailable, "UNAVAILABLE"},
	dm.Unavailable:     {http.StatusServiceUnavailable, "UNAVAILABLE"},
	dm.Internal:        {http.StatusInternalServerError, "ERROR"},
}

// Faults of HTTP itself, which the kinds of dm do not tell apart.
var (
	methodNotAllowed     = Answer{http.StatusMethodNotAllowed, "NOTALLOWED"}
	misdirected          = Answer{http.StatusMisdirectedRequest, "MISDIRECTED"}
	requestTimeout       = Answer{http.StatusRequestTimeout, "TIMEOUT"}
	unsupportedMediaType = Answer{http.StatusUnsupportedMediaType, "UNSUPPORTED"}
	rangeNotSatisfiable  = Answer{http.StatusRequestedRangeNotSatisfiable, "BADRANGE"}
	tooManyRequests      = Answer{http.StatusTooManyRequests, "TOOMANY"}
)

// httpFault is an error whose answer is not the one of its kind.
type httpFault struct {
	answer Answer
	err    *dm.Error
}

func (f *httpFault) Error() string { return f.err.Error() }
func (f *httpFault) Unwrap() error { return f.err }

// Unsupported is the 415 for a body in a form that is not taken.
func Unsupported(op, format string, args ...any) error {
	return &httpFault{unsupportedMediaType, dm.Errorf(dm.Invalid, op, format, args...)}
}

// OutOfRange is the 416 for a range that the content does not have.
func OutOfRange(op, format string, args ...any) error {
	return &httpFault{rangeNotSatisfiable, dm.Errorf(dm.Invalid, op, format, args...)}
}

// TooMany is the 429 for a client that asks too often. Its kind is Unavailable,
// which is what it means to everything but HTTP.
func TooMany(op, format string, args ...any) error {
	return &httpFault{tooManyRequests, dm.Errorf(dm.Unavailable, op, format, args...)}
}

// Unfit is the 403 for a credential that holds, but not here. Its kind is
// Unauthenticated, because nobody was let in, whatever they asked for. With a 401
// a client would ask its person for a password, and git would forget a credential
// that is good elsewhere.
func Unfit(op, format string, args ...any) error {
	return &httpFault{answers[dm.Forbidden], dm.Errorf(dm.Unauthenticated, op, format, args...)}
}

// Failure is what a client is told of an error; never its causes.
type Failure struct {
	Answer
	Phase       dm.Phase // the state the thing is in now, may be empty
	Information string
}

// FailureOf looks err up in the table.
func FailureOf(err error) Failure {
	f := Failure{Answer: answers[dm.KindOf(err)], Information: dm.Public(err)}
	if f.Status == 0 {
		f.Answer = answers[dm.Internal]
	}
	var e *dm.Error
	if errors.As(err, &e) {
		f.Phase = e.Phase
	}
	var special *httpFault
	if errors.As(err, &special) {
		f.Answer = special.answer
	}
	return f
}

// ErrorBody makes what one API tells a failure with: a JSON object, or a line.
type ErrorBody func(Failure) any

// line is a body of plain text.
type line string

// LineBody is what git shows its user: one line of text.
func LineBody(f Failure) any { return line(f.Information + "\n") }

type informationOnly struct {
	Information string `json:"information"`
}

type statusAndInformation struct {
	Status      string `json:"status"`
	Information string `json:"information"`
}

// RepositoryBody is the package repository's error body, section 6 of its
// contract.
func RepositoryBody(f Failure) any { return statusAndInformation{f.Word, f.Information} }

// ManagerBody is the deployment manager's error body, section 3 of its
// contract: 404 and 409 carry the state the thing is in, 500 the word UNKNOWN.
func ManagerBody(f Failure) any {
	switch {
	case f.Status == http.StatusInternalServerError:
		return statusAndInformation{"UNKNOWN", f.Information}
	case (f.Status == http.StatusNotFound || f.Status == http.StatusConflict) && f.Phase != "":
		return statusAndInformation{string(f.Phase), f.Information}
	}
	return informationOnly{f.Information}
}

// challenge is what a 401 asks for; git and curl answer it with a password or
// a token as password.
const challenge = `Basic realm="deployment-manager", charset="UTF-8"`

// retryAfter is how many seconds a client is asked to wait after a 429 or 503.
const retryAfter = "5"

// WriteError answers with err and notes it for the access line. It returns
// without writing when the answer has begun; then the connection must be cut.
func WriteError(w http.ResponseWriter, r *http.Request, body ErrorBody, err error) {
	if gone := clientGone(r, err); gone != nil {
		err = gone
	}
	f := FailureOf(err)
	noteError(r.Context(), f.Status, err)
	h := w.Header()
	// What a handler set for its success does not describe the error.
	for _, name := range []string{"ETag", "Last-Modified", "Cache-Control", "Content-Encoding", "Content-Length"} {
		h.Del(name)
	}
	switch f.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		// The rest of the body would be read as the next request.
		h.Set("Connection", "close")
	}
	text, ok := body(f).(line)
	if !ok {
		WriteJSON(w, f.Status, body(f))
		return
	}
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(f.Status)
	_, _ = io.WriteString(w, string(text)) // a client that is gone is no fault of ours
}

// clientGone replaces an unforeseen error by a plain one when its cause is
// that the client closed the connection; that is no failure of the server.
func clientGone(r *http.Request, err error) error {
	if dm.KindOf(err) == dm.Internal && errors.Is(err, context.Canceled) && r.Context().Err() != nil {
		return dm.Errorf(dm.Invalid, "answer", "the client closed the connection").Because(err)
	}
	return nil
}
