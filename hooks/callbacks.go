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
	PackageURL     string
	ApplicationURL string
	Client         *http.Client  // nil means one of our own; redirects are never followed
	Timeout        time.Duration // of one attempt; 0 means 5 s
	Attempts       int           // for one event, the first included; 0 means 3
	Pause          time.Duration // before the second attempt, doubled each time; 0 means 500 ms
	Queue          int           // events kept for each address; 0 means 1,000
	Log            *slog.Logger  // nil means silent
	Registerer     prometheus.Registerer
}

// Callbacks posts events to PNDA's receivers: in order for each id, several
// ids at once, and without ever holding up who emits. An event that cannot be
// delivered in the attempts allowed is dropped, logged and counted.
type Callbacks struct {
	cfg       CallbacksConfig
	receivers map[string]*receiver // by kind of event; fixed after NewCallbacks
	events    *prometheus.CounterVec
	results   *prometheus.CounterVec
}

var _ dm.EventSink = (*Callbacks)(nil)

const (
	senders = 4               // posts at once to one address
	grace   = 2 * time.Second // for what is queued when Run is told to stop
)

// NewCallbacks checks cfg and starts nothing.
func NewCallbacks(cfg CallbacksConfig) (*Callbacks, error) {
	if cfg.Timeout < 0 || cfg.Attempts < 0 || cfg.Pause < 0 || cfg.Queue < 0 {
		return nil, errors.New("hooks: the callbacks' numbers must not be negative")
	}
	orDefault(&cfg.Timeout, 5*time.Second)
	orDefault(&cfg.Attempts, 3)
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

	c := &Callbacks{cfg: cfg, receivers: map[string]*receiver{}}
	for kind, address := range map[string]string{dm.PackageEvent: cfg.PackageURL, dm.ApplicationEvent: cfg.ApplicationURL} {
		if address == "" {
			continue
		}
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("hooks: the %s callback must be an http or https address", kind)
		}
		c.receivers[kind] = newReceiver(address, cfg.Queue)
	}
	return c, c.register(cfg.Registerer)
}

func (c *Callbacks) register(r prometheus.Registerer) error {
	c.events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dm_events_total", Help: "Transitions of packages and applications, by kind.",
	}, []string{"kind"})
	c.results = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "dm_callbacks_total", Help: "Callbacks by kind of event and by what became of them.",
	}, []string{"kind", "result"})
	if r == nil {
		return nil
	}
	return errors.Join(r.Register(c.events), r.Register(c.results))
}

// Emit queues e. When the queue is full the oldest event that nobody delivers
// at the moment makes room.
func (c *Callbacks) Emit(e dm.Event) {
	if e.Kind != dm.PackageEvent && e.Kind != dm.ApplicationEvent {
		return
	}
	c.events.WithLabelValues(e.Kind).Inc()
	r := c.receivers[e.Kind]
	if r == nil {
		return
	}
	for _, dropped := range r.push(e) {
		c.lost(dropped, errors.New("the queue is full"))
	}
}

// lost counts and tells of an event that will not be delivered.
func (c *Callbacks) lost(e dm.Event, err error) {
	c.results.WithLabelValues(e.Kind, "lost").Inc()
	c.cfg.Log.Warn("callback lost", "kind", e.Kind, "id", e.ID, "state", e.State, "request_id", e.RequestID, "err", err)
}

// Run delivers until ctx ends, then goes on with what is queued for two
// seconds at most and returns nil.
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

	var running sync.WaitGroup
	for _, r := range c.receivers {
		for range senders {
			running.Go(func() { c.send(deadline, r) })
		}
	}
	<-ctx.Done()
	running.Wait()
	return nil
}

// send is one sender: it takes events of ids that no other sender has in hand.
func (c *Callbacks) send(ctx context.Context, r *receiver) {
	for {
		e, ok := r.take()
		if !ok {
			return
		}
		if err := c.deliver(ctx, r.address, e); err != nil {
			c.lost(e, err)
		} else {
			c.results.WithLabelValues(e.Kind, "delivered").Inc()
		}
		r.done(e.ID)
	}
}

// deliver tries until the receiver has taken e, has refused it, or the
// attempts are used up.
func (c *Callbacks) deliver(ctx context.Context, address string, e dm.Event) error {
	body, err := callbackBody(e)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		again, err := c.post(ctx, address, body)
		if err == nil || !again || n >= c.cfg.Attempts {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(dispatch.BackOff(c.cfg.Pause, n, time.Minute)):
		}
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
