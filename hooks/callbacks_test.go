package hooks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
)

// inbox is a real receiver that keeps the bodies it was sent.
type inbox struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	types  []string
	came   chan string
}

// newInbox answers with what answer says, 200 when it is nil.
func newInbox(t *testing.T, answer func(body string) int) *inbox {
	t.Helper()
	in := &inbox{came: make(chan string, 10_000)}
	in.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		status := http.StatusOK
		if answer != nil {
			status = answer(string(body))
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		in.mu.Lock()
		if status == http.StatusOK {
			in.bodies = append(in.bodies, string(body))
		}
		in.types = append(in.types, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type"))
		in.mu.Unlock()
		w.WriteHeader(status)
		in.came <- string(body)
	}))
	t.Cleanup(in.Close)
	return in
}

// wait returns when n requests have come.
func (in *inbox) wait(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for i := range n {
		select {
		case <-in.came:
		case <-deadline:
			t.Fatalf("%d requests came, want %d", i, n)
		}
	}
}

func (in *inbox) taken() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.bodies)
}

// following is a stream with callbacks at work on it.
type following struct {
	*fakeStream
	*Callbacks
}

// working makes callbacks and runs them; stop ends them and waits.
func working(t *testing.T, cfg CallbacksConfig) (f following, stop func()) {
	t.Helper()
	if cfg.Events == nil {
		stream := newFakeStream()
		cfg.Events, cfg.Cursors = stream, stream
	}
	c, err := NewCallbacks(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return following{cfg.Events.(*fakeStream), c}, stop
}

var noon = time.UnixMilli(1736121600123)

func event(id string, state dm.Phase, information string) dm.Event {
	return dm.Event{Kind: dm.ApplicationEvent, ID: id, State: state, Information: information, Stamp: dm.Stamp{Time: noon}}
}

func TestCallbackBodies(t *testing.T) {
	t.Parallel()
	deploy := dm.Event{Kind: dm.PackageEvent, ID: "p-1.0.0", State: dm.Deployed, Stamp: dm.Stamp{Verb: dm.Deploy, Time: noon}}
	undeploy := deploy
	undeploy.Verb, undeploy.State = dm.Undeploy, dm.NotDeployed
	cases := []struct {
		name string
		e    dm.Event
		want string
	}{
		{"deploy", deploy, `{"data":[{"id":"p-1.0.0","state":"DEPLOYING","timestamp":1736121600123}],"timestamp":1736121600123}` + "\n" +
			`{"data":[{"id":"p-1.0.0","state":"DEPLOYED","timestamp":1736121600123}],"timestamp":1736121600123}`},
		{"undeploy", undeploy, `{"data":[{"id":"p-1.0.0","state":"UNDEPLOYING","timestamp":1736121600123}],"timestamp":1736121600123}` + "\n" +
			`{"data":[{"id":"p-1.0.0","state":"NOTDEPLOYED","timestamp":1736121600123}],"timestamp":1736121600123}`},
		{"working", event("noon-run", dm.Starting, ""),
			`{"data":[{"id":"noon-run","state":"STARTING","timestamp":1736121600123}],"timestamp":1736121600123}`},
		{"working with stale text", event("noon-run", dm.Creating, "Error creating …"),
			`{"data":[{"id":"noon-run","state":"CREATING","timestamp":1736121600123}],"timestamp":1736121600123}`},
		{"outcome with text", event("noon-run", dm.NotCreated, `Error creating noon-run Invalid, details: "<x> & y"`),
			`{"data":[{"id":"noon-run","state":"NOTCREATED","timestamp":1736121600123,"information":"Error creating noon-run Invalid, details: \"<x> & y\""}],"timestamp":1736121600123}`},
		{"package", dm.Event{Kind: dm.PackageEvent, ID: "flow-collector-2.14.3", State: dm.Created, Stamp: dm.Stamp{Time: noon}},
			`{"data":[{"id":"flow-collector-2.14.3","state":"CREATED","timestamp":1736121600123}],"timestamp":1736121600123}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := newInbox(t, nil)
			calls, stop := working(t, CallbacksConfig{PackageURL: in.URL + "/packages", ApplicationURL: in.URL + "/applications", Timeout: time.Minute})
			calls.emit(c.e)
			in.wait(t, 1+strings.Count(c.want, "\n"))
			stop()
			if got := strings.Join(in.taken(), "\n"); got != c.want {
				t.Errorf("body = %s\nwant   %s", got, c.want)
			}
			if want := "POST /" + c.e.Kind + "s application/json"; in.types[0] != want {
				t.Errorf("request = %q, want %q", in.types[0], want)
			}
		})
	}
}

func TestCallbacksKeepTheOrderOfEachID(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	in := newInbox(t, func(string) int {
		if n.Add(1)%3 == 0 { // each third attempt fails: retries must not overtake
			return http.StatusServiceUnavailable
		}
		return http.StatusOK
	})
	c, stop := working(t, CallbacksConfig{ApplicationURL: in.URL, Pause: time.Millisecond, Timeout: time.Minute})
	const ids, each = 8, 15
	var emitters sync.WaitGroup
	for id := range ids {
		emitters.Go(func() {
			for i := range each {
				c.emit(event(fmt.Sprintf("app-%d", id), dm.Created, fmt.Sprintf("text %02d.", i)))
			}
		})
	}
	emitters.Wait()
	waitFor(t, func() bool { return len(in.taken()) >= ids*each })
	stop()
	got := in.taken()
	if len(got) != ids*each {
		t.Fatalf("%d delivered, want %d", len(got), ids*each)
	}
	for id := range ids {
		next := 0
		for _, body := range got {
			if !strings.Contains(body, fmt.Sprintf(`"app-%d"`, id)) {
				continue
			}
			if want := fmt.Sprintf("text %02d.", next); !strings.Contains(body, want) {
				t.Fatalf("app-%d: got %s, want %q next", id, body, want)
			}
			next++
		}
	}
}

func TestSlowReceiverDelaysOnlyItsID(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	in := newInbox(t, func(body string) int {
		if strings.Contains(body, `"slow"`) {
			<-release
		}
		return http.StatusOK
	})
	c, stop := working(t, CallbacksConfig{ApplicationURL: in.URL, Timeout: time.Minute})
	for range 3 {
		c.emit(event("slow", dm.Created, ""))
	}
	for i := range 20 {
		c.emit(event(fmt.Sprintf("quick-%d", i), dm.Created, ""))
	}
	in.wait(t, 20)
	if got := in.taken(); slices.ContainsFunc(got, func(b string) bool { return strings.Contains(b, "slow") }) {
		t.Error("the slow id was answered before its release")
	}
	close(release)
	in.wait(t, 3)
	stop()
}

func TestReceiverThatHangsIsTimedOut(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	release := make(chan struct{})
	in := newInbox(t, func(body string) int {
		if strings.Contains(body, `"stuck"`) {
			<-release
		}
		return http.StatusOK
	})
	c, _ := working(t, CallbacksConfig{ApplicationURL: in.URL, Timeout: 20 * time.Millisecond, Pause: time.Millisecond, Registerer: registry})
	c.emit(event("stuck", dm.Created, ""))
	waitFor(t, func() bool { return measured(t, registry, "dm_callbacks_total{application,failed}") >= 2 })
	close(release)
	waitFor(t, func() bool { return measured(t, registry, "dm_callbacks_total{application,delivered}") == 1 })
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatal("it did not happen in 20 s")
		}
	}
}

func TestReceiverDownDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	// Nobody gets this port unless asked for it; one that was closed before may
	// belong to another test's server by now.
	const address = "http://127.0.0.1:1"
	registry := prometheus.NewRegistry()
	var log bytes.Buffer
	in := newInbox(t, nil)
	c, stop := working(t, CallbacksConfig{
		PackageURL: address + "/?token=hush", ApplicationURL: in.URL, Pause: time.Millisecond, Timeout: time.Minute, Registerer: registry,
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for i := range 50 {
		c.emit(dm.Event{Kind: dm.PackageEvent, ID: fmt.Sprintf("p-1.0.%d", i), State: dm.Deployed, Stamp: dm.Stamp{Time: noon}})
	}
	c.emit(event("noon", dm.Created, ""))
	in.wait(t, 1)
	waitFor(t, func() bool {
		return measured(t, registry, "dm_callbacks_total{package,failed}") >= 50 && measured(t, registry, "dm_callbacks_total{application,delivered}") == 1
	})
	stop()
	for metric, want := range map[string]float64{
		"dm_events_total{package}": 50, "dm_events_total{application}": 1, "dm_callbacks_total{package,lost}": 0,
	} {
		if got := measured(t, registry, metric); got != want {
			t.Errorf("%s = %v, want %v", metric, got, want)
		}
	}
	if !strings.Contains(log.String(), "callback failed") || strings.Contains(log.String(), "hush") {
		t.Errorf("the log must tell of the failures and not the address:\n%.300s", log.String())
	}
}

// TestRestartLosesNone: what a receiver has not taken when the server ends, it is
// told by the next one, in order, and what it has taken it is not told again.
func TestRestartLosesNone(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	in := newInbox(t, func(string) int {
		if down.Load() {
			return http.StatusBadGateway
		}
		return http.StatusOK
	})
	cfg := CallbacksConfig{ApplicationURL: in.URL, PackageURL: in.URL, Pause: time.Millisecond, Timeout: time.Minute}
	before := newFakeStream()
	before.emit(event("long ago", dm.Created, ""))
	cfg.Events, cfg.Cursors = before, before
	c, stop := working(t, cfg)
	for i := range 5 {
		c.emit(event("noon", dm.Created, fmt.Sprint("text ", i, ".")))
	}
	waitFor(t, func() bool { return len(in.taken()) == 5 })
	down.Store(true)
	for i := range 20 {
		c.emit(event("noon", dm.Created, fmt.Sprint("text ", 5+i, ".")))
	}
	c.pass(dm.Event{Kind: dm.PackageEvent, ID: "no id", State: dm.NotDeployed, Stamp: dm.Stamp{Verb: dm.Deploy, Time: noon}}) // goes with the process
	in.wait(t, 6)
	stop()
	c.emit(event("noon", dm.Created, "text 25.")) // while nobody is there
	down.Store(false)
	registry := prometheus.NewRegistry()
	cfg.Registerer = registry
	_, stop = working(t, cfg)
	waitFor(t, func() bool { return measured(t, registry, "dm_callbacks_total{application,delivered}") == 21 })
	stop()
	var got []string
	for _, body := range in.taken() {
		if strings.Contains(body, `"noon"`) {
			got = append(got, body)
		}
	}
	for i, body := range got {
		if len(got) != 26 || !strings.Contains(body, fmt.Sprint("text ", i, ".")) {
			t.Fatalf("%d of %d is %s", i, len(got), body)
		}
	}
	for name, seq := range c.cursors {
		if seq != 27 && seq != 28 { // the newest is of no record for one that is not told it again
			t.Errorf("the cursor of %s is at %d of %d", name, seq, c.Newest())
		}
	}
}

// TestCorrectionsAreNotTold: of a change PNDA's receivers are told one outcome.
func TestCorrectionsAreNotTold(t *testing.T) {
	t.Parallel()
	in := newInbox(t, nil)
	c, stop := working(t, CallbacksConfig{ApplicationURL: in.URL, Timeout: time.Minute})
	again := event("noon", dm.NotCreated, "")
	again.Again = true
	c.emit(again)
	c.emit(event("noon", dm.Created, ""))
	in.wait(t, 1)
	stop()
	if got := in.taken(); len(got) != 1 || !strings.Contains(got[0], `"CREATED"`) {
		t.Errorf("told %q", got)
	}
}

func TestWhatIsTriedAgain(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int64{
		http.StatusOK: 1, http.StatusNoContent: 1, http.StatusFound: 1, http.StatusBadRequest: 1, http.StatusNotFound: 1,
		http.StatusTooManyRequests: 6, http.StatusRequestTimeout: 6, http.StatusInternalServerError: 6, http.StatusBadGateway: 6,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			in := newInbox(t, func(string) int {
				if n.Add(1) == 6 {
					return http.StatusOK
				}
				return status
			})
			c, stop := working(t, CallbacksConfig{ApplicationURL: in.URL, Pause: time.Millisecond, Timeout: time.Minute})
			c.emit(event("noon", dm.Created, ""))
			in.wait(t, int(want))
			waitFor(t, func() bool { return c.receivers[0].reached()+c.receivers[1].reached() > 0 }) // one has no address
			stop()
			if got := n.Load(); got != want {
				t.Errorf("%d attempts, want %d", got, want)
			}
		})
	}
}

// TestReadingWaitsForTheReceiver: what a receiver has not taken stays in the
// stream, in events and in bytes, and comes when it takes again.
func TestReadingWaitsForTheReceiver(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"many": "", "long": strings.Repeat("x", maxQueuedBytes/2)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			in := newInbox(t, func(string) int { <-release; return http.StatusOK })
			c, stop := working(t, CallbacksConfig{ApplicationURL: in.URL, Queue: 3, Timeout: time.Minute})
			for i := range 10 {
				c.emit(event("noon", dm.Created, fmt.Sprintf("text %d.", i)+text))
			}
			var r *receiver
			for _, one := range c.receivers {
				if one.address != "" {
					r = one
				}
			}
			held := func() (int, int) {
				r.mu.Lock()
				defer r.mu.Unlock()
				return len(r.queue), r.bytes
			}
			waitFor(t, func() bool { n, bytes := held(); return n == 3 || bytes > maxQueuedBytes/2 })
			if n, bytes := held(); n > 3 || bytes > maxQueuedBytes {
				t.Errorf("%d events with %d bytes are held", n, bytes)
			}
			close(release)
			in.wait(t, 10)
			stop()
			for i, body := range in.taken() {
				if !strings.Contains(body, fmt.Sprintf("text %d.", i)) {
					t.Fatalf("%d is %.200s", i, body)
				}
			}
		})
	}
}

func TestStopEndsWithinItsGrace(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	in := newInbox(t, func(string) int { <-release; return http.StatusOK })
	defer close(release)
	c, stop := working(t, CallbacksConfig{ApplicationURL: in.URL, Timeout: time.Minute})
	for i := range 100 {
		c.emit(event(fmt.Sprint("app-", i%10), dm.Created, ""))
	}
	started := time.Now()
	stop()
	if took := time.Since(started); took > grace+20*time.Second { // far below the minute that an answer may take
		t.Errorf("the stop took %s, want about %s", took, grace)
	}
}

func TestWithoutAddressNothingIsSent(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	c, stop := working(t, CallbacksConfig{Registerer: registry})
	c.emit(event("noon", dm.Created, ""))
	c.emit(dm.Event{Kind: "weather", ID: "noon"})
	waitFor(t, func() bool { return measured(t, registry, "dm_events_total{application}") == 1 })
	stop()
	if got := measured(t, registry, "dm_events_total{application}"); got != 1 {
		t.Errorf("%v events, want 1", got)
	}
}

func TestNewCallbacksChecks(t *testing.T) {
	t.Parallel()
	stream := newFakeStream()
	for _, address := range []string{"console:3001/packages", "/packages", "ftp://host/x", "http://", "http://a b/"} {
		if _, err := NewCallbacks(CallbacksConfig{Events: stream, Cursors: stream, PackageURL: address}); err == nil {
			t.Errorf("the address %q was accepted", address)
		}
	}
	if _, err := NewCallbacks(CallbacksConfig{Events: stream, Cursors: stream, Queue: -1}); err == nil {
		t.Error("a negative queue was accepted")
	}
	if _, err := NewCallbacks(CallbacksConfig{}); err == nil {
		t.Error("callbacks without a stream were accepted")
	}
	stream.cursors["package http://h/"] = 7 // of a record that was restored from a copy
	if _, err := NewCallbacks(CallbacksConfig{Events: stream, Cursors: stream, PackageURL: "http://h/"}); err != nil || stream.cursors["package http://h/"] != 0 {
		t.Errorf("a cursor beyond the newest is at %d, %v", stream.cursors["package http://h/"], err)
	}
}
