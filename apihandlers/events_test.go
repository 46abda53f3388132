package apihandlers_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// events are what fakeRecord tells: noon-run is ana's, and was bob's before; the
// fourth number was given up, and of the last there is no record.
func events() []dm.Event {
	stamp := func(verb dm.Verb, user dm.UserName, seq uint64) dm.Stamp {
		return dm.Stamp{Verb: verb, User: user, Auth: "none", Via: "manager", RequestID: "req", Time: longAgo.Add(time.Duration(seq) * time.Second), Seq: seq}
	}
	app := dm.Event{Kind: dm.ApplicationEvent, ID: "noon-run", Ref: "refs/heads/main"}
	before, begun, ended := app, app, app
	before.Stamp, before.Owner, before.State, before.New = stamp(dm.Create, "bob", 1), "bob", dm.Creating, firstRevision
	begun.Stamp, begun.Owner, begun.State, begun.Old, begun.New = stamp(dm.Start, "ana", 3), "ana", dm.Starting, firstRevision, secondRevision
	begun.Reason, begun.Impersonator = "the <topic> is there", "console"
	ended.Stamp, ended.Owner, ended.State, ended.Old, ended.New = stamp(dm.Start, "ana", 5), "ana", dm.Created, firstRevision, pushedRevision
	ended.Ref, ended.Information, ended.Again, ended.Reason = "refs/observed/head", "no such topic", true, "why"
	return []dm.Event{
		before,
		{Kind: dm.PackageEvent, ID: "flow-collector-2.14.3", State: dm.NotCreated, Stamp: stamp(dm.Withdraw, "ana", 2), Ref: "refs/tags/2.14.3", Old: firstRevision},
		begun, ended,
		{Kind: dm.PackageEvent, ID: "no id", State: dm.NotDeployed, Stamp: stamp(dm.Deploy, "bob", 6)},
	}
}

func (f *fakeRecord) Events(ctx context.Context, after uint64, most int) ([]dm.Event, error) {
	for {
		f.mu.Lock()
		var list []dm.Event
		for _, e := range append(events(), f.told...) {
			if e.Seq > after && len(list) < most {
				list = append(list, e)
			}
		}
		if f.more == nil {
			f.more = make(chan struct{})
		}
		more := f.more
		f.mu.Unlock()
		if len(list) > 0 {
			return list, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-more:
		}
	}
}

// tell lets another event happen.
func (f *fakeRecord) tell(e dm.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.Seq, e.Time = uint64(7+len(f.told)), longAgo
	if e.Verb != dm.FetchVerb {
		e.Ref = "refs/heads/main"
	}
	f.told = append(f.told, e)
	if f.more != nil {
		close(f.more)
		f.more = nil
	}
}

func (f *fakeRecord) Newest() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.told); n > 0 {
		return f.told[n-1].Seq
	}
	return 5
}

func (f *fakeRecord) Concerns(e dm.Event) dm.Resource { return dm.Resource{Name: e.ID, Owner: "ana"} }

// TestEventsByReader: who may not read what an application delivers is told names
// and states, and nothing else; and so is its owner, of what was another's.
func TestEventsByReader(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{mode: dm.Strict})
	for user, want := range map[string][]bool{ // whether each line of noon-run has its details
		"ana": {false, true, true}, "bob": {false, false, false}, "root": {true, true, true},
	} {
		w := h.do(t, "manager", request{method: "GET", path: "/api/v1/events?after=0", user: user})
		lines := strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n")
		if w.Code != 200 || len(lines) != 4 || w.Header().Get("DM-Next-After") != "5" {
			t.Fatalf("%s: got %d %v %s", user, w.Code, w.Header(), w.Body)
		}
		for i, line := range []string{lines[0], lines[2], lines[3]} {
			for _, detail := range []string{`"user":`, `"old":`, `"new":`, `"reason":`, `"information":`, `"request_id":`} {
				if strings.Contains(line, detail) && !want[i] {
					t.Errorf("%s is told %s", user, line)
				}
			}
			if want[i] != strings.Contains(line, `"user":`) || !strings.Contains(line, `"state":`) {
				t.Errorf("%s is told %s", user, line)
			}
		}
		if !strings.Contains(lines[1], `"user":"ana"`) {
			t.Errorf("%s is told %s of a package", user, lines[1])
		}
	}
	if w := h.do(t, "manager", request{method: "GET", path: "/api/v1/events?after=0"}); w.Code != 401 {
		t.Errorf("nobody: got %d %s", w.Code, w.Body)
	}
}

// TestPollWaits: a poll is answered with the first event, or empty when its time
// is over.
func TestPollWaits(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	answered := make(chan *httptest.ResponseRecorder)
	go func() { answered <- h.do(t, "manager", request{method: "GET", path: "/api/v1/events?user.name=ana"}) }()
	for waiting := false; !waiting; time.Sleep(time.Millisecond) { // for Events to be asked
		h.record.mu.Lock()
		waiting = h.record.more != nil
		h.record.mu.Unlock()
	}
	h.record.tell(dm.Event{Kind: dm.ApplicationEvent, ID: "noon-run", State: dm.Starting, Owner: "ana"})
	if w := <-answered; w.Code != 200 || strings.Count(w.Body.String(), "\n") != 1 || !strings.Contains(w.Body.String(), `"seq":7,`) {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	w := h.do(t, "manager", request{method: "GET", path: "/api/v1/events?after=7&wait=1"})
	if w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("DM-Next-After") != "7" {
		t.Errorf("got %d %v %s, want an empty answer", w.Code, w.Header(), w.Body)
	}
}

// TestEventStream follows over a real connection until the server stops.
func TestEventStream(t *testing.T) {
	t.Parallel()
	ending := make(chan struct{})
	h := newHarness(t, options{ending: ending})
	server := httptest.NewServer(h.manager)
	defer server.Close()
	follow := func(last string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/events?user.name=ana", nil)
		must(t, err)
		r.Header.Set("Accept", "text/event-stream")
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
		answer, err := http.DefaultClient.Do(r)
		must(t, err)
		t.Cleanup(func() { answer.Body.Close() })
		return answer
	}
	answer := follow("3")
	if got := answer.Header.Get("Content-Type"); answer.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("got %d %s", answer.StatusCode, got)
	}
	lines := bufio.NewScanner(answer.Body)
	want := func(texts ...string) {
		t.Helper()
		for _, text := range texts {
			if !lines.Scan() || !strings.HasPrefix(lines.Text(), text) || text == "" && lines.Text() != "" {
				t.Fatalf("got %q, want %q", lines.Text(), text)
			}
		}
	}
	want(": ", "", "id: 5", "event: application", `data: {"seq":5,`, "")
	h.record.tell(dm.Event{Kind: dm.PackageEvent, ID: "flow-collector-2.14.3", State: dm.Created})
	want("id: 7", "event: package", `data: {"seq":7,`, "")

	for range 7 { // and one follows already
		follow("")
	}
	if answer := follow(""); answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("the ninth of one client: got %d", answer.StatusCode)
	}
	close(ending)
	for lines.Scan() { // a last heart beat, perhaps
	}
	must(t, lines.Err())
}
