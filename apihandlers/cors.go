package apihandlers

import (
	"net/http"
	"slices"
	"strings"
)

// CORS says which browser pages of other origins may call. No answer ever
// allows credentials, so that a page can use only what it knows itself.
type CORS struct {
	// Origins that may call, matched as whole texts. Empty means every origin,
	// told by "*" as PNDA does.
	Origins []string
}

// corsHeaders are the request headers that a page may set.
const corsHeaders = "Content-Type, Authorization"

// annotate sets what every answer carries.
func (c *CORS) annotate(h http.Header, r *http.Request) {
	if len(c.Origins) == 0 {
		h.Set("Access-Control-Allow-Origin", "*")
		return
	}
	// Also without an origin: a cache must not give this answer to a page.
	h.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && slices.Contains(c.Origins, origin) {
		h.Set("Access-Control-Allow-Origin", origin)
	}
}

// preflight answers OPTIONS for a path with the methods of its routes.
func (c *CORS) preflight(w http.ResponseWriter, methods []string) {
	h := w.Header()
	h.Set("Allow", allow(append(slices.Clone(methods), http.MethodOptions)))
	h.Set("Access-Control-Allow-Methods", allow(methods))
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

func allow(methods []string) string { return strings.Join(methods, ", ") }
