package apihandlers

import (
	"net"
	"net/http"
	"net/netip"
	"slices"

	"github.com/realclientip/realclientip-go"

	dm "github.com/pndaproject/deployment-manager"
)

// Proxies knows which connections come from a proxy in front of the server, so
// that limits by address meet the client and not everyone behind the proxy.
type Proxies struct {
	ranges   []net.IPNet
	strategy realclientip.RightmostTrustedRangeStrategy
}

// NewProxies takes addresses and ranges (192.0.2.7, 198.51.100.0/24).
func NewProxies(ranges []string) (*Proxies, error) {
	const op = "apihandlers.NewProxies"
	p := &Proxies{}
	for _, text := range ranges {
		nets, err := realclientip.AddressesAndRangesToIPNets(text)
		if err != nil {
			return nil, dm.Errorf(dm.Invalid, op, "the trusted proxy %q must be an address or a range such as 198.51.100.0/24", text)
		}
		p.ranges = append(p.ranges, nets...)
	}
	strategy, err := realclientip.NewRightmostTrustedRangeStrategy("X-Forwarded-For", p.ranges)
	if err != nil {
		return nil, dm.Wrap(op, err)
	}
	p.strategy = strategy
	return p, nil
}

// Wrap gives next the address of the client where the connection comes from a
// trusted proxy: the last address in X-Forwarded-For that is not a trusted
// proxy's itself. From anybody else the header is not read, because anybody can
// write it.
func (p *Proxies) Wrap(next http.Handler) http.Handler {
	if len(p.ranges) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if client := p.client(r); client != "" {
			forwarded := *r
			forwarded.RemoteAddr = net.JoinHostPort(client, "0")
			r = &forwarded
		}
		next.ServeHTTP(w, r)
	})
}

// Trusts tells whether ip is the address of a trusted proxy.
func (p *Proxies) Trusts(ip netip.Addr) bool {
	return p.trusts(net.IP(ip.Unmap().AsSlice()))
}

func (p *Proxies) trusts(ip net.IP) bool {
	return slices.ContainsFunc(p.ranges, func(trusted net.IPNet) bool { return trusted.Contains(ip) })
}

// client is "" where the peer's own address counts.
func (p *Proxies) client(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	if !p.trusts(net.ParseIP(host)) {
		return ""
	}
	return p.strategy.ClientIP(r.Header, r.RemoteAddr)
}
