package apihandlers

import (
	"net/http"
	"slices"
	"strings"
)

// corsHeaders are the request headers that a page may set. No answer ever allows
// credentials, so that a page can use only what it knows itself.
const corsHeaders = "Content-Type, Authorization, Git-Protocol"

// preflight answers what a page of an allowed origin asks before its request.
func preflight(h http.Header, methods []string) {
	h.Set("Access-Control-Allow-Methods", allow(methods))
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Max-Age", "86400")
}

// options answers OPTIONS for a path with the methods of its routes. PNDA's
// deployment manager tells them in the words of CORS too; a page does not get to
// see those, because nothing here allows its origin.
func options(h http.Header, r *http.Request, methods []string) {
	h.Set("Allow", allow(append(slices.Clone(methods), http.MethodOptions)))
	if r.Header.Get("Origin") == "" {
		h.Set("Access-Control-Allow-Methods", allow(methods))
		h.Set("Access-Control-Max-Age", "86400")
	}
}

func allow(methods []string) string { return strings.Join(methods, ", ") }
