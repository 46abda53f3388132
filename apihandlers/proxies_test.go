package apihandlers_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

func TestProxies(t *testing.T) {
	t.Parallel()
	trusted := []string{"198.51.100.0/24", "192.0.2.7", "2001:db8::/32"}
	for _, c := range []struct {
		name    string
		ranges  []string
		peer    string
		headers []string
		want    string
	}{
		{"no proxy trusted", nil, "198.51.100.1:4", []string{"203.0.113.9"}, "198.51.100.1:4"},
		{"from a proxy", trusted, "198.51.100.1:4", []string{"203.0.113.9"}, "203.0.113.9:0"},
		{"from a single address", trusted, "192.0.2.7:4", []string{"203.0.113.9"}, "203.0.113.9:0"},
		{"from a proxy over IPv6", trusted, "[2001:db8::1]:4", []string{"2001:4::9"}, "[2001:4::9]:0"},
		{"from anybody", trusted, "203.0.113.1:4", []string{"203.0.113.9"}, "203.0.113.1:4"},
		{"from anybody who names a proxy", trusted, "203.0.113.1:4", []string{"203.0.113.9, 198.51.100.9"}, "203.0.113.1:4"},
		{"what the client wrote before the proxy", trusted, "198.51.100.1:4", []string{"10.0.0.1, 203.0.113.9"}, "203.0.113.9:0"},
		{"two proxies", trusted, "198.51.100.1:4", []string{"10.0.0.1, 203.0.113.9, 192.0.2.7"}, "203.0.113.9:0"},
		{"two headers", trusted, "198.51.100.1:4", []string{"10.0.0.1", "203.0.113.9"}, "203.0.113.9:0"},
		{"no header", trusted, "198.51.100.1:4", nil, "198.51.100.1:4"},
		{"no address", trusted, "198.51.100.1:4", []string{"203.0.113.9, unknown"}, "198.51.100.1:4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			proxies, err := apihandlers.NewProxies(c.ranges)
			must(t, err)
			var got string
			handler := proxies.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }))
			r := httptest.NewRequest(http.MethodGet, "/packages", nil)
			r.RemoteAddr = c.peer
			for _, h := range c.headers {
				r.Header.Add("X-Forwarded-For", h)
			}
			handler.ServeHTTP(httptest.NewRecorder(), r)
			if got != c.want {
				t.Errorf("the address is %s, want %s", got, c.want)
			}
		})
	}
}

func TestProxiesRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "proxy.example", "10.0.0.0/33", "fe80::1%eth0"} {
		_, err := apihandlers.NewProxies([]string{text})
		if dm.KindOf(err) != dm.Invalid {
			t.Errorf("%q: %v, want a refusal", text, err)
		}
	}
}
