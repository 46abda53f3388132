package files_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
	"github.com/pndaproject/deployment-manager/apihandlers/files"
	"github.com/pndaproject/deployment-manager/plugins"
)

const base = "http://deployment-manager.pnda:5000"

var key = bytes.Repeat([]byte{7}, 32)

// record holds what applications deliver.
type record struct {
	mu                sync.Mutex
	effective, coming map[dm.DeliveredFile]string // Filled is false
	fault             error                       // of every file
	cut               bool                        // every file breaks in its middle
	entered, blocked  chan struct{}               // unless nil, reading says that it began, and waits
}

func (r *record) OpenDelivered(ctx context.Context, f dm.DeliveredFile, coming bool) (io.ReadCloser, int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.Filled = false
	of := r.effective
	if coming {
		of = r.coming
	}
	text, ok := of[f]
	switch {
	case r.fault != nil:
		return nil, 0, r.fault
	case !ok:
		return nil, 0, dm.Errorf(dm.NotFound, "record", "the application %s has no such file", f.Application)
	case r.cut:
		return io.NopCloser(io.MultiReader(strings.NewReader(text[:len(text)/2]), torn{})), int64(len(text)), nil
	}
	return io.NopCloser(&waiting{ctx: ctx, entered: r.entered, blocked: r.blocked, Reader: strings.NewReader(text)}), int64(len(text)), nil
}

func (r *record) set(f dm.DeliveredFile, effective, coming string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.effective, r.coming = map[dm.DeliveredFile]string{f: effective}, map[dm.DeliveredFile]string{}
	if coming != "" {
		r.coming[f] = coming
	}
}

type torn struct{}

func (torn) Read([]byte) (int, error) {
	return 0, dm.Errorf(dm.Unavailable, "record", "storage is unavailable, try again").Because(errors.New("bad sector"))
}

// waiting is a file that is read when the test says so.
type waiting struct {
	ctx              context.Context
	entered, blocked chan struct{}
	io.Reader
}

func (w *waiting) Read(p []byte) (int, error) {
	if w.entered != nil {
		w.entered <- struct{}{}
		w.entered = nil
	}
	if w.blocked != nil {
		select {
		case <-w.blocked:
		case <-w.ctx.Done():
		}
	}
	return w.Reader.Read(p)
}

// port is the port of the deployment manager with files alone.
type port struct {
	t      testing.TB
	record *record
	signer *files.Signer
	spool  string
	server *httptest.Server
}

func open(t testing.TB, edit func(*files.Config)) *port {
	t.Helper()
	signer, err := files.NewSigner(base, key)
	must(t, err)
	p := &port{t: t, record: &record{}, signer: signer, spool: t.TempDir()}
	cfg := files.Config{Signer: signer, Record: p.record, Spool: p.spool, Fill: plugins.FilledJar}
	if edit != nil {
		edit(&cfg)
	}
	api, err := files.New(cfg)
	must(t, err)
	metrics, err := apihandlers.NewMetrics(prometheus.NewRegistry())
	must(t, err)
	handler, err := apihandlers.New(apihandlers.Config{
		Server: "manager", Errors: apihandlers.ManagerBody, Options: true, Metrics: metrics, Tables: []apihandlers.Table{{Routes: api.Routes()}},
	})
	must(t, err)
	p.server = httptest.NewServer(handler)
	t.Cleanup(func() {
		p.server.Close()
		if left, err := os.ReadDir(p.spool); err != nil || len(left) > 0 {
			t.Errorf("the folder for files on their way has %v, %v, want nothing", left, err)
		}
	})
	return p
}

// path is that of an address of ours.
func (p *port) path(f dm.DeliveredFile, content string) string {
	return strings.TrimPrefix(p.signer.Address(f, sha256.Sum256([]byte(content))), base)
}

// answer is what a path was answered, without what differs each time.
type answer struct {
	status int
	body   string
	header http.Header
}

func (p *port) get(path string) answer { return p.ask(http.MethodGet, path) }

func (p *port) ask(method, path string) answer {
	p.t.Helper()
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.server.URL, nil)
	must(p.t, err)
	r.URL.Opaque = path // as it is written
	response, err := p.server.Client().Do(r)
	must(p.t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(p.t, err)
	for _, name := range []string{"Date", "X-Request-Id"} {
		response.Header.Del(name)
	}
	return answer{response.StatusCode, string(body), response.Header}
}

// opens asks for a path that must give this content.
func (p *port) opens(path, content string) {
	p.t.Helper()
	if got := p.get(path); got.status != http.StatusOK || got.body != content {
		p.t.Errorf("%s: %d %.80q, want %.80q", path, got.status, got.body, content)
	}
}

// closed asks for a path that must give nothing.
func (p *port) closed(path string) {
	p.t.Helper()
	got := p.get(path)
	if want := `{"information":"no such resource"}`; got.status != http.StatusNotFound || strings.TrimSpace(got.body) != want {
		p.t.Errorf("%s: %d %.80q, want the answer to what is not there", path, got.status, got.body)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// soon is how long what must happen may take.
const soon = 30 * time.Second
