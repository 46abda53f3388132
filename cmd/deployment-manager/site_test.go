package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestBrowsersOnTheSameMachine: of a server on loopback that believes user.name, no
// port answers a page whose name points here, none lets a page of another site
// change anything or read, and who comes as always is served.
func TestBrowsersOnTheSameMachine(t *testing.T) {
	t.Parallel()
	h := startHouse(t, t.TempDir(), func(string) string { return "" }, "--auth", "insecure-pnda", "--hosts", "dm.example, proxy.example", "--cors-origins", "https://console.example")
	ask := func(door, method, path, host string, header ...string) (int, http.Header) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, h.url(door, "", path), nil)
		must(t, err)
		request.Host = host
		for i := 0; i+1 < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		answer, err := http.DefaultClient.Do(request)
		must(t, err)
		must(t, answer.Body.Close())
		return answer.StatusCode, answer.Header
	}
	reads := map[string]string{"packages": "/packages?user.name=ana", "manager": "/applications", "git": "/sync.sh"}
	changes := map[string]string{"packages": "PUT /packages/x-1.0.0.tgz?user.name=ana", "manager": "POST /applications/x/start?user.name=ana", "git": "GET /jupyter-ana/info/refs?service=git-upload-pack"}
	for door, path := range reads {
		for host, want := range map[string]int{"": 200, "localhost:1": 200, "127.0.0.1": 200, "dm.example": 200, "PROXY.example:443": 200, "evil.example": 421, "192.0.2.1": 421} {
			if got, _ := ask(door, http.MethodGet, path, host); got != want {
				t.Errorf("%s: Host %q: %d, want %d", door, host, got, want)
			}
		}
		method, path, _ := strings.Cut(changes[door], " ")
		if got, _ := ask(door, method, path, "", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); got != http.StatusForbidden {
			t.Errorf("%s: a page of another site gets %d, want 403", door, got)
		}
		if got, _ := ask(door, method, path, "", "Origin", "https://console.example", "Sec-Fetch-Site", "cross-site"); got == http.StatusForbidden {
			t.Errorf("%s: the console's page gets %d", door, got)
		}
		for origin, want := range map[string]string{"https://evil.example": "", "https://console.example": "https://console.example"} {
			_, header := ask(door, http.MethodOptions, strings.TrimSuffix(path, "/start"), "", "Origin", origin, "Access-Control-Request-Method", "PUT")
			if got := header.Get("Access-Control-Allow-Origin"); got != want {
				t.Errorf("%s: the preflight of %s allows %q, want %q", door, origin, got, want)
			}
		}
	}
}

// TestRequestsThatEndInTwoWays: every door refuses what a proxy and the server could
// understand differently, and closes the connection.
func TestRequestsThatEndInTwoWays(t *testing.T) {
	t.Parallel()
	h := startHouse(t, t.TempDir(), func(string) string { return "" }, "--auth", "insecure-pnda")
	for _, door := range doorNames {
		conn, err := net.Dial("tcp", h.addresses[door])
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		_, err = io.WriteString(conn, "PUT /packages/a-1.0.0.tgz?user.name=ana HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+
			"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
		must(t, err)
		all, err := io.ReadAll(conn)
		if text := string(all); err != nil || !strings.HasPrefix(text, "HTTP/1.1 400 ") || strings.Count(text, "HTTP/1.1 ") != 1 {
			t.Errorf("%s: got %v\n%s", door, err, text)
		}
	}
}
