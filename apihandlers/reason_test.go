package apihandlers_test

import (
	"net/url"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// TestReasonOfEveryChange: whatever the door, the record is told why.
func TestReasonOfEveryChange(t *testing.T) {
	t.Parallel()
	const why = "Kunde wünscht 100 % mehr; siehe #7 & #8"
	asked := 0
	for key, route := range allRoutes(t) {
		if route.Access != apihandlers.Changing || route.Fallback {
			continue
		}
		asked++
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, options{})
			q := goldenCases[key][0]
			q.method = route.Method
			good := q.path
			server, _, _ := strings.Cut(key, "/")
			for name, c := range map[string]struct{ query, says string }{
				"twice":    {"&reason=a&reason=a", "duplicate query parameter reason"},
				"too long": {"&reason=" + strings.Repeat("x", dm.MaxReason+1), "the reason has 1001 bytes"},
				"lines":    {"&reason=a%0Ab", "one line"},
				"no text":  {"&reason=%ff", "not valid UTF-8"},
			} {
				q.path = good + c.query
				if w := h.do(t, server, q); w.Code != 400 || !strings.Contains(w.Body.String(), c.says) {
					t.Errorf("%s: got %d %s, want 400 and %q", name, w.Code, w.Body, c.says)
				}
			}
			if n := h.record.changes(); n != 0 {
				t.Fatalf("the record was asked for %d changes, want 0", n)
			}
			q.path = good + "&reason=" + url.QueryEscape(why)
			if w := h.do(t, server, q); w.Code != route.Success {
				t.Fatalf("got %d %s, want %d", w.Code, w.Body, route.Success)
			}
			if got := h.record.actor.Reason; got != why {
				t.Errorf("the reason in the record: got %q, want %q", got, why)
			}
			if strings.Contains(h.log.String(), "Kunde") {
				t.Error("the reason is in the log")
			}
		})
	}
	if asked < 8 {
		t.Errorf("got %d changing routes, want at least 8", asked)
	}
}

// TestReadsHaveNoReason: a parameter that a read does not know is passed over,
// as all others are.
func TestReadsHaveNoReason(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	if w := h.do(t, "manager", request{method: "GET", path: "/applications?reason=a&reason=b%0A"}); w.Code != 200 {
		t.Errorf("got %d, want 200: %s", w.Code, w.Body)
	}
}
