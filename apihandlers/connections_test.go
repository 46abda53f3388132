package apihandlers_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// counted is a server with a bound of connections. GET /hold answers when release
// is closed; everything else at once.
type counted struct {
	t       *testing.T
	address string
	all     *apihandlers.Connections
	entered chan struct{}
	rested  chan struct{} // one for each that came to rest
	release chan struct{}
	secure  *tls.Config // of clients, nil for plain HTTP
}

func serveCounted(t *testing.T, cfg apihandlers.ConnectionsConfig, secure bool) *counted {
	t.Helper()
	c := &counted{t: t, entered: make(chan struct{}, 100), rested: make(chan struct{}, 1000), release: make(chan struct{})}
	var err error
	c.all, err = apihandlers.NewConnections(cfg)
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c.address = listener.Addr().String()
	listener = c.all.Listen(listener, !secure)
	if secure {
		certificates := httptest.NewUnstartedServer(nil)
		certificates.StartTLS()
		t.Cleanup(certificates.Close)
		listener = tls.NewListener(listener, &tls.Config{Certificates: certificates.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}})
		c.secure = &tls.Config{InsecureSkipVerify: true}
	}
	server := apihandlers.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			c.entered <- struct{}{}
			select {
			case <-c.release:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, "served")
	}), slog.New(slog.DiscardHandler))
	server.ConnState = func(conn net.Conn, state http.ConnState) {
		c.all.State(conn, state)
		if state == http.StateIdle {
			c.rested <- struct{}{}
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		must(t, server.Close())
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("the server ended: %v", err)
		}
		c.all.Wait()
	})
	return c
}

// dial connects from an address of this machine.
func (c *counted) dial(from string) net.Conn {
	c.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: 10 * time.Second}
	conn, err := dialer.Dial("tcp", c.address)
	must(c.t, err)
	c.t.Cleanup(func() { conn.Close() })
	must(c.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	if c.secure != nil {
		return tls.Client(conn, c.secure)
	}
	return conn
}

// ask sends a request and returns its answer; status 0 is a connection that the
// server closed.
func (c *counted) ask(conn net.Conn, path string) (status int, header http.Header, body string) {
	c.t.Helper()
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return 0, nil, err.Error()
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, nil, err.Error()
	}
	text, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, string(text)
}

// served asks on a connection and returns when it has come to rest.
func (c *counted) served(conn net.Conn) {
	c.t.Helper()
	if status, _, body := c.ask(conn, "/"); status != http.StatusOK || body != "served" {
		c.t.Fatalf("got %d %s, want to be served", status, body)
	}
	<-c.rested
}

// TestConnectionsOfOneAddress: who sends nothing, or a header byte by byte, on as
// many connections as an address may have, locks out nobody but that address.
func TestConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	c := serveCounted(t, apihandlers.ConnectionsConfig{Most: 100, PerAddress: 3, Registerer: prometheus.NewRegistry()}, false)
	slow := make([]net.Conn, 3)
	for i := range slow {
		slow[i] = c.dial("127.0.0.2")
		_, err := io.WriteString(slow[i], "GET / HT")
		must(t, err)
	}
	for range 20 {
		status, header, body := c.ask(c.dial("127.0.0.2"), "/")
		if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(body, "this address has too many connections") {
			t.Fatalf("one more of the address got %d %v %s, want 503", status, header, body)
		}
	}
	c.served(c.dial("127.0.0.3"))
	must(t, slow[0].Close())
	eventually(t, "a place of the address is free again", func() bool {
		status, _, _ := c.ask(c.dial("127.0.0.2"), "/")
		return status == http.StatusOK
	})
}

// TestFreeAddresses have no cap of their own.
func TestFreeAddresses(t *testing.T) {
	t.Parallel()
	free := netip.MustParseAddr("127.0.0.4")
	c := serveCounted(t, apihandlers.ConnectionsConfig{Most: 100, PerAddress: 1, Free: func(ip netip.Addr) bool { return ip == free }}, false)
	for range 20 {
		c.served(c.dial("127.0.0.4"))
	}
	c.served(c.dial("127.0.0.2"))
	if status, _, _ := c.ask(c.dial("127.0.0.2"), "/"); status != http.StatusServiceUnavailable {
		t.Errorf("one more of another address got %d, want 503", status)
	}
}

// TestIdleConnectionsAreClosedFirst: for a new one the longest idle goes, over
// plain HTTP and TLS; one that is at work stays.
func TestIdleConnectionsAreClosedFirst(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		c := serveCounted(t, apihandlers.ConnectionsConfig{Most: 3, PerAddress: 100}, secure)
		busy := c.dial("127.0.0.1")
		answer := make(chan int, 1)
		go func() {
			status, _, _ := c.ask(busy, "/hold")
			answer <- status
		}()
		<-c.entered
		first, second := c.dial("127.0.0.1"), c.dial("127.0.0.1")
		c.served(first)
		c.served(second)
		c.served(first) // now second rests longer
		third := c.dial("127.0.0.1")
		c.served(third)
		if status, _, _ := c.ask(second, "/"); status != 0 {
			t.Errorf("secure %v: the longest idle connection still answers %d", secure, status)
		}
		c.served(first)
		close(c.release)
		if status := <-answer; status != http.StatusOK {
			t.Errorf("secure %v: the one at work got %d", secure, status)
		}
	}
}

// TestConnectionsWait: when all places are at work the next waits for one, and is
// told to come back when none gets free in time.
func TestConnectionsWait(t *testing.T) {
	t.Parallel()
	c := serveCounted(t, apihandlers.ConnectionsConfig{Most: 2, PerAddress: 100, Patience: 300 * time.Millisecond}, false)
	var busy sync.WaitGroup
	for range 2 {
		conn := c.dial("127.0.0.1")
		busy.Go(func() { c.ask(conn, "/hold") })
		<-c.entered
	}
	status, header, body := c.ask(c.dial("127.0.0.1"), "/")
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" || !strings.Contains(body, "the server has too many connections") {
		t.Errorf("who waited too long got %d %v %s, want 503", status, header, body)
	}
	waiting := make(chan int, 1)
	conn := c.dial("127.0.0.1")
	go func() {
		status, _, _ := c.ask(conn, "/")
		waiting <- status
	}()
	close(c.release)
	if status := <-waiting; status != http.StatusOK {
		t.Errorf("who waited for a place got %d, want 200", status)
	}
	busy.Wait()
}

// TestManyConnectionsThroughFewPlaces: nobody gets an error for coming with many.
func TestManyConnectionsThroughFewPlaces(t *testing.T) {
	t.Parallel()
	c := serveCounted(t, apihandlers.ConnectionsConfig{Most: 8, PerAddress: 1, Free: netip.Addr.IsLoopback}, false)
	var all sync.WaitGroup
	for range 300 {
		all.Go(func() {
			conn, err := net.Dial("tcp", c.address)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for range 2 {
				// A kept connection may have been closed for another client.
				if status, _, body := c.ask(conn, "/"); status != http.StatusOK {
					if status != 0 {
						t.Errorf("got %d %s", status, body)
					}
					return
				}
			}
		})
	}
	all.Wait()
}

// TestConnectionsThatWaitWhenThePortCloses do not keep it open.
func TestConnectionsThatWaitWhenThePortCloses(t *testing.T) {
	t.Parallel()
	all, err := apihandlers.NewConnections(apihandlers.ConnectionsConfig{Most: 1, PerAddress: 9, Patience: time.Hour})
	must(t, err)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	listener := all.Listen(inner, true)
	for range 2 {
		conn, err := net.Dial("tcp", inner.Addr().String())
		must(t, err)
		defer conn.Close()
	}
	one, err := listener.Accept()
	must(t, err)
	defer one.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := listener.Accept()
		ended <- err
	}()
	must(t, listener.Close())
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ended with %v", err)
	}
}

// eventually polls until ok, and fails the test when it takes too long.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestConnectionsConfiguration(t *testing.T) {
	t.Parallel()
	for _, cfg := range []apihandlers.ConnectionsConfig{{}, {Most: 1}, {PerAddress: 1}, {Most: -1, PerAddress: 1}} {
		if _, err := apihandlers.NewConnections(cfg); dm.KindOf(err) != dm.Invalid {
			t.Errorf("%+v: %v, want Invalid", cfg, err)
		}
	}
}
