package apihandlers

import (
	"net"
	"net/http"

	dm "github.com/pndaproject/deployment-manager"
)

// ClientOf names whom r counts against where one client gets only a part: the
// user where a credential proved one, else the peer's address, because anybody
// can claim any name.
func ClientOf(r *http.Request, actor dm.Actor) string {
	if actor.User != "" && actor.Auth != "" && actor.Auth != "none" {
		return "user " + string(actor.User)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// WithClient lets the work for r count against the share of its client. Whoever
// comes from this machine without a proof may be anybody behind a proxy: there a
// name counts as it is claimed, and who claims none has no share.
func WithClient(r *http.Request, actor dm.Actor) *http.Request {
	client := ClientOf(r, actor)
	if net.ParseIP(client).IsLoopback() {
		if actor.User == "" {
			return r
		}
		client = "claimed " + string(actor.User)
	}
	return r.WithContext(dm.WithClient(r.Context(), client))
}
