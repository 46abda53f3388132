package auth

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// fakeHub answers GET /hub/api/user as JupyterHub does, and fails as a test
// wants it to. What a real JupyterHub answers is held by the tests that run one.
type fakeHub struct {
	*httptest.Server
	mu      sync.Mutex // guards what follows
	answers map[string]http.HandlerFunc
	broken  http.HandlerFunc // answers everything while it is set
	asked   []string         // the tokens, in order
}

// startFakeHub knows podToken as ana's; start is (*httptest.Server).Start or
// StartTLS.
func startFakeHub(t *testing.T, start func(*httptest.Server)) *fakeHub {
	t.Helper()
	hub := &fakeHub{answers: map[string]http.HandlerFunc{podToken: says(anaByHub)}}
	hub.Server = httptest.NewUnstartedServer(hub)
	hub.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	start(hub.Server)
	t.Cleanup(hub.Close)
	return hub
}

func (f *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "token ")
	if !ok || r.Method != http.MethodGet || r.URL.String() != "/hub/api/user" {
		http.Error(w, "not as the Hub is asked", http.StatusTeapot)
		return
	}
	f.mu.Lock()
	f.asked = append(f.asked, token)
	answer := f.answers[token]
	if f.broken != nil {
		answer = f.broken
	}
	f.mu.Unlock()
	if answer == nil {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"status": 403, "message": "Missing or invalid credentials."}`)
		return
	}
	answer(w, r)
}

func (f *fakeHub) set(token string, answer http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answers[token] = answer
}

func (f *fakeHub) fail(with http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = with
}

func (f *fakeHub) questions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.asked)
}

// heard tells whether the token was ever asked about.
func (f *fakeHub) heard(token string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Contains(f.asked, token)
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

// Tokens in the forms of the Hub, and what it says of ana's.
const (
	podToken   = "0123456789ab4def8123456789abcdef"
	otherToken = "fedcba9876544def9123456789abcdef"
	oauthToken = "AbCdEfGhIjKlMnOpQrStUvWxYz0123"
	anaByHub   = `{"kind": "user", "name": "ana", "admin": false, "groups": ["admin"], "token_id": "a12", "session_id": null,
		"scopes": ["access:servers!server=ana/", "access:services!service=deployment-manager", "users:activity!user=ana"]}`
)

// askedHub is a Hub that asks a fakeHub by a clock that the test moves.
type askedHub struct {
	*Hub
	fake     *fakeHub
	clock    *clock
	log      *bytes.Buffer
	registry *prometheus.Registry
}

func askHub(t *testing.T) askedHub {
	t.Helper()
	h := askedHub{
		fake:  startFakeHub(t, (*httptest.Server).Start),
		clock: &clock{now: time.Unix(1_000_000, 0)}, log: &bytes.Buffer{}, registry: prometheus.NewRegistry(),
	}
	var err error
	h.Hub, err = OpenHub(HubConfig{
		URL: h.fake.URL + "/hub/api", Service: "deployment-manager", Clock: h.clock.Now, Patience: time.Minute,
		Registerer: h.registry, Log: slog.New(slog.NewTextHandler(h.log, nil)),
	})
	must(t, err)
	return h
}

// as tries a token as the Basic password of a user, or as Bearer for "".
func (h *askedHub) as(ctx context.Context, user, token string) (dm.Identity, error) {
	c := dm.Credential{Scheme: "basic", User: user, Secret: token, Source: "192.0.2.7"}
	if user == "" {
		c.Scheme = "bearer"
	}
	id, knows, err := h.Authenticate(ctx, c)
	if !knows {
		err = fmt.Errorf("passed over: %v", err)
	}
	return id, err
}

// counted returns the counters by their answer; "" is the answers from memory.
func (h *askedHub) counted(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := h.registry.Gather()
	must(t, err)
	values := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			answer := ""
			for _, label := range metric.GetLabel() {
				answer = label.GetValue()
			}
			values[answer] = metric.GetCounter().GetValue()
		}
	}
	return values
}

// status is what a client gets for err.
func status(err error) int {
	if err == nil {
		return http.StatusOK
	}
	return apihandlers.FailureOf(err).Status
}

func TestHubJudges(t *testing.T) {
	t.Parallel()
	user := func(name, scopes string) string {
		return `{"kind": "user", "name": "` + name + `", "token_id": "a7", "scopes": [` + scopes + `]}`
	}
	const ours = `"access:services!service=deployment-manager"`
	cases := []struct {
		name, user, answer string
		status             int
		says               string // in the refusal
		auth               string
	}{
		{"Basic with one's name", "ana", anaByHub, 200, "", "jupyterhub:a12"},
		{"Bearer", "", anaByHub, 200, "", "jupyterhub:a12"},
		{"another's name", "ben", anaByHub, 401, "the token belongs to another JupyterHub user", ""},
		{"the name in capitals", "Ana", anaByHub, 401, "the token belongs to another JupyterHub user", ""},
		{"scope for all services", "ana", user("ana", `"access:services"`), 200, "", "jupyterhub:a7"},
		{"before JupyterHub 5", "ana", `{"kind": "user", "name": "ana", "scopes": [` + ours + `]}`, 200, "", "jupyterhub"},
		{"odd token id", "ana", `{"kind": "user", "name": "ana", "token_id": "a1\nDM-User: root", "scopes": [` + ours + `]}`, 200, "", "jupyterhub"},
		{"unknown to the Hub", "ana", "", 401, "JupyterHub does not accept the token", ""},

		{"no scope", "ana", user("ana", ""), 403, "lacks the scope access:services!service=deployment-manager; add it to Spawner.server_token_scopes", ""},
		{"another's name and no scope", "ben", user("ana", ""), 401, "belongs to another JupyterHub user", ""},
		{"before JupyterHub 2", "ana", `{"kind": "user", "name": "ana"}`, 403, "lacks the scope", ""},
		{"another service's scope", "ana", user("ana", `"access:services!service=grader"`), 403, "lacks the scope", ""},
		{"a service whose name begins like ours", "ana", user("ana", `"access:services!service=deployment-manager-2"`), 403, "lacks the scope", ""},
		{"filter by group", "ana", user("ana", `"access:services!group=deployment-manager"`), 403, "lacks the scope", ""},
		{"filter by user", "ana", user("ana", `"access:services!user=ana"`), 403, "lacks the scope", ""},
		{"filter that was not expanded", "ana", user("ana", `"access:services!service"`), 403, "lacks the scope", ""},
		{"scope to read about services", "ana", user("ana", `"read:services", "list:services", "admin:services"`), 403, "lacks the scope", ""},
		{"access to servers", "ana", user("ana", `"access:servers"`), 403, "lacks the scope", ""},
		{"a service named like ana", "ana", `{"kind": "service", "name": "ana", "scopes": [` + ours + `]}`, 403, "the token belongs to a JupyterHub service, not to a user", ""},
		{"a thing named like ana", "ana", `{"kind": "PLANTED", "name": "ana", "scopes": [` + ours + `]}`, 403, "not to a user", ""},
		{"a name that is not allowed here", "", user("../ben", ours), 403, "is not allowed here", ""},
		{"a name that is not normal", "", user("jose\u0301", ours), 403, "is not allowed here", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := askHub(t)
			h.fake.set(podToken, says(c.answer))
			if c.answer == "" {
				h.fake.set(podToken, nil)
			}
			for _, memory := range []string{"asked", "from memory"} {
				id, err := h.as(t.Context(), c.user, podToken)
				if status(err) != c.status || err != nil && (!strings.Contains(dm.Public(err), c.says) || strings.Contains(err.Error(), podToken)) {
					t.Errorf("%s: got %d, %v; want %d, %q", memory, status(err), err, c.status, c.says)
				}
				if c.status == 200 && (id.User != "ana" || id.Auth != c.auth || id.Scopes != nil) || c.status != 200 && id.User != "" {
					t.Errorf("%s: got %+v, want ana by %q", memory, id, c.auth)
				}
			}
			if got := h.fake.questions(); got != 1 {
				t.Errorf("asked %d times, want 1", got)
			}
		})
	}
}

// TestHubIsAskedAboutTokensOnly: what a person may have typed stays here.
func TestHubIsAskedAboutTokensOnly(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, user, secret string
		asked              bool
	}{
		{"a pod's token", "ana", podToken, true},
		{"a pod's token as Bearer", "", podToken, true},
		{"a token of OAuth as Bearer", "", oauthToken, true},
		{"30 letters as a password", "ana", oauthToken, false},
		{"a password", "ana", "correct horse battery staple", false},
		{"a password as Bearer", "", "correct-horse", false},
		{"hexadecimal, but no UUID of version 4", "ana", strings.Repeat("0", 32), false},
		{"a hash", "ana", strings.Repeat("4a8b", 16), false},
		{"in capitals", "ana", strings.ToUpper(podToken), false},
		{"with dashes", "ana", "01234567-89ab-4def-8123-456789abcdef", false},
		{"one character less", "ana", podToken[1:], false},
		{"one character more", "ana", podToken + "0", false},
		{"a line feed more", "ana", podToken + "\n", false},
		{"our own token", "", "dmt_00000000_" + strings.Repeat("0", 48), false},
		{"nothing", "ana", "", false},
	}
	for _, c := range cases {
		h := askHub(t)
		_, err := h.as(t.Context(), c.user, c.secret)
		if got := h.fake.questions() == 1; got != c.asked {
			t.Errorf("%s: asked %v, want %v (%v)", c.name, got, c.asked, err)
		}
	}
}

// TestHubFaults: whatever goes wrong at the Hub is told as 503, costs nobody a
// try, is logged once for all, and ends with it. No token gets lost on the way.
func TestHubFaults(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed, with %d headers", len(r.Header))
		fmt.Fprint(w, anaByHub)
	}))
	t.Cleanup(elsewhere.Close)
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); fmt.Fprint(w, anaByHub) }
	}
	cases := map[string]http.HandlerFunc{
		"500": answer(500), "502": answer(502), "503": answer(503), "404": answer(404), "429": answer(429), "201": answer(201), "204": answer(204),
		"redirect":    http.RedirectHandler(elsewhere.URL, http.StatusFound).ServeHTTP,
		"page":        says("<html>JupyterHub</html>"),
		"nothing":     says(""),
		"null":        says("null"),
		"no object":   says(`"ana"`),
		"no kind":     says(strings.Replace(anaByHub, "kind", "sort", 1)),
		"no name":     says(strings.Replace(anaByHub, `"name"`, `"title"`, 1)),
		"wrong type":  says(strings.Replace(anaByHub, `"ana"`, `["ana"]`, 1)),
		"two objects": says(anaByHub + anaByHub),
		"half":        says(anaByHub[:60]),
		"too much":    says(anaByHub + strings.Repeat(" ", maxHubAnswer)),
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9999")
			fmt.Fprint(w, anaByHub)
		},
		"broken":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"many headers": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 100<<10)) },
	}
	for name, broken := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := askHub(t)
			h.fake.fail(broken)
			for range sourceTries + 5 {
				if id, err := h.as(t.Context(), "ana", podToken); status(err) != 503 || dm.KindOf(err) != dm.Unavailable || id.User != "" {
					t.Fatalf("got %+v, %v; want 503", id, err)
				}
			}
			h.fake.fail(nil)
			if _, err := h.as(t.Context(), "ana", podToken); err != nil {
				t.Errorf("afterwards: %v", err)
			}
			log := h.log.String()
			if n := strings.Count(log, "level=ERROR"); n != 1 || strings.Count(log, "is available again") != 1 || strings.Contains(log, podToken) {
				t.Errorf("%d outages are logged, want 1 and its end: %s", n, log)
			}
			if got := h.counted(t)[answerFailed]; got != sourceTries+5 {
				t.Errorf("%v failures were counted", got)
			}
		})
	}
}

// TestHubSlowOrAway: a Hub that says nothing is not waited for.
func TestHubSlowOrAway(t *testing.T) {
	t.Parallel()
	fake := startFakeHub(t, (*httptest.Server).Start)
	waiting := make(chan struct{}, 1)
	fake.set(podToken, func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		select {
		case waiting <- struct{}{}:
		default: // it was asked more than once
		}
	})
	fake.set(otherToken, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush() // the client sees headers and waits for the body
		<-r.Context().Done()
	})
	slow, err := OpenHub(HubConfig{URL: fake.URL + "/hub/api/", Service: "deployment-manager", Patience: 100 * time.Millisecond})
	must(t, err)
	for _, token := range []string{podToken, otherToken} {
		// On a busy machine the time may be over before the Hub hears of the question.
		for deadline := time.Now().Add(20 * time.Second); !fake.heard(token); {
			if _, _, err := slow.Authenticate(t.Context(), dm.Credential{Scheme: "bearer", Secret: token}); dm.KindOf(err) != dm.Unavailable {
				t.Fatalf("slow: got %v, want Unavailable", err)
			}
			if time.Now().After(deadline) {
				t.Fatal("the Hub was never asked")
			}
		}
	}
	<-waiting // the question was given up, not left behind
	fake.Close()
	if _, _, err := slow.Authenticate(t.Context(), dm.Credential{Scheme: "bearer", Secret: podToken}); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("away: got %v, want Unavailable", err)
	}
}

// TestHubCrowded: when the Hub is so slow that turns do not come, those who wait
// are told so, and the operator sees it in the counters: nothing has failed yet.
func TestHubCrowded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		h, err := OpenHub(HubConfig{URL: "http://hub.invalid/hub/api", Service: "deployment-manager", Registerer: registry})
		must(t, err)
		for range hubPlaces {
			h.slots <- struct{}{}
		}
		begin := time.Now()
		_, _, err = h.Authenticate(t.Context(), dm.Credential{Scheme: "bearer", Secret: podToken, Source: "192.0.2.7"})
		if status(err) != 503 || time.Since(begin) != hubWait {
			t.Errorf("got %v after %s, want 503 after %s", err, time.Since(begin), hubWait)
		}
		asked := askedHub{registry: registry}
		if got := asked.counted(t); got[answerUnasked] != 1 || got[answerFailed] != 0 {
			t.Errorf("counted %v, want 1 unasked and nothing failed", got)
		}
	})
}

// TestHubTLS: the Hub's certificate is checked, with the system's authorities or
// with those of the file.
func TestHubTLS(t *testing.T) {
	t.Parallel()
	fake := startFakeHub(t, (*httptest.Server).StartTLS)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: fake.Certificate().Raw}), 0o600))
	for file, want := range map[string]dm.Kind{"": dm.Unavailable, ca: ""} {
		h, err := OpenHub(HubConfig{URL: fake.URL + "/hub/api", Service: "deployment-manager", CA: file})
		must(t, err)
		if _, _, err := h.Authenticate(t.Context(), dm.Credential{Scheme: "bearer", Secret: podToken}); dm.KindOf(err) != want {
			t.Errorf("authority %q: got %v, want kind %q", file, err, want)
		}
	}
	if n := fake.questions(); n != 1 {
		t.Errorf("%d tokens were sent, want only the one after a good handshake", n)
	}
}

func TestHubConfiguration(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "page")
	must(t, os.WriteFile(page, []byte("no certificate"), 0o600))
	const good = "http://hub:8081/hub/api"
	for name, cfg := range map[string]HubConfig{
		"no address":      {Service: "dm"},
		"no scheme":       {URL: "hub:8081/hub/api", Service: "dm"},
		"file":            {URL: "file:///hub/api", Service: "dm"},
		"password":        {URL: "http://ana:PLANTED@hub/hub/api", Service: "dm"},
		"query":           {URL: good + "?token=PLANTED", Service: "dm"},
		"no service":      {URL: good},
		"two filters":     {URL: good, Service: "dm!user=ana"},
		"no file":         {URL: good, Service: "dm", CA: page + "2"},
		"no certificates": {URL: good, Service: "dm", CA: page},
		"no name":         {URL: good, Service: "dm", Reserved: []dm.UserName{"ana", "a/b"}},
	} {
		if _, err := OpenHub(cfg); dm.KindOf(err) != dm.Invalid || strings.Contains(fmt.Sprint(err), "PLANTED") {
			t.Errorf("%s: got %v, want Invalid and no secret", name, err)
		}
	}
	registry := prometheus.NewRegistry()
	_, err := OpenHub(HubConfig{URL: good, Service: "dm", Registerer: registry})
	must(t, err)
	if _, err := OpenHub(HubConfig{URL: good, Service: "dm", Registerer: registry}); err == nil {
		t.Error("the same counters were registered twice")
	}
}
