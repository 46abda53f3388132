package hooks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/hooks/dispatch"
)

// CallbacksConfig is what Callbacks need. A kind whose address is empty is not
// delivered.
type CallbacksConfig struct {
	Events         dm.Events  // required
	Cursors        dm.Cursors // required
	PackageURL     string
	ApplicationURL string
	Client         *http.Client  // nil means one of our own; redirects are never followed
	Timeout        time.Duration // of one attempt; 0 means 5 s
	Pause          time.Duration // before the second attempt, doubled each time up to a minute; 0 means 500 ms
	Queue          int           // events read ahead of what an address has taken; 0 means 1,000
	Log            *slog.Logger  // nil means silent
	Registerer     prometheus.Registerer
}

// Callbacks post events to PNDA's receivers: in order for each id, several ids
// at once, at least once each, and for as long as it takes. How far each address
// has come is kept, so that the next process goes on there.
type Callbacks struct {
	cfg       CallbacksConfig
	receivers []*receiver
	events    *prometheus.CounterVec
	results   *prometheus.CounterVec
}

const (
	senders = 4               // posts at once to one address
	grace   = 2 * time.Second // for posts under way when Run is told to stop
	keeping = time.Second     // from one look at whether a cursor is to be kept to the next
)

// NewCallbacks checks cfg and starts nothing. An address that is new begins with
// what happens from now on.
func NewCallbacks(cfg CallbacksConfig) (*Callbacks, error) {
	if cfg.Timeout < 0 || cfg.Pause < 0 || cfg.Queue < 0 {
		return nil, errors.New("hooks: the callbacks' numbers must not be negative")
	}
	if cfg.Events == nil || cfg.Cursors == nil {
		return nil, errors.New("hooks: callbacks need events and cursors")
	}
	orDefault(&cfg.Timeout, 5*time.Second)
	orDefault(&cfg.Pause, 500*time.Millisecond)
	orDefault(&cfg.Queue, 1000)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: senders, IdleConnTimeout: time.Minute}}
	if cfg.Client != nil {
		client = *cfg.Client
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	cfg.Client = &client

	c := &Callbacks{cfg: cfg}
	for kind, address := range map[string]string{dm.PackageEvent: cfg.PackageURL, dm.ApplicationEvent: cfg.ApplicationURL} {
		if address != "" {
			u, err := url.Parse(address)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
				return nil, fmt.Errorf("hooks: the %s callback must be an http or https address", kind)
			}
		}
		r := newReceiver(kind, address, cfg.Queue)
		if err := c.place(r); err != nil {
			return nil, err
		}
		c.receivers = append(c.receivers, r)
	}
	return c, c.register(cfg.Registerer)
}

// place lets r begin where its cursor is. One that lies beyond the newest event
// is of a record that was since restored from a copy.
func (c *Callbacks) place(r *receiver) error {
	newest := c.cfg.Events.Newest()
	r.cursor = newest
	if r.address == "" {
		return nil
	}
	seq, ok, err := c.cfg.Cursors.Cursor(r.name())
	switch {
	case err != nil:
		return err
	case ok && seq <= newest:
		r.cursor = seq
		return nil
	}
	if err := c.cfg.Cursors.KeepCursor(r.name(), newest); err != nil { // the next one that is kept will do
		c.cfg.Log.Error("how far callbacks have come can't be kept", "kind", r.kind, "err", err)
	}
	return nil
}

func (c *Callbacks) register(r prometheus.Registerer) error {
	c.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dm_events_total", Help: "Transitions of packages and applications, by kind.",
	}, []string{"kind"})
	c.results = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dm_callbacks_total", Help: "Callbacks by kind of event and by what became of them; one that failed is tried again.",
	}, []string{"kind", "result"})
	if r == nil {
		return nil
	}
	return errors.Join(r.Register(c.events), r.Register(c.results))
}

// Run delivers until ctx ends, gives the posts that are under way two seconds,
// and returns nil.
func (c *Callbacks) Run(ctx context.Context) error {
	defer c.cfg.Client.CloseIdleConnections()
	deadline, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		for _, r := range c.receivers {
			r.close()
		}
		time.AfterFunc(grace, cancel)
	})
	defer stop()

	var running, keepers sync.WaitGroup
	delivered := make(chan struct{})
	for _, r := range c.receivers {
		running.Go(func() { c.read(ctx, r) })
		if r.address == "" {
			continue
		}
		for range senders {
			running.Go(func() { c.send(deadline, r) })
		}
		keepers.Go(func() { c.keep(delivered, r) })
	}
	running.Wait()
	close(delivered)
	keepers.Wait()
	return nil
}

// read hands r what happens.
func (c *Callbacks) read(ctx context.Context, r *receiver) {
	for after, failures := r.cursor, 0; ctx.Err() == nil; {
		list, err := c.cfg.Events.Events(ctx, after, 100)
		if err != nil && ctx.Err() == nil {
			failures++
			c.cfg.Log.Warn("events cannot be read for callbacks and are tried again", "kind", r.kind, "err", err)
			pause(ctx, dispatch.BackOff(c.cfg.Pause, failures, time.Minute))
			continue
		}
		failures = 0
		for _, e := range list {
			after = e.Seq
			tell := e.Kind == r.kind && !e.Again
			if tell {
				c.events.WithLabelValues(e.Kind).Inc()
			}
			if r.address != "" && !r.push(e, tell) {
				return
			}
		}
	}
}

// send is one sender: it takes events whose turn it is.
func (c *Callbacks) send(ctx context.Context, r *receiver) {
	for {
		p := r.take()
		if p == nil {
			return
		}
		again, err := true, error(nil)
		for _, state := range p.states() {
			if again, err = c.deliver(ctx, r.address, p.event, state); err != nil {
				break
			}
			p.told++
		}
		switch {
		case err == nil:
			c.results.WithLabelValues(r.kind, "delivered").Inc()
			r.done(p)
		case again:
			c.results.WithLabelValues(r.kind, "failed").Inc()
			p.failures++
			if p.failures == 1 {
				c.cfg.Log.Warn("callback failed and is tried again", "kind", r.kind, "id", p.event.ID, "seq", p.event.Seq, "err", err)
			}
			r.later(p, dispatch.BackOff(c.cfg.Pause, p.failures, time.Minute))
		default:
			c.results.WithLabelValues(r.kind, "lost").Inc()
			c.cfg.Log.Warn("callback lost", "kind", r.kind, "id", p.event.ID, "state", p.event.State, "seq", p.event.Seq,
				"request_id", p.event.RequestID, "err", err)
			r.done(p)
		}
	}
}

// deliver makes one attempt to tell a state that e led to.
func (c *Callbacks) deliver(ctx context.Context, address string, e dm.Event, state dm.Phase) (again bool, err error) {
	e.State = state
	body, err := callbackBody(e)
	if err != nil {
		return false, err
	}
	return c.post(ctx, address, body)
}

// keep keeps the cursor of r until ended is closed, and then once more. What it
// lags behind is delivered twice.
func (c *Callbacks) keep(ended <-chan struct{}, r *receiver) {
	kept := r.reached()
	keep := func() {
		now := r.reached()
		if now == kept {
			return
		}
		if err := c.cfg.Cursors.KeepCursor(r.name(), now); err != nil {
			c.cfg.Log.Error("the cursor of callbacks cannot be saved", "kind", r.kind, "err", err)
			return
		}
		kept = now
	}
	ticker := time.NewTicker(keeping)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			keep()
		case <-ended:
			keep()
			return
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// post makes one attempt. again tells whether another one could help. Its
// errors leave out the address, which may hold a secret.
func (c *Callbacks) post(ctx context.Context, address string, body []byte) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("invalid address")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.cfg.Client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return true, err
	}
	defer resp.Body.Close()
	// A short answer is read so that the connection can be used again; whether
	// that works does not matter to the event.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	if resp.StatusCode/100 == 2 {
		return false, nil
	}
	again = resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusRequestTimeout
	return again, fmt.Errorf("the receiver answered %d", resp.StatusCode)
}

// callbackBody is the body of PNDA's callbacks, to the letter of the contract.
// Working states carry no text: it could only be that of an earlier change.
func callbackBody(e dm.Event) ([]byte, error) {
	type item struct {
		ID          string   `json:"id"`
		State       dm.Phase `json:"state"`
		Timestamp   int64    `json:"timestamp"`
		Information string   `json:"information,omitempty"`
	}
	at := e.Time.UnixMilli()
	if e.State.Working() {
		e.Information = ""
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		Data      []item `json:"data"`
		Timestamp int64  `json:"timestamp"`
	}{[]item{{e.ID, e.State, at, e.Information}}, at})
	return bytes.TrimRight(b.Bytes(), "\n"), err
}
