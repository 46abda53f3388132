package githttp

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"

	"github.com/pndaproject/deployment-manager/apihandlers"
)

// scriptPath is the one path that is no repository's.
const (
	scriptPath  = "/sync.sh"
	scriptRoute = "sync-script"
)

// script is what scriptPath answers.
type script struct {
	text []byte
	tag  string
}

func newScript(text []byte) script {
	return script{text, fmt.Sprintf(`"%x"`, sha256.Sum256(text))}
}

// serve sends the script to everybody: there is nothing secret in it, and who
// fetches it has not signed in yet. Caches ask each time whether it is new.
func (s script) serve(w http.ResponseWriter, r *http.Request) {
	apihandlers.SetRoute(r.Context(), scriptRoute)
	switch {
	case len(s.text) == 0:
		(&refusal{http.StatusNotFound, "there is no sync script here"}).write(w)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		(&refusal{http.StatusMethodNotAllowed, "the method must be GET"}).write(w)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/x-shellscript; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", s.tag)
	h.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.text))
}
