package apihandlers_test

import (
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

// TestFetchIsTold to who may change the application, and to the one who fetched.
func TestFetchIsTold(t *testing.T) {
	t.Parallel()
	for c, want := range map[[2]string]bool{{"ana", "bob"}: true, {"bob", "bob"}: true, {"bob", "ana"}: false} {
		h := newHarness(t, options{})
		h.record.tell(dm.Event{
			Kind: dm.ApplicationEvent, ID: "noon-run", State: dm.Started, Owner: "ana", Again: true, Information: "deployment 1",
			Stamp: dm.Stamp{Verb: dm.FetchVerb, User: dm.UserName(c[1]), Via: "git", Seq: 1},
		})
		h.record.tell(dm.Event{Kind: dm.ApplicationEvent, ID: "noon-run", Ref: "refs/heads/main", Stamp: dm.Stamp{Verb: dm.Start, User: "ana", Seq: 2}})
		w := h.do(t, "manager", request{method: "GET", path: "/api/v1/events?after=0&wait=1&user.name=" + c[0]})
		if got := w.Body.String(); w.Code != 200 || strings.Contains(got, `"action":"fetch"`) != want || !strings.Contains(got, `"action":"start"`) {
			t.Errorf("%s is told %d %s, want the fetch of %s: %t", c[0], w.Code, got, c[1], want)
		}
	}
}
