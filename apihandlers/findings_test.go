package apihandlers_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestUploadTellsFindings: PNDA's answer stays, and headers say in ASCII why the
// version can't be deployed, whatever its names hold.
func TestUploadTellsFindings(t *testing.T) {
	t.Parallel()
	h := newHarness(t, options{})
	for _, findings := range []string{
		"jupyter/n: missing ipynb file",
		"one|two|three",
		`a "quoted" \ text`,
		"päck/表/🙂: x",
		"line\r\nX-Evil: 1|\x00\x7f\u2028\u202e",
		"<b>&amp;</b>",
	} {
		w := h.do(t, "packages", request{method: http.MethodPut, path: "/packages/flow-1.0.0.tar.gz?user.name=ana", body: "faulty " + findings})
		if w.Code != http.StatusOK || w.Body.Len() > 0 {
			t.Errorf("%q: %d %q, want PNDA's 200 without a body", findings, w.Code, w.Body)
		}
		header := w.Header().Get("DM-Findings")
		if strings.ContainsFunc(header, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("header %q is not ASCII", header)
		}
		var got []string
		if err := json.Unmarshal([]byte(header), &got); err != nil || !slices.Equal(got, strings.Split(findings, "|")) {
			t.Errorf("header %s says %q, %v, want %q", header, got, err, findings)
		}
		if notes := w.Header().Get("DM-Notes"); notes != `["odd"]` {
			t.Errorf("notes = %s", notes)
		}
	}
	w := h.do(t, "packages", request{method: http.MethodPut, path: "/packages/flow-1.0.0.tar.gz?user.name=ana", body: "fine"})
	if w.Code != http.StatusOK || w.Header().Values("DM-Findings") != nil || w.Header().Values("DM-Notes") != nil {
		t.Errorf("a version without findings: %d, %v, want no such header", w.Code, w.Header())
	}
}
