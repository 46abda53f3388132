package apihandlers_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// openGate lets everybody in as nobody.
type openGate struct{}

func (openGate) Authenticate(*http.Request, apihandlers.Access) (apihandlers.Caller, error) {
	return openGate{}, nil
}

func (openGate) Actor() (dm.Actor, error) { return dm.Actor{}, nil }

// portWith serves one GET route, /x, and returns what was logged.
func portWith(t *testing.T, handle func(http.ResponseWriter, *http.Request) error, change func(*apihandlers.Config)) (http.Handler, *lockedBuffer, *prometheus.Registry) {
	t.Helper()
	log, reg := &lockedBuffer{}, prometheus.NewRegistry()
	metrics, err := apihandlers.NewMetrics(reg)
	must(t, err)
	cfg := apihandlers.Config{
		Server: "test", Errors: apihandlers.ManagerBody, Metrics: metrics, Scrape: promhttp.HandlerFor(reg, promhttp.HandlerOpts{}),
		Log: slog.New(slog.NewJSONHandler(log, nil)),
		Tables: []apihandlers.Table{{Gate: openGate{}, Routes: []apihandlers.Route{
			{Name: "x", Method: "GET", Path: "/x", Access: apihandlers.Reading, Success: 200, Handle: handle},
		}}},
	}
	if change != nil {
		change(&cfg)
	}
	h, err := apihandlers.New(cfg)
	must(t, err)
	return h, log, reg
}

func get(h http.Handler, path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	var inContext string
	h, log, _ := portWith(t, func(_ http.ResponseWriter, r *http.Request) error {
		inContext = dm.RequestID(r.Context())
		return nil
	}, nil)
	made := regexp.MustCompile(`^[0-9a-f]{24}$`)
	for _, offered := range []string{"", "abc.DEF_1-2", strings.Repeat("a", 64), strings.Repeat("a", 65), "a b", "a\"b", "é"} {
		got := get(h, "/x", http.Header{"X-Request-Id": {offered}}).Header().Get("X-Request-Id")
		kept := regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`).MatchString(offered)
		if kept && got != offered || !kept && !made.MatchString(got) {
			t.Errorf("offered %q: got %q", offered, got)
		}
		if inContext != got {
			t.Errorf("offered %q: the context has %q, the answer %q", offered, inContext, got)
		}
		if !strings.Contains(log.String(), `"request_id":"`+got+`"`) {
			t.Errorf("offered %q: the log has no line with %q", offered, got)
		}
	}
}

// TestErrorTable holds the kinds, both bodies and the headers.
func TestErrorTable(t *testing.T) {
	t.Parallel()
	cases := []struct {
		kind        dm.Kind
		phase       dm.Phase
		status      int
		repository  string
		manager     string
		header, val string
	}{
		{dm.Invalid, "", 400, "BADREQUEST", `{"information":"why"}`, "", ""},
		{dm.Unauthenticated, "", 401, "UNAUTHORIZED", `{"information":"why"}`, "WWW-Authenticate", `Basic realm="deployment-manager", charset="UTF-8"`},
		{dm.Forbidden, "", 403, "FORBIDDEN", `{"information":"why"}`, "", ""},
		{dm.NotFound, dm.NotCreated, 404, "NOTFOUND", `{"status":"NOTCREATED","information":"why"}`, "", ""},
		{dm.NotFound, "", 404, "NOTFOUND", `{"information":"why"}`, "", ""},
		{dm.Conflict, dm.Starting, 409, "CONFLICT", `{"status":"STARTING","information":"why"}`, "", ""},
		{dm.TooLarge, "", 413, "TOOLARGE", `{"information":"why"}`, "Connection", "close"},
		{dm.Stale, "", 503, "UNAVAILABLE", `{"information":"why"}`, "Retry-After", "5"},
		{dm.Unavailable, "", 503, "UNAVAILABLE", `{"information":"why"}`, "Retry-After", "5"},
		{dm.Internal, "", 500, "ERROR", `{"status":"UNKNOWN","information":"why"}`, "", ""},
		{"a kind of the future", "", 500, "ERROR", `{"status":"UNKNOWN","information":"why"}`, "", ""},
	}
	for _, c := range cases {
		t.Run(string(c.kind)+string(c.phase), func(t *testing.T) {
			t.Parallel()
			fail := func(http.ResponseWriter, *http.Request) error {
				return dm.Errorf(c.kind, "op", "why").In(c.phase).Because(errors.New("cause in /a/path"))
			}
			h, log, _ := portWith(t, fail, nil)
			w := get(h, "/x", nil)
			if w.Code != c.status || w.Body.String() != c.manager || w.Header().Get(c.header) != c.val {
				t.Errorf("manager: got %d %s %v, want %d %s", w.Code, w.Body, w.Header(), c.status, c.manager)
			}
			if told := strings.Contains(log.String(), "cause in /a/path"); told != (c.status >= 500) {
				t.Errorf("the cause is in the log: %v", told)
			}
			h, _, _ = portWith(t, fail, func(cfg *apihandlers.Config) { cfg.Errors = apihandlers.RepositoryBody })
			w = get(h, "/x", nil)
			if want := `{"status":"` + c.repository + `","information":"why"}`; w.Body.String() != want {
				t.Errorf("repository: got %s, want %s", w.Body, want)
			}
		})
	}
}

func TestPanicIs500(t *testing.T) {
	t.Parallel()
	h, log, _ := portWith(t, func(http.ResponseWriter, *http.Request) error { panic("planted") }, nil)
	w := get(h, "/x", nil)
	if w.Code != 500 || w.Body.String() != `{"status":"UNKNOWN","information":"internal error"}` {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "panic: planted") || !strings.Contains(log.String(), "observe_test.go") {
		t.Errorf("the log lacks panic or stack: %s", log)
	}
}

// TestBrokenAnswerIsCut: an answer that fails half-way must not look whole.
func TestBrokenAnswerIsCut(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func() error{
		"error": func() error { return errors.New("disk gone") },
		"panic": func() error { panic("disk gone") },
		"abort": func() error { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, log, _ := portWith(t, func(w http.ResponseWriter, _ *http.Request) error {
				_, _ = io.WriteString(w, "half")
				_ = http.NewResponseController(w).Flush()
				return end()
			}, nil)
			s := serve(t, h)
			answer, err := s.Client().Get(s.URL + "/x")
			if err == nil {
				defer answer.Body.Close()
				_, err = io.ReadAll(answer.Body)
			}
			if err == nil {
				t.Error("the answer looks whole")
			}
			if name != "abort" && !strings.Contains(log.String(), "disk gone") {
				t.Errorf("the log lacks the cause: %s", log)
			}
			if page := get(h, "/metrics", nil).Body.String(); !strings.Contains(page, `dm_http_requests_total{code="aborted",route="x",server="test"} 1`) {
				t.Errorf("the answer is not counted as broken off:\n%s", page)
			}
		})
	}
}

func TestMetricsMove(t *testing.T) {
	t.Parallel()
	h, _, _ := portWith(t, func(http.ResponseWriter, *http.Request) error { return nil }, nil)
	get(h, "/x", nil)
	get(h, "/nowhere", nil)
	get(h, "/nowhere/else", nil)
	page := get(h, "/metrics", nil).Body.String()
	for _, want := range []string{
		`dm_http_requests_total{code="200",route="x",server="test"} 1`,
		`dm_http_requests_total{code="404",route="other",server="test"} 2`,
		`dm_http_request_duration_seconds_count{route="x",server="test"} 1`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no %s in\n%s", want, page)
		}
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	var ready error
	nothing := func(http.ResponseWriter, *http.Request) error { return nil }
	h, log, _ := portWith(t, nothing, func(cfg *apihandlers.Config) {
		cfg.Ready = func(context.Context) error { return ready }
	})
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/metrics": 200, "/livez/": 404} {
		if w := get(h, path, nil); w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
	if strings.Contains(log.String(), "livez") {
		t.Errorf("successful probes fill the log: %s", log)
	}
	ready = errors.New("still recovering /a/path")
	w := get(h, "/readyz", nil)
	if w.Code != 503 || strings.Contains(w.Body.String(), "/a/path") {
		t.Errorf("not ready: got %d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), "still recovering") {
		t.Errorf("the log does not say why: %s", log)
	}
	ready = dm.Errorf(dm.Unavailable, "look", "the disk of the data folder is full").Because(errors.New("write /a/path: no space"))
	if w := get(h, "/readyz", nil); w.Code != 503 || !strings.Contains(w.Body.String(), "the server is not ready: the disk of the data folder is full") || strings.Contains(w.Body.String(), "/a/path") {
		t.Errorf("full disk: got %d %s", w.Code, w.Body)
	}
}

// TestOpenRoute: a route may ask for its caller by itself, as git's do, inside the
// same middleware; its path comes as it was sent.
func TestOpenRoute(t *testing.T) {
	t.Parallel()
	h, log, _ := portWith(t, succeed, func(cfg *apihandlers.Config) {
		cfg.Tables = append(cfg.Tables, apihandlers.Table{Routes: []apihandlers.Route{every(http.MethodGet, func(w http.ResponseWriter, r *http.Request) error {
			apihandlers.SetUser(r.Context(), "ana")
			_, err := io.WriteString(w, "/"+apihandlers.RawVar(r, "path"))
			return err
		})}})
	})
	if w := get(h, "/jupyter-a%2Fb/../info/refs", nil); w.Body.String() != "/jupyter-a%2Fb/../info/refs" {
		t.Errorf("got %s", w.Body)
	}
	for _, want := range []string{`"route":"every"`, `"user":"ana"`, `"bytes":27`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in %s", want, log)
		}
	}
}

func succeed(http.ResponseWriter, *http.Request) error { return nil }

// TestRecorderKeepsReaderFrom: without it a download copies through memory.
func TestRecorderKeepsReaderFrom(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	must(t, os.WriteFile(path, []byte("content"), 0o600))
	took := make(chan bool, 1)
	h, log, _ := portWith(t, func(w http.ResponseWriter, r *http.Request) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, is := w.(io.ReaderFrom)
		took <- is
		_, err = io.Copy(w, f)
		return err
	}, nil)
	s := serve(t, h)
	answer, err := s.Client().Get(s.URL + "/x")
	must(t, err)
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	must(t, err)
	if !<-took || string(got) != "content" {
		t.Errorf("got %q", got)
	}
	waitForLine(t, log, `"bytes":7`)
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := apihandlers.New(apihandlers.Config{}); err == nil {
		t.Error("an empty configuration is accepted")
	}
	metrics, err := apihandlers.NewMetrics(prometheus.NewRegistry())
	must(t, err)
	_, err = apihandlers.New(apihandlers.Config{Server: "x", Errors: apihandlers.ManagerBody, Metrics: metrics,
		Tables: []apihandlers.Table{{Routes: []apihandlers.Route{{Name: "x", Method: "GET", Path: "/x"}}}}})
	if err == nil {
		t.Error("a route without handler and gate is accepted")
	}
	registry := prometheus.NewRegistry()
	if _, err := apihandlers.NewMetrics(registry); err != nil {
		t.Error(err)
	}
	if _, err := apihandlers.NewMetrics(registry); err == nil {
		t.Error("the same metrics were registered twice without an error")
	}
}
