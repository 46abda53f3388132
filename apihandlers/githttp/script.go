package githttp

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"time"

	"github.com/pndaproject/deployment-manager/apihandlers"
)

// scriptRoutes serves the script to everybody: there is nothing secret in it, and
// who fetches it has not signed in yet. Caches ask each time whether it is new.
func (a *API) scriptRoutes() []apihandlers.Route {
	if len(a.script) == 0 {
		return nil
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(a.script))
	return []apihandlers.Route{{
		Name: "sync-script", Method: http.MethodGet, Path: "/sync.sh", Access: apihandlers.Open, Success: http.StatusOK,
		Summary: "the script that brings a workspace into a pod; no identity is asked for",
		Handle: func(w http.ResponseWriter, r *http.Request) error {
			h := w.Header()
			h.Set("Content-Type", "text/x-shellscript; charset=utf-8")
			h.Set("Cache-Control", "no-cache")
			h.Set("ETag", tag)
			h.Set("X-Content-Type-Options", "nosniff")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.script))
			return nil
		},
	}}
}
