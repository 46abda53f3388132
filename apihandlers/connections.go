package apihandlers

import (
	"container/list"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
)

// ConnectionsConfig bounds the connections of all ports together.
type ConnectionsConfig struct {
	Most       int // open at once; required
	PerAddress int // of one address, or one network of IPv6; required
	// Free addresses have no cap of their own: loopback, and proxies that bring
	// many clients. nil means none.
	Free       func(netip.Addr) bool
	Patience   time.Duration         // of one that waits for a place; 0 means 5 s
	Registerer prometheus.Registerer // nil means none
}

// Connections counts the connections of all ports, so that the descriptors that
// the record works with are never spent on clients, and no address can take the
// places of all others.
//
// One too many of an address is answered 503. When all places are taken, the
// connection that has been idle longest (kept by its client for a request that
// may come) is closed for the new one; when none is idle, the port takes no more:
// the next in line waits, and those behind it in the queue of the system, which
// to them is a server that is slow to answer. Who waited longer than Patience is
// answered 503.
type Connections struct {
	most, perAddress int
	free             func(netip.Addr) bool
	patience         time.Duration
	gauge            prometheus.Gauge
	refused          *prometheus.CounterVec
	farewells        chan struct{} // a place for each that is being refused in words
	leaving          sync.WaitGroup

	mu     sync.Mutex // guards what follows
	change *sync.Cond // a connection ended or came to rest, or a port closed
	open   int
	of     map[netip.Prefix]int // counted addresses
	idle   *list.List           // of *connection, the longest idle first
}

// Why a connection was refused; the label of a metric.
const (
	refusedAddress = "address"
	refusedAll     = "all"
)

// NewConnections checks the configuration.
func NewConnections(cfg ConnectionsConfig) (*Connections, error) {
	const op = "apihandlers.NewConnections"
	if cfg.Most < 1 || cfg.PerAddress < 1 {
		return nil, dm.Errorf(dm.Invalid, op, "the limits of connections must be at least 1")
	}
	c := &Connections{
		most: cfg.Most, perAddress: cfg.PerAddress, free: cfg.Free, patience: cfg.Patience,
		farewells: make(chan struct{}, 8), of: map[netip.Prefix]int{}, idle: list.New(),
		gauge:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "dm_connections", Help: "Connections that are open now, on all ports."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dm_connections_refused_total", Help: "Connections that were refused, because their address or all together had too many."}, []string{"of"}),
	}
	c.change = sync.NewCond(&c.mu)
	if c.free == nil {
		c.free = func(netip.Addr) bool { return false }
	}
	if c.patience <= 0 {
		c.patience = 5 * time.Second
	}
	c.refused.WithLabelValues(refusedAddress)
	c.refused.WithLabelValues(refusedAll)
	if cfg.Registerer == nil {
		return c, nil
	}
	for _, metric := range []prometheus.Collector{c.gauge, c.refused} {
		if err := cfg.Registerer.Register(metric); err != nil {
			return nil, dm.Wrap(op, err)
		}
	}
	return c, nil
}

// Most is how many may be open at once.
func (c *Connections) Most() int { return c.most }

// Listen counts what l accepts. plain tells that the connections speak HTTP and
// not TLS, so that a refusal can be told in words. The server of l must call
// State.
func (c *Connections) Listen(l net.Listener, plain bool) net.Listener {
	return &countedListener{Listener: l, all: c, plain: plain}
}

// State is for http.Server.ConnState.
func (c *Connections) State(conn net.Conn, state http.ConnState) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	one, ok := conn.(*connection)
	if !ok {
		return
	}
	if state == http.StateIdle {
		one.head.begin()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case state == http.StateIdle && one.rests == nil && !one.left:
		one.rests = c.idle.PushBack(one)
		c.change.Broadcast()
	case state != http.StateIdle:
		c.wakes(one)
	}
}

// wakes takes one out of those that may be closed; the caller holds mu.
func (c *Connections) wakes(one *connection) {
	if one.rests != nil {
		c.idle.Remove(one.rests)
		one.rests = nil
	}
}

// enter gives one a place; why is the reason of a refusal. It waits in line.
func (c *Connections) enter(one *connection, closed *bool) (why string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one.counted {
		if c.of[one.source] >= c.perAddress {
			return refusedAddress, nil
		}
		c.of[one.source]++
	}
	over := false
	if c.open >= c.most {
		timer := time.AfterFunc(c.patience, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			over = true
			c.change.Broadcast()
		})
		defer timer.Stop()
	}
	for c.open >= c.most && !over && !*closed {
		front := c.idle.Front()
		if front == nil {
			c.change.Wait()
			continue
		}
		rested := front.Value.(*connection)
		c.wakes(rested)
		c.mu.Unlock()
		_ = rested.Close() // its client asks again on a new one
		c.mu.Lock()
	}
	switch {
	case *closed:
		err = net.ErrClosed
	case c.open >= c.most:
		why = refusedAll
	default:
		one.placed = true
		c.open++
		c.gauge.Set(float64(c.open))
		return "", nil
	}
	c.forget(one)
	return why, err
}

// forget takes one off the count of its address; the caller holds mu.
func (c *Connections) forget(one *connection) {
	if !one.counted {
		return
	}
	if c.of[one.source]--; c.of[one.source] == 0 {
		delete(c.of, one.source)
	}
}

// leave gives the place of one back.
func (c *Connections) leave(one *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !one.placed || one.left {
		return
	}
	one.left = true
	c.wakes(one)
	c.forget(one)
	c.open--
	c.gauge.Set(float64(c.open))
	c.change.Broadcast()
}

// countedListener is a port.
type countedListener struct {
	net.Listener
	all    *Connections
	plain  bool
	closed bool // guarded by all.mu
}

// Accept returns the next connection that has a place.
func (l *countedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok { // of no network, so of this machine
			return conn, nil
		}
		one := &connection{TCPConn: tcp, all: l.all}
		if peer, err := netip.ParseAddrPort(tcp.RemoteAddr().String()); err == nil {
			one.source, one.counted = network(peer.Addr()), !l.all.free(peer.Addr().Unmap())
		}
		why, err := l.all.enter(one, &l.closed)
		switch {
		case err != nil:
			tcp.Close()
			return nil, err
		case why == "":
			return one, nil
		}
		l.all.refused.WithLabelValues(why).Inc()
		l.all.refuse(tcp, l.plain, why)
	}
}

// Close ends an Accept that waits as well.
func (l *countedListener) Close() error {
	l.all.mu.Lock()
	l.closed = true
	l.all.change.Broadcast()
	l.all.mu.Unlock()
	return l.Listener.Close()
}

// Wait returns when every refusal is told; call it when all ports are closed.
func (c *Connections) Wait() { c.leaving.Wait() }

// farewell is the longest that a refusal takes.
const farewell = time.Second

// refuse tells why in the background, to few at a time, because each holds a
// descriptor for as long.
func (c *Connections) refuse(conn *net.TCPConn, plain bool, why string) {
	if !plain {
		conn.Close()
		return
	}
	select {
	case c.farewells <- struct{}{}:
	default:
		conn.Close()
		return
	}
	sentence := "the server has too many connections"
	if why == refusedAddress {
		sentence = "this address has too many connections"
	}
	body := `{"status":"` + answers[dm.Unavailable].Word + `","information":"` + sentence + `"}`
	c.leaving.Go(func() {
		defer func() { <-c.farewells }()
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(farewell))
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\nRetry-After: %s\r\nConnection: close\r\n\r\n%s",
			len(body), retryAfter, body)
		_ = conn.CloseWrite()
		// With its request unread the system would break the connection off, and
		// the client would not get to see the answer.
		_, _ = conn.Read(make([]byte, maxHeaderBytes))
	})
}

// network is what one client has: of IPv6 that is a network, not an address.
func network(ip netip.Addr) netip.Prefix {
	ip = ip.Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(ip, bits).Masked()
}

// connection gives its place back when it is closed. It is a TCPConn so that the
// system can send a file by itself.
type connection struct {
	*net.TCPConn
	all     *Connections
	head    head
	source  netip.Prefix
	counted bool // against its address

	// Guarded by all.mu.
	placed, left bool
	rests        *list.Element // among the idle
}

// Read implements net.Conn.
func (c *connection) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	c.head.feed(p[:n])
	return n, err
}

// Close implements net.Conn.
func (c *connection) Close() error {
	err := c.TCPConn.Close()
	c.all.leave(c)
	return err
}
