package apihandlers

import (
	"net"
	"net/http"

	dm "github.com/pndaproject/deployment-manager"
)

// WithClient lets the work for r count against the share of its client where one
// client gets only a part: of the user where a credential proved one, else of the
// peer's address, because anybody can claim any name. Whoever comes from this
// machine without a proof may be anybody behind a proxy: there a name counts as it
// is claimed, and who claims none has no share.
func WithClient(r *http.Request, actor dm.Actor) *http.Request {
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	switch {
	case actor.User != "" && actor.Auth != "" && actor.Auth != "none":
		client = "user " + string(actor.User)
	case net.ParseIP(client).IsLoopback() && actor.User == "":
		return r
	case net.ParseIP(client).IsLoopback():
		client = "claimed " + string(actor.User)
	}
	return r.WithContext(dm.WithClient(r.Context(), client))
}
