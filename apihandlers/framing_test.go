package apihandlers_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pndaproject/deployment-manager/apihandlers"
)

// TestRequestsThatEndInTwoWays: both a length and chunks is 400, in whichever order
// and pieces they arrive; and nothing behind a request in chunks is ever served,
// also where the connection is not looked into.
func TestRequestsThatEndInTwoWays(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{maxBody: 1 << 20})
	serveOn := func(counted bool) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		address := listener.Addr().String()
		server := apihandlers.NewServer(h.packages, slog.New(slog.DiscardHandler))
		if counted {
			all, err := apihandlers.NewConnections(apihandlers.ConnectionsConfig{Most: 100, PerAddress: 100})
			must(t, err)
			listener, server.ConnState = all.Listen(listener, true), all.State
		}
		go func() { _ = server.Serve(listener) }() // ends with Close
		t.Cleanup(func() { must(t, server.Close()) })
		return address
	}
	looked, plain := serveOn(true), serveOn(false)
	const (
		line     = "PUT /packages/a-1.0.0.tgz?user.name=ana HTTP/1.1\r\nHost: h\r\n"
		chunks   = "\r\n3\r\nabc\r\n0\r\n\r\n"
		smuggled = "GET /packages?user.name=ana HTTP/1.1\r\nHost: h\r\nX-Request-Id: smuggled\r\n\r\n"
		get      = "GET /packages?user.name=ana HTTP/1.1\r\nHost: h\r\n\r\n"
		lookLike = "\nContent-Length: 1\nTransfer-Encoding: chunked\n"
	)
	cases := []struct {
		name    string
		address string
		pieces  []string // sent one after the other
		want    []int
	}{
		{"length, then chunks", looked, []string{line + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" + chunks}, []int{400}},
		{"chunks, then length", looked, []string{line + "Transfer-Encoding: chunked\r\nX: y\r\nContent-Length: 3\r\n" + chunks}, []int{400}},
		{"in small letters", looked, []string{line + "content-length:3\r\ntransfer-encoding:chunked\r\n" + chunks}, []int{400}},
		{"in pieces", looked, []string{line + "Content-Len", "gth: 3\r\nTran", "sfer-Encoding: chunked\r", "\n" + chunks}, []int{400}},
		{"after a request without", looked, []string{get, line + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" + chunks}, []int{200, 400}},
		{"with a request behind", looked, []string{line + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" + chunks + smuggled}, []int{400}},
		{"with a request behind, not looked into", plain, []string{line + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" + chunks + smuggled}, []int{200}},
		{"chunks alone", looked, []string{line + "Transfer-Encoding: chunked\r\n" + chunks}, []int{200}},
		{"chunks alone, with a request behind", looked, []string{line + "Transfer-Encoding: chunked\r\n" + chunks + smuggled}, []int{200}},
		{"a length alone, with a request behind", looked, []string{line + "Content-Length: 3\r\n\r\nabc" + get}, []int{200, 200}},
		{"a body that looks like both", looked, []string{fmt.Sprintf("%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", line, len(lookLike), lookLike)}, []int{200}},
		{"a header value that looks like one", looked, []string{line + "X: Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" + chunks}, []int{200}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", c.address)
			must(t, err)
			defer conn.Close()
			must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
			in := bufio.NewReader(conn)
			var got []int
			read := func() bool {
				answer, err := http.ReadResponse(in, nil)
				if err != nil {
					return false
				}
				_, err = io.Copy(io.Discard, answer.Body)
				got = append(got, answer.StatusCode)
				return err == nil
			}
			for i, piece := range c.pieces {
				if i > 0 && len(c.want) > 1 {
					read() // the answer of the piece before
				}
				_, err := io.WriteString(conn, piece)
				must(t, err)
			}
			must(t, conn.(*net.TCPConn).CloseWrite())
			for read() {
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
	t.Cleanup(func() {
		if strings.Contains(h.log.String(), `"request_id":"smuggled"`) {
			t.Error("a request inside another was served")
		}
	})
}
