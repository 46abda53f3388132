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

// working makes callbacks and runs them; stop ends them and waits.
func working(t *testing.T, cfg CallbacksConfig) (c *Callbacks, stop func()) {
	t.Helper()
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
	return c, stop
}

var noon = time.UnixMilli(1736121600123)

func event(id string, state dm.Phase, information string) dm.Event {
	return dm.Event{Kind: dm.ApplicationEvent, ID: id, State: state, Information: information, Stamp: dm.Stamp{Time: noon}}
}

func TestCallbackBodies(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		e    dm.Event
		want string
	}{
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
			calls.Emit(c.e)
			in.wait(t, 1)
			stop()
			if got := in.taken(); len(got) != 1 || got[0] != c.want {
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
	c, stop := working(t, CallbacksConfig{ApplicationURL: in.URL, Pause: time.Millisecond, Attempts: 20, Timeout: time.Minute})
	const ids, each = 8, 15
	var emitters sync.WaitGroup
	for id := range ids {
		emitters.Go(func() {
			for i := range each {
				c.Emit(event(fmt.Sprintf("app-%d", id), dm.Created, fmt.Sprintf("text %02d.", i)))
			}
		})
	}
	emitters.Wait()
	// A stop gives what is queued two seconds, which a busy machine needs for less.
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
		c.Emit(event("slow", dm.Created, ""))
	}
	for i := range 20 {
		c.Emit(event(fmt.Sprintf("quick-%d", i), dm.Created, ""))
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
	defer close(release)
	c, _ := working(t, CallbacksConfig{ApplicationURL: in.URL, Timeout: 20 * time.Millisecond, Attempts: 2, Pause: time.Millisecond, Registerer: registry})
	c.Emit(event("stuck", dm.Created, ""))
	waitFor(t, func() bool { return measured(t, registry, "dm_callbacks_total{application,lost}") == 1 })
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

func TestReceiverDownLosesEventsButNotTime(t *testing.T) {
	t.Parallel()
	// Nobody gets this port unless asked for it; one that was closed before may
	// belong to another test's server by now.
	const address = "http://127.0.0.1:1"
	registry := prometheus.NewRegistry()
	var log bytes.Buffer
	in := newInbox(t, nil)
	c, stop := working(t, CallbacksConfig{
		PackageURL: address + "/?token=hush", ApplicationURL: in.URL, Attempts: 2, Pause: time.Millisecond, Timeout: time.Minute, Registerer: registry,
		Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for i := range 50 {
		c.Emit(dm.Event{Kind: dm.PackageEvent, ID: fmt.Sprintf("p-1.0.%d", i), State: dm.Deployed, Stamp: dm.Stamp{Time: noon}})
	}
	c.Emit(event("noon", dm.Created, ""))
	in.wait(t, 1)
	waitFor(t, func() bool {
		return measured(t, registry, "dm_callbacks_total{package,lost}") == 50 && measured(t, registry, "dm_callbacks_total{application,delivered}") == 1
	})
	stop()
	for metric, want := range map[string]float64{
		"dm_events_total{package}": 50, "dm_events_total{application}": 1, "dm_callbacks_total{application,delivered}": 1,
	} {
		if got := measured(t, registry, metric); got != want {
			t.Errorf("%s = %v, want %v", metric, got, want)
		}
	}
	if !strings.Contains(log.String(), "callback lost") || strings.Contains(log.String(), "hush") {
		t.Errorf("the log must tell of the loss and not the address:\n%.300s", log.String())
	}
}

func TestWhatIsTriedAgain(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]int64{
		http.StatusOK: 1, http.StatusNoContent: 1, http.StatusFound: 1, http.StatusBadRequest: 1, http.StatusNotFound: 1,
		http.StatusTooManyRequests: 3, http.StatusInternalServerError: 3, http.StatusBadGateway: 3,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			in := newInbox(t, func(string) int { n.Add(1); return status })
			c, stop := working(t, CallbacksConfig{ApplicationURL: in.URL, Pause: time.Millisecond, Timeout: time.Minute})
			c.Emit(event("noon", dm.Created, ""))
			in.wait(t, int(want))
			stop()
			if got := n.Load(); got != want {
				t.Errorf("%d attempts, want %d", got, want)
			}
		})
	}
}

func TestFullQueueDropsTheOldest(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	in := newInbox(t, nil)
	c, err := NewCallbacks(CallbacksConfig{ApplicationURL: in.URL, Queue: 3, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 { // nobody delivers yet, and Emit returns all the same
		c.Emit(event("noon", dm.Created, fmt.Sprintf("text %d.", i)))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // Run delivers what is queued also when it is told to stop at once
	if err := c.Run(ctx); err != nil {
		t.Fatal(err)
	}
	got := strings.Join(in.taken(), "\n")
	if len(in.taken()) != 3 || !strings.Contains(got, "text 7.") || !strings.Contains(got, "text 9.") {
		t.Errorf("delivered:\n%s\nwant texts 7 to 9", got)
	}
	if lost := measured(t, registry, "dm_callbacks_total{application,lost}"); lost != 7 {
		t.Errorf("%v lost, want 7", lost)
	}
}

// TestLongTextsDoNotFillTheQueue keeps a receiver that is down from costing
// memory without end, however long the explanations are.
func TestLongTextsDoNotFillTheQueue(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	in := newInbox(t, nil)
	c, err := NewCallbacks(CallbacksConfig{PackageURL: in.URL, ApplicationURL: in.URL, Registerer: registry})
	if err != nil {
		t.Fatal(err)
	}
	const most = maxQueuedBytes >> 20
	for range 2*most - 1 {
		c.Emit(event("noon", dm.Created, strings.Repeat("x", 1<<20-100)))
	}
	if lost := measured(t, registry, "dm_callbacks_total{application,lost}"); lost != most-1 {
		t.Errorf("%v lost, want %d", lost, most-1)
	}
	c.Emit(event("noon", dm.Created, strings.Repeat("x", 2*maxQueuedBytes)))
	c.Emit(event("noon", dm.Created, "short"))
	if r := c.receivers[dm.ApplicationEvent]; len(r.queue) != 1 || r.bytes > 100 {
		t.Errorf("%d events with %d bytes are kept, want the last one", len(r.queue), r.bytes)
	}
}

func TestStopEndsWithinItsGrace(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	in := newInbox(t, func(string) int { <-release; return http.StatusOK })
	defer close(release)
	c, stop := working(t, CallbacksConfig{ApplicationURL: in.URL, Timeout: time.Minute})
	for i := range 100 {
		c.Emit(event(fmt.Sprint("app-", i%10), dm.Created, ""))
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
	c.Emit(event("noon", dm.Created, ""))
	c.Emit(dm.Event{Kind: "weather", ID: "noon"})
	stop()
	if got := measured(t, registry, "dm_events_total{application}"); got != 1 {
		t.Errorf("%v events, want 1", got)
	}
}

func TestNewCallbacksChecks(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"console:3001/packages", "/packages", "ftp://host/x", "http://", "http://a b/"} {
		if _, err := NewCallbacks(CallbacksConfig{PackageURL: address}); err == nil {
			t.Errorf("the address %q was accepted", address)
		}
	}
	if _, err := NewCallbacks(CallbacksConfig{Queue: -1}); err == nil {
		t.Error("a negative queue was accepted")
	}
}
