package apihandlers

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// SiteConfig says what the server is called and which pages may use it.
type SiteConfig struct {
	Mode dm.AuthMode // decides where the name in Host is checked, see Site
	// Listen are the addresses of the ports, as HOST:PORT; "" and 0.0.0.0 are
	// every address of the machine.
	Listen []string
	// Hosts are names that clients use beside loopback's and the hosts of Listen
	// and Public: of Services, of an Ingress, of a proxy.
	Hosts []string
	// Public are URLs at which people reach the server; empty ones are passed
	// over.
	Public []string
	// Origins are the origins, such as https://console.example, whose pages may
	// read and change; none means that no page of another site may.
	Origins []string
}

// Site is what a browser may do here for the pages that it shows: one rule for
// all ports. A browser is let in where its user is, on this machine or behind the
// same firewall, and it sends requests for every page that it shows.
//
//   - Host. A page whose name its owner points at this server (DNS rebinding) has
//     the rights of the server's own pages. Its requests carry its own name. So a
//     request that is answered without a credential must name this server:
//     all of insecure-pnda, and in public-read what carries no Authorization. In
//     strict nothing of the record is answered without a credential, and the
//     browser has none for the foreign name.
//   - Changes, and reads that set something going, are refused to pages of other
//     origins (Sec-Fetch-Site, and Origin for browsers without it), whatever the
//     credential. Programs send neither header.
//   - Answers are readable by pages of Origins only.
type Site struct {
	mode    dm.AuthMode
	hosts   map[string]bool
	any     bool // listens on every address
	loop    bool // listens on loopback
	ips     []netip.Addr
	origins []string
	cross   *http.CrossOriginProtection
}

// NewSite checks the configuration; errors are Invalid.
func NewSite(cfg SiteConfig) (*Site, error) {
	const op = "apihandlers.NewSite"
	s := &Site{mode: cfg.Mode, hosts: map[string]bool{}, origins: cfg.Origins, cross: http.NewCrossOriginProtection()}
	for _, address := range cfg.Listen {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, dm.Errorf(dm.Invalid, op, "the address %q must have the form host:port", address)
		}
		s.listens(host)
	}
	for _, name := range cfg.Hosts {
		if name == "" || hostName(name) != strings.ToLower(name) || strings.ContainsAny(name, "/@? \t*") {
			return nil, dm.Errorf(dm.Invalid, op, "the host %q must be a name alone, such as packages.example.org, without scheme and port", name)
		}
		s.hosts[hostName(name)] = true
	}
	for _, text := range cfg.Public {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			continue // the option itself is checked where it is read
		}
		s.hosts[hostName(u.Host)] = true
		if err := s.cross.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, dm.Errorf(dm.Invalid, op, "%q is not an address of this server", text).Because(err)
		}
	}
	for _, origin := range cfg.Origins {
		if err := s.cross.AddTrustedOrigin(origin); err != nil {
			return nil, dm.Errorf(dm.Invalid, op, "the origin %q must have the form https://host or http://host:port", origin)
		}
	}
	return s, nil
}

// listens notes an address of a port.
func (s *Site) listens(host string) {
	ip, err := netip.ParseAddr(host)
	switch ip = ip.Unmap(); {
	case host == "" || err == nil && ip.IsUnspecified():
		s.any = true
	case err == nil:
		s.ips, s.loop = append(s.ips, ip), s.loop || ip.IsLoopback()
	default:
		s.hosts[hostName(host)] = true
		s.loop = s.loop || isLoopbackName(hostName(host))
	}
}

// hostName is the name or address in a Host header or behind a scheme, without
// port and brackets, in lower case.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if inner, ok := strings.CutPrefix(host, "["); ok && strings.HasSuffix(inner, "]") {
		host = strings.TrimSuffix(inner, "]")
	}
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

// isLoopbackName: browsers never ask a name server for these (RFC 6761).
func isLoopbackName(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// knows tells whether host, a Host header, names this server. An address cannot
// be pointed elsewhere as a name can, so where the server listens on every
// address all of them do; port-forwards and health checks come by such. No
// browser leaves the header out.
func (s *Site) knows(host string) bool {
	name := hostName(host)
	if name == "" || isLoopbackName(name) || s.hosts[name] {
		return true
	}
	ip, err := netip.ParseAddr(name)
	if err != nil {
		return false
	}
	ip = ip.Unmap().WithZone("")
	return s.any || s.loop && ip.IsLoopback() || slices.Contains(s.ips, ip)
}

// checkHost refuses what names another server and carries no proof of who asks.
func (s *Site) checkHost(r *http.Request) error {
	switch {
	case s.mode == dm.Strict || s.mode == "":
		return nil
	case s.mode == dm.PublicRead && r.Header.Get("Authorization") != "":
		return nil
	case s.knows(r.Host):
		return nil
	}
	return &httpFault{misdirected, dm.Errorf(dm.Invalid, "check host", "unknown host %.200q", hostName(r.Host)).
		WithHint("if this is a name of the server, add it to the option hosts")}
}

// checkPage refuses a request that a browser sends for a page of another site.
// acts tells that it is no mere read, whatever its method.
func (s *Site) checkPage(r *http.Request, acts bool) error {
	if acts && isRead(r.Method) {
		judged := *r
		judged.Method = http.MethodPost
		r = &judged
	}
	if s.cross.Check(r) == nil {
		return nil
	}
	return dm.Errorf(dm.Forbidden, "check page", "cross-site request refused").
		WithHint("to allow it, add its origin to the option cors.origins")
}

func isRead(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// annotate sets what every answer carries.
func (s *Site) annotate(h http.Header, r *http.Request) {
	if len(s.origins) == 0 {
		return
	}
	// Also without an origin: a cache must not give this answer to a page.
	h.Add("Vary", "Origin")
	if s.allows(r) {
		h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	}
}

// allows tells whether r comes from a page that may read.
func (s *Site) allows(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	return origin != "" && slices.Contains(s.origins, origin)
}

// isPreflight tells whether r is a browser's question before a request of one of
// Origins.
func (s *Site) isPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" && s.allows(r)
}
