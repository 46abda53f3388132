package apihandlers_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/auth"
	"github.com/pndaproject/deployment-manager/apihandlers/manager"
	"github.com/pndaproject/deployment-manager/apihandlers/packages"
	"github.com/pndaproject/deployment-manager/apihandlers/v1"
)

var update = flag.Bool("update", false, "write golden files and generated pages")

// now is the time of every harness's native API.
var now = time.Date(2025, 1, 7, 0, 0, 0, 0, time.UTC)

// passwords of the users of every harness; ana owns what there is, root is
// admin, zoe does not exist.
var signIn = map[string]string{"ana": "ana's password", "bob": "bob's password", "root": "root's password"}

var hashes = sync.OnceValue(func() string {
	var b strings.Builder
	for _, user := range []string{"ana", "bob", "root"} {
		hash, err := bcrypt.GenerateFromPassword([]byte(signIn[user]), bcrypt.MinCost)
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(&b, "%s:%s\n", user, hash)
	}
	return b.String()
})

// harness is both PNDA ports over one fakeRecord.
type harness struct {
	record   *fakeRecord
	packages http.Handler
	manager  http.Handler
	log      *lockedBuffer
	registry *prometheus.Registry
}

type options struct {
	mode    dm.AuthMode
	site    apihandlers.SiteConfig // without a mode: o.mode, and the names of the tests' requests
	maxBody int64
	stall   time.Duration
	env     map[string]any
	ready   func(context.Context) error
	fail    error
	ending  chan struct{}
	rules   []dm.Rule // instead of the default policy's

	identity *auth.Auth // nil means one of passwords, see signIn
}

// lockedBuffer is a log that servers of several goroutines write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newHarness(t *testing.T, o options) *harness {
	t.Helper()
	if o.mode == "" {
		o.mode = dm.InsecurePNDA
	}
	h := &harness{log: &lockedBuffer{}, registry: prometheus.NewRegistry()}
	h.record = &fakeRecord{policy: dm.NewPolicy(o.mode, dm.PublishByMode), fail: o.fail}
	if o.rules != nil {
		h.record.policy.Rules = o.rules
	}
	log := slog.New(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	identity := o.identity
	if identity == nil {
		identity = newAuth(t, o, h.registry, log)
	}
	metrics, err := apihandlers.NewMetrics(h.registry)
	must(t, err)
	tables := tablesOf(t, h.record, identity, o)
	if o.site.Mode == "" { // called as httptest and raw requests call it
		o.site.Mode, o.site.Hosts, o.site.Listen = o.mode, append(o.site.Hosts, "example.com", "h"), []string{":0"}
	}
	site, err := apihandlers.NewSite(o.site)
	must(t, err)
	config := apihandlers.Config{
		Server: "packages", Tables: tables["packages"], Errors: apihandlers.RepositoryBody, Metrics: metrics, Log: log, Ready: o.ready, Site: site,
	}
	h.packages, err = apihandlers.New(config)
	must(t, err)
	config.Server, config.Tables, config.Errors = "manager", tables["manager"], apihandlers.ManagerBody
	config.Options = true
	h.manager, err = apihandlers.New(config)
	must(t, err)
	return h
}

func newAuth(t *testing.T, o options, reg prometheus.Registerer, log *slog.Logger) *auth.Auth {
	t.Helper()
	path := filepath.Join(t.TempDir(), "htpasswd")
	must(t, os.WriteFile(path, []byte(hashes()), 0o600))
	file, err := auth.OpenHtpasswd(auth.HtpasswdConfig{Path: path, Log: log})
	must(t, err)
	directory, err := auth.NewDirectory(auth.DirectoryConfig{
		Users: []dm.UserName{"ana", "bob", "root"}, Groups: map[string][]dm.UserName{"admin": {"root"}}, SignIn: file.Users,
	})
	must(t, err)
	a, err := auth.New(auth.Config{
		Mode: o.mode, Directory: directory, Policy: dm.NewPolicy(o.mode, dm.PublishByMode), Authenticators: []dm.Authenticator{file},
		Registerer: reg, Log: log,
	})
	must(t, err)
	return a
}

func tablesOf(t *testing.T, record *fakeRecord, identity *auth.Auth, o options) map[string][]apihandlers.Table {
	t.Helper()
	repository, err := packages.New(packages.Config{Store: record, Owners: record, Policy: record.policy, MaxBody: o.maxBody, Stall: o.stall})
	must(t, err)
	deployer, err := manager.New(manager.Config{
		Repository: record, Packages: record, Applications: record, Policy: record.policy, Environment: o.env,
		Summarize: func(_ context.Context, app dm.Application) (map[string]any, error) {
			if app.Spec.Name == "test-1" {
				return nil, dm.Errorf(dm.Unavailable, "summarize", "the cluster cannot be asked")
			}
			return map[string]any{"aggregate_status": "RUNNING", "jupyter-1": map[string]any{"aggregate_status": "RUNNING"}}, nil
		},
		Selftest: func(context.Context) (map[string]any, bool) { return map[string]any{"steps": 7}, true },
	})
	must(t, err)
	people, err := auth.NewDirectory(auth.DirectoryConfig{Groups: map[string][]dm.UserName{"class": {"bob"}}})
	must(t, err)
	native, err := v1.New(v1.Config{
		Deliveries: record, Directory: people, Logs: fakeLogs{}, Kept: fakeLogs{},
		Applications: record, History: record, Owners: record, Events: record, Policy: record.policy, Ending: o.ending,
		Clock: func() time.Time { return now },
	})
	must(t, err)
	return map[string][]apihandlers.Table{
		"packages": {{Gate: &auth.Door{Auth: identity, Via: "packages", NameByPresence: true}, Routes: repository.Routes()}},
		"manager": {
			{Gate: &auth.Door{Auth: identity, Via: "manager"}, Routes: deployer.Routes()},
			{Gate: &auth.Door{Auth: identity, Via: "api"}, Routes: native.Routes()},
			{Routes: filesRoutes(t)},
		},
	}
}

func (h *harness) on(server string) http.Handler {
	if server == "packages" {
		return h.packages
	}
	return h.manager
}

// request is one request of a test.
type request struct {
	method, path, body string
	header             http.Header
	user               string // Basic, with the password of signIn
}

func (h *harness) do(t *testing.T, server string, q request) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(q.method, q.path, strings.NewReader(q.body))
	for name, values := range q.header {
		r.Header[name] = values
	}
	if r.Header.Get("X-Request-Id") == "" {
		r.Header.Set("X-Request-Id", "test")
	}
	if q.user != "" {
		r.SetBasicAuth(q.user, signIn[q.user])
	}
	w := httptest.NewRecorder()
	h.on(server).ServeHTTP(w, r)
	return w
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
