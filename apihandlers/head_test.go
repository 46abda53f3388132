package apihandlers_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestHeadIsGetWithoutItsBody: on every path that has GET, with every answer that
// the golden files hold, HEAD has the same status and headers and no body.
func TestHeadIsGetWithoutItsBody(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{env: environment, maxBody: 100})
	servers := map[string]*httptest.Server{}
	for _, name := range []string{"packages", "manager"} {
		servers[name] = httptest.NewServer(h.on(name))
		t.Cleanup(servers[name].Close)
	}
	ask := func(server *httptest.Server, method string, q request) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+q.path, nil)
		must(t, err)
		r.Header = q.header.Clone()
		if r.Header == nil {
			r.Header = http.Header{}
		}
		r.Header.Set("X-Request-Id", "test")
		answer, err := server.Client().Do(r)
		must(t, err)
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		must(t, err)
		answer.Header.Del("Date")
		return answer, string(body)
	}
	seen := 0
	for key, route := range allRoutes(t) {
		if route.Method != http.MethodGet {
			continue
		}
		name, _, _ := strings.Cut(key, "/")
		for _, q := range append(goldenCases[key], request{path: "/livez"}, request{path: "/readyz"}) {
			if q.method != "" && q.method != http.MethodGet {
				continue
			}
			seen++
			get, text := ask(servers[name], http.MethodGet, q)
			head, body := ask(servers[name], http.MethodHead, q)
			if head.StatusCode != get.StatusCode || body != "" {
				t.Errorf("%s: HEAD %s is %d %q, GET %d", name, q.path, head.StatusCode, body, get.StatusCode)
			}
			for _, header := range []string{"Content-Length", "Content-Type", "ETag", "Retry-After", "Allow"} {
				if got, want := head.Header.Get(header), get.Header.Get(header); got != want {
					t.Errorf("%s: HEAD %s has %s %q, GET %q", name, q.path, header, got, want)
				}
			}
			if want := int64(len(text)); get.StatusCode != http.StatusNotModified && head.ContentLength != want {
				t.Errorf("%s: HEAD %s tells %d bytes, GET has %d", name, q.path, head.ContentLength, want)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d requests were looked at", seen)
	}
}
