package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
)

func TestPausesGrowAndScansRespectThem(t *testing.T) {
	t.Parallel()
	withBench(t, func(cfg *Config) { cfg.Retry = Retry{Base: 10 * time.Second}; cfg.Scan = 15 * time.Second }, func(b *bench) {
		var at []time.Time
		b.jupyter.onCall(func(context.Context, string, dm.ApplicationName, int) (bool, error) {
			at = append(at, time.Now())
			if len(at) < 5 {
				return false, errDown
			}
			return false, nil
		})
		wantOutcome(t, b.do("noon", dm.Create, dm.WantCreated, "jupyter/report"), dm.Created, 1, "")
		for i, most := range []time.Duration{10 * time.Second, 15 * time.Second, 15 * time.Second, 15 * time.Second} {
			if gap := at[i+1].Sub(at[i]); gap < most/2 || gap > most {
				t.Errorf("pause %d = %s, want %s to %s", i+1, gap, most/2, most)
			}
		}
	})
}

func TestWakeDuringWorkIsNotLost(t *testing.T) {
	t.Parallel()
	withBench(t, func(cfg *Config) { cfg.Scan = 1000 * time.Hour }, func(b *bench) {
		entered, leave := make(chan struct{}), make(chan struct{})
		b.box.fail = nil
		b.d.cfg.Step = func(name string) {
			if name == stepObserved {
				entered <- struct{}{}
				<-leave
			}
		}
		b.box.accept("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.d.Wake("noon")
		<-entered // observed, not yet released: exactly where a wake-up could fall through
		b.box.accept("noon", dm.Start, dm.WantStarted)
		b.d.Wake("noon")
		b.d.Wake("noon")
		leave <- struct{}{}
		<-entered
		leave <- struct{}{}
		synctest.Wait()
		wantOutcome(t, b.box.last(t, "noon"), dm.Started, 2, "")
	})
}

func TestScanFindsWhatNobodyWokeFor(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.box.accept("before", dm.Create, dm.WantCreated, "jupyter/report")
		b.run()
		wantOutcome(t, b.box.last(t, "before"), dm.Created, 1, "")
		b.box.accept("later", dm.Create, dm.WantCreated, "jupyter/report")
		time.Sleep(31 * time.Second)
		synctest.Wait()
		wantOutcome(t, b.box.last(t, "later"), dm.Created, 1, "")
		b.stop()
	})
}

func TestRecordThatCannotBeWrittenIsTriedForEver(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"Work", "Observe"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			withBench(t, nil, func(b *bench) {
				var calls atomic.Int64
				b.box.fail = func(m string, _ dm.ApplicationName) error {
					if m == method && calls.Add(1) <= 40 {
						return dm.Errorf(dm.Unavailable, m, "the disk is full")
					}
					return nil
				}
				wantOutcome(t, b.do("noon", dm.Create, dm.WantCreated, "jupyter/report"), dm.Created, 1, "")
			})
		})
	}
}

func TestPanicOfTheRecordDoesNotEndTheWorkers(t *testing.T) {
	t.Parallel()
	withBench(t, func(cfg *Config) { cfg.Workers = 1 }, func(b *bench) {
		calls := 0
		b.box.fail = func(m string, _ dm.ApplicationName) error {
			if calls++; m == "Work" && calls == 1 {
				panic("nil index")
			}
			return nil
		}
		wantOutcome(t, b.do("noon", dm.Create, dm.WantCreated, "jupyter/report"), dm.Created, 1, "")
	})
}

// TestPanicOfTheRecordLeavesAWayOut shows that a change at which the record
// stumbles each time is one that waits, and so can be destroyed.
func TestPanicOfTheRecordLeavesAWayOut(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		b.box.fail = func(m string, _ dm.ApplicationName) error {
			if m == "Work" {
				panic("nil index")
			}
			return nil
		}
		b.begin("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.wantWaiting("noon", "Waiting: unexpected failure of the server; retrying until it works")
	})
}

func TestManyApplicationsAtOnce(t *testing.T) {
	t.Parallel()
	withBench(t, func(cfg *Config) { cfg.Workers = 4 }, func(b *bench) {
		slow := func(context.Context, string, dm.ApplicationName, int) (bool, error) {
			time.Sleep(time.Second)
			return false, nil
		}
		b.jupyter.onCall(slow)
		b.oozie.onCall(slow)
		apps := make([]dm.ApplicationName, 20)
		for i := range apps {
			apps[i] = dm.ApplicationName(fmt.Sprintf("app-%02d", i))
			b.box.accept(apps[i], dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
			for range 3 {
				go b.d.Wake(apps[i])
			}
		}
		started := time.Now()
		for range 5 { // wake-ups at every moment of the work
			time.Sleep(700 * time.Millisecond)
			for _, app := range apps {
				b.d.Wake(app)
			}
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		for _, app := range apps {
			wantOutcome(t, b.box.last(t, app), dm.Created, 1, "")
			if n := len(b.box.apps[app].outcomes); n != 1 {
				t.Errorf("%s has %d outcomes, want 1", app, n)
			}
		}
		if b.log.most != 4 {
			t.Errorf("at most %d applications at once, want 4", b.log.most)
		}
		if got := len(b.log.take()); got != 40 {
			t.Errorf("%d calls in %s, want 40", got, time.Since(started))
		}
	})
}

func TestStopLeavesTheChangeForTheNextRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.run()
		b.jupyter.onCall(func(ctx context.Context, _ string, _ dm.ApplicationName, _ int) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		})
		b.box.accept("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.d.Wake("noon")
		synctest.Wait()
		b.stop()
		if n := len(b.box.apps["noon"].outcomes); n != 0 {
			t.Errorf("a stopped change has %d outcomes, want none", n)
		}
		b.jupyter.onCall(nil)
		b.run()
		wantOutcome(t, b.box.last(t, "noon"), dm.Created, 1, "")
		if err := b.d.Run(context.Background()); err == nil {
			t.Error("a second Run at the same time was accepted")
		}
		b.stop()
	})
}

func TestStepsComeInOrder(t *testing.T) {
	t.Parallel()
	var got []string
	withBench(t, func(cfg *Config) { cfg.Step = func(name string) { got = append(got, name) } }, func(b *bench) {
		b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.jupyter.onCall(func(_ context.Context, _ string, _ dm.ApplicationName, nth int) (bool, error) {
			if nth == 1 {
				return false, errRefused
			}
			return false, nil
		})
		b.do("noon", dm.Start, dm.WantStarted)
	})
	want := []string{
		stepTaken, stepTypeApplied, stepApplied, stepBeforeObserve, stepObserved,
		stepTaken, stepTypeApplied, stepUndone, stepBeforeObserve, stepObserved,
	}
	if !slices.Equal(got, want) {
		t.Errorf("steps = %q, want %q", got, want)
	}
	for _, name := range want {
		if !slices.Contains(Steps(), name) {
			t.Errorf("Steps lacks %q", name)
		}
	}
}

func TestDispatchIsCounted(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	withBench(t, func(cfg *Config) { cfg.Registerer = registry }, func(b *bench) {
		b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.jupyter.on(func(string) (bool, error) { return false, errBare })
		b.do("noon", dm.Destroy, dm.WantDestroyed)
		for metric, want := range map[string]float64{
			`dm_dispatch_outcomes_total{create,success}`:  1,
			`dm_dispatch_outcomes_total{destroy,retry}`:   15,
			`dm_dispatch_outcomes_total{destroy,failure}`: 1,
			`dm_dispatch_duration_seconds{create}`:        1,
			`dm_dispatch_pending{}`:                       0,
		} {
			if got := measured(t, registry, metric); got != want {
				t.Errorf("%s = %v, want %v", metric, got, want)
			}
		}
	})
	if _, err := New(Config{Record: newFakeRecord(), Registerer: registry,
		Plugins: func(dm.ComponentType) (dm.Plugin, bool) { return nil, false }}); err == nil {
		t.Error("figures registered twice were accepted")
	}
}

// measured reads one metric, written name{label value,…}.
func measured(t *testing.T, g prometheus.Gatherer, metric string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			if fmt.Sprintf("%s{%s}", f.GetName(), strings.Join(labels, ",")) == metric {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

func TestNewChecks(t *testing.T) {
	t.Parallel()
	full := Config{Record: newFakeRecord(), Plugins: func(dm.ComponentType) (dm.Plugin, bool) { return nil, false }}
	for want, spoil := range map[string]func(*Config){
		"record":   func(c *Config) { c.Record = nil },
		"plugins":  func(c *Config) { c.Plugins = nil },
		"negative": func(c *Config) { c.Workers = -1 },
	} {
		cfg := full
		spoil(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("spoiled %s: %v", want, err)
		}
	}
}

// TestRunAlwaysEnds stops dispatchers whose workers all sleep. Who stops must
// wake them for certain: a broadcast that can be called off on the way out
// leaves them asleep in one stop of a few hundred.
func TestRunAlwaysEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(cfg *Config) { cfg.Workers = 1 })
		for range 2000 {
			b.run()
			b.stop()
		}
	})
}
