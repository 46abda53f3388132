package dispatch

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
)

// withEngine runs test with a dispatcher whose oozie plugin lives long.
func withEngine(t *testing.T, configure func(*Config), test func(*bench, *plugintest.FakeEngine)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		engine := plugintest.NewFakeEngine("oozie") // its channel belongs to the bubble
		b := newBench(t, func(cfg *Config) {
			others := cfg.Plugins
			cfg.Types = []dm.ComponentType{"jupyter", "oozie"}
			cfg.Plugins = func(t dm.ComponentType) (dm.Plugin, bool) {
				if t == "oozie" {
					return engine, true
				}
				return others(t)
			}
			if configure != nil {
				configure(cfg)
			}
		})
		b.run()
		test(b, engine)
		b.stop()
	})
}

// restart ends the dispatcher and runs a new one over the same record.
func (b *bench) restart() {
	b.Helper()
	b.stop()
	var err error
	if b.d, err = New(b.d.cfg); err != nil {
		b.Fatal(err)
	}
	b.run()
}

// told returns what was recorded of how app does, oldest first.
func (b *bench) told(app dm.ApplicationName) []string {
	b.box.mu.Lock()
	defer b.box.mu.Unlock()
	var list []string
	for _, o := range b.box.apps[app].outcomes {
		if o.Health != "" {
			list = append(list, o.Health)
		}
	}
	return list
}

func (b *bench) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// wantShown fails unless readers see the component of type oozie so.
func (b *bench) wantShown(app dm.ApplicationName, state, information string) {
	b.Helper()
	o := b.box.reads(app)
	i := slices.IndexFunc(o.Records, func(r dm.PluginRecord) bool { return r.Type == "oozie" })
	if c := o.Records[i].Components[0]; c.State != state || c.Information != information {
		b.Errorf("readers see %q, %q; want %q, %q", c.State, c.Information, state, information)
	}
}

// TestHealthIsShownAtOnceAndRecordedOnce follows a job through its states.
func TestHealthIsShownAtOnceAndRecordedOnce(t *testing.T) {
	t.Parallel()
	withEngine(t, nil, func(b *bench, engine *plugintest.FakeEngine) {
		b.box.accept("noon", dm.Create, dm.WantStarted, "jupyter/report", "oozie/nightly")
		b.d.Wake("noon")
		b.pass(0) // no time passes: what is new is looked at
		b.wantShown("noon", "SUBMITTED", "")
		engine.Becomes("noon", "nightly", "RUNNING", true)
		b.pass(time.Second) // noticed, not found by the next look at everything
		b.wantShown("noon", "RUNNING", "the job is running")
		b.pass(time.Hour)
		engine.Becomes("noon", "nightly", "FAILED", false)
		b.pass(31 * time.Second)
		b.wantShown("noon", "FAILED", "the job is failed")
		asked := engine.Asked()
		b.pass(6 * time.Hour)
		if engine.Asked() < asked+100 {
			t.Errorf("it was asked %d times in six hours, want it asked on and on", engine.Asked()-asked)
		}
		want := []string{"oozie/nightly is SUBMITTED", "oozie/nightly is RUNNING", "oozie/nightly is FAILED"}
		if got := b.told("noon"); !slices.Equal(got, want) {
			t.Errorf("recorded %q, want %q", got, want)
		}
		b.restart()
		b.pass(time.Hour)
		b.wantShown("noon", "FAILED", "the job is failed")
		if got := b.told("noon"); !slices.Equal(got, want) {
			t.Errorf("after a restart %q are recorded, want %q", got, want)
		}
		last := b.box.last(t, "noon")
		if last.Phase != dm.Started || last.Effective != last.Desired || recordTypes(last) != "jupyter oozie" {
			t.Errorf("the outcome became %+v, want it as it was", last)
		}
	})
}

// TestRestlessHealthIsRecordedRarely lets a plugin tell of each run of a schedule,
// which it should not.
func TestRestlessHealthIsRecordedRarely(t *testing.T) {
	t.Parallel()
	withEngine(t, nil, func(b *bench, engine *plugintest.FakeEngine) {
		b.quiet("noon", dm.Create, dm.WantCreated, "oozie/nightly")
		for range 24 * 60 {
			engine.Becomes("noon", "nightly", "RUNNING", true)
			b.pass(30 * time.Second)
			engine.Becomes("noon", "nightly", "SUCCEEDED", true)
			b.pass(30 * time.Second)
		}
		b.wantShown("noon", "SUCCEEDED", "the job is succeeded")
		if n := len(b.told("noon")); n < 10 || n > 40 {
			t.Errorf("2880 changes of state in a day were recorded %d times, want one an hour and a few more", n)
		}
		b.pass(3 * time.Hour)
		if got := b.told("noon"); got[len(got)-1] != "oozie/nightly is SUCCEEDED" {
			t.Errorf("%q was recorded last, want what it is when it rests", got[len(got)-1])
		}
	})
}

// TestHealthThatCannotBeTold keeps what was known, says why, and records nothing.
func TestHealthThatCannotBeTold(t *testing.T) {
	t.Parallel()
	withEngine(t, nil, func(b *bench, engine *plugintest.FakeEngine) {
		b.quiet("noon", dm.Create, dm.WantStarted, "oozie/nightly")
		recorded := len(b.told("noon"))
		engine.Deafen(errDown)
		b.pass(time.Minute)
		b.wantShown("noon", "SUBMITTED", "status unavailable: the engine is down")
		engine.Deafen(nil)
		b.pass(time.Minute)
		b.wantShown("noon", "SUBMITTED", "")
		if n := len(b.told("noon")); n != recorded {
			t.Errorf("%d outcomes were recorded meanwhile, want none", n-recorded)
		}
	})
}

// TestHealthThatCannotBeRecorded is shown all the same, and recorded later.
func TestHealthThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	withEngine(t, nil, func(b *bench, engine *plugintest.FakeEngine) {
		b.quiet("noon", dm.Create, dm.WantStarted, "oozie/nightly")
		var full atomic.Bool
		full.Store(true)
		b.box.mu.Lock()
		b.box.fail = func(method string, _ dm.ApplicationName) error {
			if method == "Observe" && full.Load() {
				return dm.Errorf(dm.Unavailable, method, "the disk is full")
			}
			return nil
		}
		b.box.mu.Unlock()
		engine.Becomes("noon", "nightly", "RUNNING", true)
		b.pass(time.Hour)
		b.wantShown("noon", "RUNNING", "the job is running")
		full.Store(false)
		b.pass(3 * time.Hour)
		if got := b.told("noon"); got[len(got)-1] != "oozie/nightly is RUNNING" {
			t.Errorf("%q are recorded, want that it runs", got)
		}
	})
}

// TestWhatAPluginNoticesWakesAChange ends a long pause when what the change waits
// for is there.
func TestWhatAPluginNoticesWakesAChange(t *testing.T) {
	t.Parallel()
	withEngine(t, nil, func(b *bench, engine *plugintest.FakeEngine) {
		then := time.Now().Add(24 * time.Hour)
		engine.Fail(dm.Errorf(dm.Unavailable, "engine", "no room in the cluster").NotBefore(then))
		b.begin("noon", dm.Create, dm.WantCreated, "oozie/nightly")
		b.wantWaiting("noon", "Waiting: no room in the cluster; retrying at "+then.UTC().Format(time.RFC3339))
		engine.Fail(nil)
		engine.Tell("noon")
		b.pass(time.Second)
		wantOutcome(t, b.box.last(t, "noon"), dm.Created, 1, "")
	})
}

// TestNoticesDoNotHurryWhatNobodyForesaw keeps a plugin that notices its own
// failing from using up all attempts at once.
func TestNoticesDoNotHurryWhatNobodyForesaw(t *testing.T) {
	t.Parallel()
	withEngine(t, nil, func(b *bench, engine *plugintest.FakeEngine) {
		engine.Fail(errBare)
		b.box.accept("noon", dm.Create, dm.WantCreated, "oozie/nightly")
		b.d.Wake("noon")
		for range 5 * 60 {
			engine.Tell("noon")
			b.pass(time.Second)
		}
		b.wantWaiting("noon", "Waiting: internal error; retrying for half an hour")
	})
}

// TestWaitingTakesAnotherChange destroys, stops and changes applications whose
// engine lets them wait.
func TestWaitingTakesAnotherChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		verb       dm.Verb
		state      dm.WantedState
		components []string
		standing   string
	}{
		{dm.Destroy, dm.WantDestroyed, nil, ""},
		{dm.Stop, dm.WantCreated, []string{"oozie/nightly"}, "noon/nightly SUSPENDED"},
		{dm.Change, dm.WantStarted, []string{"oozie/daily"}, "noon/daily SUBMITTED"},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(string(c.verb), func(t *testing.T) {
				t.Parallel()
				withEngine(t, nil, func(b *bench, engine *plugintest.FakeEngine) {
					b.quiet("noon", dm.Create, dm.WantCreated, "oozie/nightly")
					engine.Fail(errDown)
					b.begin("noon", dm.Start, dm.WantStarted, "oozie/nightly")
					b.wantWaiting("noon", "Waiting: the engine is down; retrying until it works")
					if restart {
						b.restart()
					}
					engine.Fail(nil)
					if got := b.do("noon", c.verb, c.state, c.components...); got.Phase != c.state.Settled() {
						t.Errorf("outcome %+v, want %s", got, c.state.Settled())
					}
					if got := strings.Join(engine.Standing(), ", "); got != c.standing {
						t.Errorf("standing are %q, want %q", got, c.standing)
					}
				})
			})
		}
	}
}

// slowEngine answers as slowly as it is allowed to, or ends its watch.
type slowEngine struct {
	*plugintest.FakeEngine
	watched atomic.Int64
}

func (s *slowEngine) Observe(ctx context.Context, _ dm.PluginRecord) ([]dm.Health, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s *slowEngine) Watch(context.Context, func(dm.ApplicationName)) error {
	if s.watched.Add(1) == 2 {
		panic("closed channel")
	}
	return errDown
}

// TestSlowEngineHoldsUpNoChange has more to look at than there are workers.
func TestSlowEngineHoldsUpNoChange(t *testing.T) {
	t.Parallel()
	var slow *slowEngine
	registry := prometheus.NewRegistry()
	withEngine(t, func(cfg *Config) {
		engine, _ := cfg.Plugins("oozie")
		slow = &slowEngine{FakeEngine: engine.(*plugintest.FakeEngine)}
		others := cfg.Plugins
		cfg.Workers, cfg.Registerer = 4, registry
		cfg.Plugins = func(t dm.ComponentType) (dm.Plugin, bool) {
			if t == "oozie" {
				return slow, true
			}
			return others(t)
		}
	}, func(b *bench, _ *plugintest.FakeEngine) {
		for _, app := range []dm.ApplicationName{"a", "b", "c", "d", "e", "f", "g", "h"} {
			b.box.accept(app, dm.Create, dm.WantCreated, "oozie/nightly")
		}
		b.pass(10 * time.Minute)
		if n := measured(t, registry, "dm_dispatch_pending{}"); n != 0 {
			t.Errorf("%v changes are pending while engines are asked, want none", n)
		}
		for range 20 {
			b.box.accept("noon", dm.Create, dm.WantCreated, "jupyter/report")
			b.d.Wake("noon")
			synctest.Wait()
			b.box.last(t, "noon") // at once, in no time
			b.box.accept("noon", dm.Destroy, dm.WantDestroyed)
			b.d.Wake("noon")
			b.pass(7 * time.Second)
		}
		if n := slow.watched.Load(); n < 5 || n > 30 {
			t.Errorf("a watch that ends was begun %d times, want it again and again with pauses", n)
		}
	})
}

// TestMergeKeepsWhereFilesAre joins what stood with what a failed Apply told.
func TestMergeKeepsWhereFilesAre(t *testing.T) {
	t.Parallel()
	before := dm.PluginRecord{
		Folders: map[string]dm.ComponentName{"": "report"}, Components: []dm.ComponentRecord{{Name: "report"}},
	}
	for _, c := range []struct{ folders, want map[string]dm.ComponentName }{
		{nil, before.Folders},
		{map[string]dm.ComponentName{"report": "report"}, map[string]dm.ComponentName{"report": "report"}},
	} {
		got := merge(before, dm.PluginRecord{Folders: c.folders})
		if !maps.Equal(got.Folders, c.want) || len(got.Components) != 1 {
			t.Errorf("merged with %v: %+v", c.folders, got)
		}
	}
}

// TestJobThatVanished is told of what an engine no longer knows.
func TestJobThatVanished(t *testing.T) {
	t.Parallel()
	withEngine(t, nil, func(b *bench, engine *plugintest.FakeEngine) {
		b.quiet("noon", dm.Create, dm.WantStarted, "oozie/nightly")
		if err := engine.Destroy(t.Context(), b.box.reads("noon").Records[0]); err != nil {
			t.Fatal(err)
		}
		b.pass(time.Minute)
		b.wantShown("noon", "", "")
		if got := b.told("noon"); got[len(got)-1] != "oozie/nightly is missing" {
			t.Errorf("%q are recorded, want that the job is gone", got)
		}
	})
}
