package apihandlers_test

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// Receivers: ana has fetched what is delivered, bob has come and fetched nothing yet.
func (f *fakeRecord) Receivers(dm.ApplicationName) (map[dm.UserName]dm.Fetch, error) {
	at := time.Date(2025, 1, 6, 10, 21, 0, 0, time.UTC)
	return map[dm.UserName]dm.Fetch{"ana": {Deployment: 1, Current: true, Time: at}, "bob": {}}, f.fail
}

// TestAudience: the owner sees who has come, others themselves.
func TestAudience(t *testing.T) {
	t.Parallel()
	const (
		head = `{"application":"noon-run","deployment":1,"audience":["user:ana"],"users":[`
		ana  = `{"user":"ana","deployment":1,"current":true,"time":"2025-01-06T10:21:00Z"}`
		bob  = `{"user":"bob","deployment":null,"current":false,"time":null}`
	)
	for _, c := range []struct {
		app, user string
		code      int
		want      string
	}{
		{"noon-run", "ana", 200, head + ana + "," + bob + "]}"},
		{"noon-run", "bob", 200, head + bob + "]}"},
		{"never", "ana", 404, "NOTCREATED"},
		{"broken", "ana", 503, "damaged"},
	} {
		h := newHarness(t, options{})
		w := h.do(t, "manager", request{method: "GET", path: "/api/v1/applications/" + c.app + "/audience?user.name=" + c.user})
		if got := strings.TrimSpace(w.Body.String()); w.Code != c.code || !strings.Contains(got, c.want) {
			t.Errorf("%s for %s: %d %s, want %d %s", c.app, c.user, w.Code, got, c.code, c.want)
		}
	}
}

// TestFetchIsTold in a stream, to who may change the application and to the one who
// fetched. Its number may be given again after a start, so nobody goes on behind it, and
// a poll, which must say what it had, has none.
func TestFetchIsTold(t *testing.T) {
	t.Parallel()
	for c, want := range map[[2]string]bool{{"ana", "bob"}: true, {"bob", "bob"}: true, {"bob", "ana"}: false} {
		h := newHarness(t, options{})
		server := httptest.NewServer(h.manager)
		defer server.Close()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/v1/events?after=5&user.name="+c[0], nil)
		must(t, err)
		r.Header.Set("Accept", "text/event-stream")
		answer, err := http.DefaultClient.Do(r)
		must(t, err)
		defer answer.Body.Close()
		fetch := dm.Event{
			Kind: dm.ApplicationEvent, ID: "noon-run", State: dm.Started, Owner: "ana", Again: true, Information: "deployment 1",
			Stamp: dm.Stamp{Verb: dm.FetchVerb, User: dm.UserName(c[1]), Via: "git"},
		}
		h.record.tell(fetch)
		h.record.tell(dm.Event{Kind: dm.ApplicationEvent, ID: "noon-run", Ref: "refs/heads/main", Stamp: dm.Stamp{Verb: dm.Start, User: "ana"}})
		told, ids := "", ""
		for lines := bufio.NewScanner(answer.Body); !strings.Contains(told, `"action":"start"`) && lines.Scan(); {
			told += lines.Text() + "\n"
			if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				ids += id + " "
			}
		}
		if strings.Contains(told, `"action":"fetch"`) != want {
			t.Errorf("%s is told %s, want the fetch of %s: %t", c[0], told, c[1], want)
		}
		if want && !strings.HasPrefix(ids, "5 ") {
			t.Errorf("%s is told the ids %s, want that of the event before first", c[0], ids)
		}
		w := h.do(t, "manager", request{method: "GET", path: "/api/v1/events?after=5&wait=1&user.name=" + c[0]})
		if got := w.Body.String(); strings.Contains(got, `"action":"fetch"`) || !strings.Contains(got, `"action":"start"`) {
			t.Errorf("a poll of %s has %s, want the start alone", c[0], got)
		}
	}
}
