package apihandlers_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

func TestReasonInTheBody(t *testing.T) {
	t.Parallel()
	const change, back = "/api/v1/applications/noon-run?user.name=ana", "/api/v1/applications/noon-run/rollback?user.name=ana"
	cases := []struct {
		name, method, path, body string
		code                     int
		want                     string
	}{
		{"change, in the body", "PUT", change, `{"overrides":{},"reason":" why "}`, 202, "why"},
		{"change, in the query", "PUT", change + "&reason=why", `{"overrides":{}}`, 202, "why"},
		{"change, twice the same", "PUT", change + "&reason=why", `{"overrides":{},"reason":"why"}`, 202, "why"},
		{"change, empty in the body", "PUT", change + "&reason=why", `{"overrides":{},"reason":""}`, 202, "why"},
		{"change, two reasons", "PUT", change + "&reason=why", `{"overrides":{},"reason":"other"}`, 400, ""},
		{"change, not one line", "PUT", change, `{"overrides":{},"reason":"a\nb"}`, 400, ""},
		{"rollback, in the body", "POST", back, `{"to":2,"reason":"why"}`, 202, "why"},
		{"rollback, in the query", "POST", back + "&reason=why", `{"to":2}`, 202, "why"},
		{"rollback, null", "POST", back, `{"to":2,"reason":null}`, 400, ""},
		{"rollback, two reasons", "POST", back + "&reason=why", `{"to":2,"reason":"other"}`, 400, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, options{})
			w := h.do(t, "manager", request{method: c.method, path: c.path, body: c.body})
			if w.Code != c.code {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, c.code)
			}
			if got := h.record.actor.Reason; got != c.want {
				t.Errorf("the reason in the record: got %q, want %q", got, c.want)
			}
			if asked := h.record.changes() > 0; asked != (c.code == 202) {
				t.Errorf("the record was asked for a change: %v", asked)
			}
			if c.method == "POST" && c.code == 202 && h.record.to != 2 {
				t.Errorf("rolled back to %d, want 2", h.record.to)
			}
		})
	}
}

// TestHistoryIsAsked: what stands in the URL reaches the record.
func TestHistoryIsAsked(t *testing.T) {
	t.Parallel()
	const app, pkg = "/api/v1/applications/noon-run/", "/api/v1/packages/flow-collector/"
	cases := []struct {
		path, want string
		page       dm.Page
	}{
		{app + "history", "noon-run", dm.Page{}},
		{app + "history?limit=500", "noon-run", dm.Page{Limit: 500}},
		{app + "history?limit=1&before=" + string(secondRevision), "noon-run", dm.Page{Limit: 1, Before: secondRevision}},
		{pkg + "history?limit=7&before=" + string(firstRevision), "flow-collector", dm.Page{Limit: 7, Before: firstRevision}},
		{app + "diff", "noon-run 0 0", dm.Page{}},
		{app + "diff?to=2", "noon-run 0 2", dm.Page{}},
		{app + "diff?from=1&to=2&other=ignored", "noon-run 1 2", dm.Page{}},
		{pkg + "diff?from=2.9.11&to=2.14.3", "flow-collector 2.9.11 2.14.3", dm.Page{}},
		{"/api/v1/at?time=2025-01-06T13:00:00.25%2B01:00", "2025-01-06T12:00:00.25Z", dm.Page{}},
	}
	for _, c := range cases {
		t.Run(c.path, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, options{})
			if w := h.do(t, "manager", request{method: "GET", path: c.path}); w.Code != 200 {
				t.Fatalf("got %d: %s", w.Code, w.Body)
			}
			if h.record.asked != c.want || h.record.page != c.page {
				t.Errorf("got %q %+v, want %q %+v", h.record.asked, h.record.page, c.want, c.page)
			}
		})
	}
}

// TestHistoryNeedsARule: without a rule that allows it nobody is told anything,
// not even whether there is an application or a package.
func TestHistoryNeedsARule(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{rules: []dm.Rule{{Grant: dm.Grant{Owner: true}, Actions: []dm.Action{dm.ApplicationHistory, dm.ApplicationRead, dm.ApplicationContent}}}})
	for path, codes := range map[string][2]int{ // of ana, who owns it, and of bob
		"/api/v1/applications/noon-run/history":                     {200, 403},
		"/api/v1/applications/noon-run/diff":                        {200, 403},
		"/api/v1/applications/noon-run/history?limit=bad":           {400, 403},
		"/api/v1/applications/never/history":                        {403, 403},
		"/api/v1/applications/never/diff":                           {403, 403},
		"/api/v1/packages/flow-collector/history":                   {403, 403},
		"/api/v1/packages/flow-collector/diff?from=1.0.0&to=2.14.3": {403, 403},
		"/api/v1/packages/never/diff?from=bad":                      {403, 403},
	} {
		for i, user := range []string{"ana", "bob"} {
			separator := "?"
			if strings.Contains(path, "?") {
				separator = "&"
			}
			if w := h.do(t, "manager", request{method: "GET", path: path + separator + "user.name=" + user}); w.Code != codes[i] {
				t.Errorf("%s as %s: got %d, want %d: %s", path, user, w.Code, codes[i], w.Body)
			}
		}
	}
	for user, want := range map[string]string{"ana": `"noon-run"`, "bob": `"bobs"`, "root": ``} {
		w := h.do(t, "manager", request{method: "GET", path: "/api/v1/at?time=2025-01-06T12:00:00Z&user.name=" + user})
		body := w.Body.String()
		for _, name := range []string{`"noon-run"`, `"bobs"`} {
			if shown := strings.Contains(body, name); w.Code != 200 || shown != (name == want) {
				t.Errorf("at as %s: got %d, %s shown: %v: %s", user, w.Code, name, shown, body)
			}
		}
	}
}

func TestDiffFormat(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	const text, object = "text/plain; charset=utf-8", "application/json"
	cases := []struct{ name, query, accept, want string }{
		{"nothing asked", "", "", object},
		{"curl", "", "*/*", object},
		{"browser", "", "text/html,application/xhtml+xml,*/*;q=0.8", object},
		{"text", "", "text/plain", text},
		{"text in capitals with a parameter", "", "Text/Plain; charset=utf-8", text},
		{"rather text", "", "application/json;q=0.5, text/plain", text},
		{"rather JSON", "", "application/json, text/plain;q=0.9", object},
		{"both alike", "", "text/plain, application/json", object},
		{"no text", "", "text/plain;q=0", object},
		{"nonsense", "", ";;,/", object},
		{"the query wins for JSON", "?format=json", "text/plain", object},
		{"the query wins for text", "?format=text", "application/json", text},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			q := request{method: "GET", path: "/api/v1/applications/noon-run/diff" + c.query, header: http.Header{}}
			if c.accept != "" {
				q.header.Set("Accept", c.accept)
			}
			w := h.do(t, "manager", q)
			if got := w.Header().Get("Content-Type"); w.Code != 200 || got != c.want {
				t.Errorf("got %d %q, want 200 %q", w.Code, got, c.want)
			}
			if got := w.Header().Get("X-Content-Type-Options"); got != "nosniff" {
				t.Errorf("X-Content-Type-Options: got %q, want nosniff", got)
			}
		})
	}
}

// TestBrokenPatchIsCut: half a patch must not look whole.
func TestBrokenPatchIsCut(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	server := httptest.NewServer(h.manager)
	defer server.Close()
	response, err := http.Get(server.URL + "/api/v1/applications/long/diff?format=text")
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil || response.StatusCode != 200 || len(body) == 0 {
		t.Errorf("got %d with %d bytes, error %v; want a 200 that breaks off", response.StatusCode, len(body), err)
	}
	server.Close()
	if log := h.log.String(); !strings.Contains(log, "planted read error") || !strings.Contains(log, `"level":"ERROR"`) {
		t.Errorf("the log does not tell why: %s", log)
	}
}
