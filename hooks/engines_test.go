package hooks

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// able is a plugin that can be asked.
type able struct {
	dm.Plugin
	probe func(context.Context, dm.ApplyRequest) ([]dm.Finding, error)
}

func (a able) Probe(ctx context.Context, r dm.ApplyRequest) ([]dm.Finding, error) {
	return a.probe(ctx, r)
}

// bare is one that can't.
type bare struct{ dm.Plugin }

// logBook is a log that a test reads.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }
func (l *logBook) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func newEngines(t *testing.T, timeout time.Duration, plugins map[dm.ComponentType]dm.Plugin) (*Engines, *logBook) {
	t.Helper()
	book := &logBook{}
	e, err := NewEngines(EnginesConfig{
		Plugins: func(t dm.ComponentType) (dm.Plugin, bool) { p, ok := plugins[t]; return p, ok },
		Timeout: timeout, Log: slog.New(slog.NewTextHandler(book, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e, book
}

func workOf(types ...dm.ComponentType) dm.Work {
	w := dm.Work{
		Spec: dm.Spec{Name: "app", Owner: "ana", Team: "class-7", State: dm.WantStarted}, Deployment: 3, Open: fstest.MapFS{"spark/count/job.py": {Data: []byte("x")}},
		Observed: &dm.Observation{Records: []dm.PluginRecord{{Type: "spark", Desired: "before"}}},
	}
	for _, t := range types {
		w.Components = append(w.Components, dm.Component{Type: t, Name: "count"})
	}
	return w
}

func TestProbeAsksAllAtOnce(t *testing.T) {
	t.Parallel()
	var asked dm.ApplyRequest
	var both sync.WaitGroup
	both.Add(2)
	meet := func() { both.Done(); both.Wait() } // each waits for the other
	e, _ := newEngines(t, time.Minute, map[dm.ComponentType]dm.Plugin{
		"spark": able{probe: func(_ context.Context, r dm.ApplyRequest) ([]dm.Finding, error) {
			meet()
			asked = r
			return []dm.Finding{{Component: "count", Message: "too large"}, {Component: "count", Message: "too many"}}, nil
		}},
		"flink": able{probe: func(context.Context, dm.ApplyRequest) ([]dm.Finding, error) {
			meet()
			return []dm.Finding{{Message: "no"}}, nil
		}},
		"jupyter": bare{},
	})
	var got []string
	for _, f := range e.Probe(t.Context(), workOf("spark", "jupyter", "flink", "unknown")) {
		got = append(got, f.String())
	}
	if want := []string{"flink: no", "spark/count: too large", "spark/count: too many"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
	content, err := fs.ReadFile(asked.Files, "count/job.py")
	if err != nil || string(content) != "x" {
		t.Errorf("its files: %q, %v", content, err)
	}
	if asked.Application != "app" || asked.Team != "class-7" || asked.State != dm.WantStarted || asked.Deployment != 3 || len(asked.Components) != 1 ||
		asked.Previous == nil || asked.Previous.Desired != "before" {
		t.Errorf("asked %+v", asked)
	}
}

// TestWhoCantTell is passed over, and its faults are told to the log alone.
func TestWhoCantTell(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // where time passes only when nothing else can
		release, asked := make(chan struct{}), 0
		e, book := newEngines(t, 5*time.Second, map[dm.ComponentType]dm.Plugin{
			"a": able{probe: func(context.Context, dm.ApplyRequest) ([]dm.Finding, error) {
				return nil, errors.New("the API server is away")
			}},
			"b": able{probe: func(context.Context, dm.ApplyRequest) ([]dm.Finding, error) { panic("nil map") }},
			"c": able{probe: func(context.Context, dm.ApplyRequest) ([]dm.Finding, error) {
				asked++
				<-release
				return []dm.Finding{{Message: "late"}}, nil
			}},
		})
		began := time.Now()
		if got := e.Probe(t.Context(), workOf("a", "b", "c")); len(got) > 0 || time.Since(began) != 5*time.Second {
			t.Errorf("found %v after %s, want nothing after its time", got, time.Since(began))
		}
		for _, want := range []string{"the API server is away", "panic: nil map", "it has not answered"} {
			if !strings.Contains(book.String(), want) {
				t.Errorf("the log lacks %q:\n%s", want, book)
			}
		}
		synctest.Wait() // it is known to hang
		if e.Probe(t.Context(), workOf("c")); asked != 1 || !strings.Contains(book.String(), "has not returned yet") {
			t.Errorf("it was asked %d times while it hung; the log says\n%s", asked, book)
		}
		close(release)
		synctest.Wait()
		if got := e.Probe(t.Context(), workOf("c")); len(got) != 1 || asked != 2 {
			t.Errorf("found %v, want what it tells since it returned", got)
		}
	})
}

func TestProbeOfNobody(t *testing.T) {
	t.Parallel()
	e, book := newEngines(t, 0, map[dm.ComponentType]dm.Plugin{
		"a": able{probe: func(ctx context.Context, _ dm.ApplyRequest) ([]dm.Finding, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}},
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := e.Probe(ctx, workOf("a")); len(got) > 0 || book.String() != "" {
		t.Errorf("a request that was given up: %v, %s", got, book)
	}
	if got := e.Probe(t.Context(), dm.Work{}); len(got) > 0 {
		t.Errorf("no components: %v", got)
	}
}
