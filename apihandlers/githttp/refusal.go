package githttp

import (
	"errors"
	"io"
	"net/http"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// refusal is an answer other than git's. git's client shows the sentence of a
// first step, behind "remote:", and only the status of a second.
type refusal struct {
	status   int
	sentence string
}

// missing is the answer for what does not exist and for what the actor may not
// know to exist; the two must not differ.
var missing = refusal{http.StatusNotFound, "there is no such repository"}

// refuse translates an error of Authorize, of the transport and of the body.
// Statuses are those of the other ports, but for what may not be known to exist.
func refuse(err error, kind dm.RepositoryKind) *refusal {
	answer := apihandlers.FailureOf(err)
	if answer.Status == http.StatusNotFound || dm.KindOf(err) == dm.Forbidden && kind == dm.WorkspaceRepository {
		return &missing
	}
	var r *refused
	if errors.As(err, &r) {
		answer.Status = r.status
	}
	return &refusal{answer.Status, answer.Information}
}

// refused gives the error of a body a status that no kind has.
type refused struct{ status int }

func (*refused) Error() string { return "refused" }

// write sends the refusal.
func (f *refusal) write(w http.ResponseWriter) {
	h := w.Header()
	noCache(h)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	switch f.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Basic realm="deployment-manager", charset="UTF-8"`)
	case http.StatusTooManyRequests:
		h.Set("Retry-After", "5")
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(f.status)
	_, _ = io.WriteString(w, f.sentence+"\n") // a client that is gone is no fault of ours
}

// noCache sets the headers that git's own server sets, and forbids browsers to
// guess another type.
func noCache(h http.Header) {
	h.Set("Expires", "Fri, 01 Jan 1980 00:00:00 GMT")
	h.Set("Pragma", "no-cache")
	h.Set("Cache-Control", "no-cache, max-age=0, must-revalidate")
	h.Set("X-Content-Type-Options", "nosniff")
}
