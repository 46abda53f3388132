package hooks

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pndaproject/deployment-manager"
)

func TestEveryActionSucceeds(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		got := b.do("noon", dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
		wantOutcome(t, got, dm.Created, 1, "")
		b.wantCalls("apply jupyter created", "apply oozie created")
		if types := recordTypes(got); types != "jupyter oozie" {
			t.Errorf("records of %q, want both types", types)
		}

		wantOutcome(t, b.do("noon", dm.Start, dm.WantStarted), dm.Started, 2, "")
		b.wantCalls("apply jupyter started", "apply oozie started")

		got = b.do("noon", dm.Change, dm.WantStarted, "jupyter/report")
		wantOutcome(t, got, dm.Started, 3, "")
		b.wantCalls("apply jupyter started", "destroy oozie")
		if types := recordTypes(got); types != "jupyter" {
			t.Errorf("records of %q, want what is left", types)
		}

		wantOutcome(t, b.do("noon", dm.Stop, dm.WantCreated), dm.Created, 4, "")
		b.wantCalls("apply jupyter created")
		wantOutcome(t, b.do("noon", dm.Rollback, dm.WantCreated, "oozie/nightly"), dm.Created, 5, "")
		b.wantCalls("apply oozie created", "destroy jupyter")

		got = b.do("noon", dm.Destroy, dm.WantDestroyed)
		wantOutcome(t, got, dm.NotCreated, 0, "")
		b.wantCalls("destroy oozie")
		if len(got.Records) != 0 {
			t.Errorf("records = %v after destroy", got.Records)
		}
	})
}

func TestRequestCarriesTheWholeWork(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.quiet("noon", dm.Change, dm.WantCreated, "jupyter/report", "jupyter/other")
		r, _ := b.jupyter.standing("noon")
		if r.Owner != "ana" || r.Deployment != 2 || len(r.Components) != 2 || r.Desired != dm.Revision(fmt.Sprintf("%040x", 2)) {
			t.Errorf("request = %+v", r)
		}
		if r.Previous == nil || len(r.Previous.Components) != 1 {
			t.Errorf("previous = %+v, want the record of the create", r.Previous)
		}
		if _, err := fs.Stat(r.Files, "report/a.ipynb"); err != nil {
			t.Errorf("files are not rooted at the type: %v", err)
		}
		if want := []string{"req-1", "req-2"}; !slices.Equal(b.jupyter.context, want) {
			t.Errorf("request ids = %q, want %q", b.jupyter.context, want)
		}
	})
}

func TestNotesBecomeInformation(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		b.box.accept("noon", dm.Create, dm.WantCreated, nil, "jupyter/report")
		b.box.apps["noon"].tip().Notes = []string{"overrides of x were ignored", "and of y"}
		b.d.Wake("noon")
		synctest.Wait()
		wantOutcome(t, b.box.last(t, "noon"), dm.Created, 1, "overrides of x were ignored; and of y")
	})
}

func TestAudienceIsResolved(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		audience []dm.Subject
		want     []dm.UserName
	}{
		{"none means the owner", nil, []dm.UserName{"ana"}},
		{"user", []dm.Subject{"user:zoe"}, []dm.UserName{"zoe"}},
		{"group in byte order", []dm.Subject{"group:class-7"}, []dm.UserName{"ana", "bob"}},
		{"each once", []dm.Subject{"group:class-7", "user:bob", "group:staff"}, []dm.UserName{"ana", "bob", "zoe"}},
		{"unknown group", []dm.Subject{"group:none", "user:bob"}, []dm.UserName{"bob"}},
		{"everyone, workspaces too", []dm.Subject{dm.Everyone}, []dm.UserName{"ana", "bob", "kim", "paula", "root", "zoe"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			withBench(t, nil, func(b *bench) {
				b.box.users = []dm.UserName{"kim", "ana"}
				b.box.accept("noon", dm.Create, dm.WantCreated, c.audience, "jupyter/report")
				b.d.Wake("noon")
				synctest.Wait()
				if r, _ := b.jupyter.standing("noon"); !slices.Equal(r.Users, c.want) {
					t.Errorf("users = %q, want %q", r.Users, c.want)
				}
			})
		})
	}
}

func TestFailedCreateIsRolledBack(t *testing.T) {
	t.Parallel()
	const text = `Error creating noon Invalid, details: "the engine refuses"`
	withBench(t, nil, func(b *bench) {
		b.oozie.on(func(op string) (bool, error) {
			if op == "apply" {
				return true, errRefused // and yet something was made
			}
			return false, nil
		})
		got := b.do("noon", dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
		wantOutcome(t, got, dm.NotCreated, 0, text)
		b.wantCalls("apply jupyter created", "apply oozie created", "destroy jupyter", "destroy oozie")
		if len(got.Records) != 0 {
			t.Errorf("records = %v, want none", got.Records)
		}
		for _, p := range []*fakePlugin{b.jupyter, b.oozie} {
			if _, ok := p.standing("noon"); ok {
				t.Errorf("%s was left standing", p.kind)
			}
		}

		b.oozie.onCall(nil)
		wantOutcome(t, b.do("noon", dm.Create, dm.WantCreated, "jupyter/report"), dm.Created, 2, "")
	})
}

func TestFailedCreateClearsWhatACrashLeft(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		// The process before this one applied oozie and ended.
		b.oozie.stands["noon"] = dm.ApplyRequest{}
		b.jupyter.on(func(op string) (bool, error) { return false, errRefused })
		b.do("noon", dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
		if _, ok := b.oozie.standing("noon"); ok {
			t.Error("what no record tells of was left standing")
		}
	})
}

func TestCreateThatCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		b.oozie.on(func(op string) (bool, error) { return false, errRefused })
		b.jupyter.on(func(op string) (bool, error) {
			if op == "destroy" {
				return false, errDown
			}
			return false, nil
		})
		got := b.do("noon", dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
		wantOutcome(t, got, dm.NotCreated, 0, `Error creating noon Invalid, details: "the engine refuses"; it could not be taken back, details: "the engine is down"`)
		if types := recordTypes(got); types != "jupyter" {
			t.Errorf("records of %q, want jupyter so that the next change can clear it", types)
		}
		if b.jupyter.calls != 1+5 {
			t.Errorf("jupyter was called %d times, want one apply and five attempts to destroy", b.jupyter.calls)
		}
		b.jupyter.onCall(nil)
		b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
	})
}

func TestFailedChangePutsBackWhatWasInEffect(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		from  dm.WantedState // state before
		verb  dm.Verb
		to    dm.WantedState
		text  string
		calls []string
	}{
		{"change while created", dm.WantCreated, dm.Change, dm.WantCreated, "changing",
			[]string{"apply jupyter created", "apply oozie created", "apply jupyter created", "destroy oozie"}},
		{"change while started", dm.WantStarted, dm.Change, dm.WantStarted, "changing",
			[]string{"apply jupyter started", "apply oozie started", "apply jupyter started", "destroy oozie"}},
		{"rollback", dm.WantCreated, dm.Rollback, dm.WantCreated, "rolling back",
			[]string{"apply jupyter created", "apply oozie created", "apply jupyter created", "destroy oozie"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			withBench(t, nil, func(b *bench) {
				b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
				before := 1
				if c.from == dm.WantStarted {
					b.quiet("noon", dm.Start, dm.WantStarted)
					before = 2
				}
				b.oozie.on(func(op string) (bool, error) {
					if op == "apply" {
						return true, errRefused
					}
					return false, nil
				})
				got := b.do("noon", c.verb, c.to, "jupyter/report", "oozie/nightly")
				wantOutcome(t, got, c.from.Settled(), before, fmt.Sprintf(`Error %s noon Invalid, details: "the engine refuses"`, c.text))
				b.wantCalls(c.calls...)
				if r, _ := b.jupyter.standing("noon"); r.Desired != got.Effective || r.State != c.from {
					t.Errorf("jupyter stands at %s, %s; want what was in effect, %s", r.Desired, r.State, c.from)
				}
				if types := recordTypes(got); types != "jupyter" {
					t.Errorf("records of %q, want jupyter", types)
				}
			})
		})
	}
}

func TestFailedStartAndStopKeepTheStateBefore(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
		refuse := func(state dm.WantedState) {
			b.oozie.onCall(func(_ context.Context, _ string, app dm.ApplicationName, nth int) (bool, error) {
				if nth == 1 {
					return false, errRefused
				}
				return false, nil
			})
		}
		refuse(dm.WantStarted)
		wantOutcome(t, b.do("noon", dm.Start, dm.WantStarted), dm.Created, 1, `Error starting noon Invalid, details: "the engine refuses"`)
		b.wantCalls("apply jupyter started", "apply oozie started", "apply jupyter created", "apply oozie created")

		b.quiet("noon", dm.Start, dm.WantStarted)
		refuse(dm.WantCreated)
		wantOutcome(t, b.do("noon", dm.Stop, dm.WantCreated), dm.Started, 3, `Error stopping noon Invalid, details: "the engine refuses"`)
		b.wantCalls("apply jupyter created", "apply oozie created", "apply jupyter started", "apply oozie started")
	})
}

func TestDestroyGoesOnPastFailures(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
		b.quiet("noon", dm.Start, dm.WantStarted)
		b.jupyter.on(func(string) (bool, error) { return false, errRefused })
		got := b.do("noon", dm.Destroy, dm.WantDestroyed)
		wantOutcome(t, got, dm.Started, 2, `Error deleting noon Invalid, details: "the engine refuses"`)
		b.wantCalls("destroy jupyter", "destroy oozie")
		if types := recordTypes(got); types != "jupyter" {
			t.Errorf("records of %q, want what is left", types)
		}

		b.jupyter.on(func(string) (bool, error) { return false, dm.Errorf(dm.NotFound, "engine", "no such thing") })
		wantOutcome(t, b.do("noon", dm.Destroy, dm.WantDestroyed), dm.NotCreated, 0, "")
	})
}

func TestUnregisteredTypeSettlesAtOnce(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		got := b.do("noon", dm.Create, dm.WantCreated, "jupyter/report", "weaver/loom")
		wantOutcome(t, got, dm.NotCreated, 0, `Error creating noon Invalid, details: "no plugin is registered for the component type "weaver""`)
		b.wantCalls("destroy jupyter")
	})
}

func TestFlinkStreamingIsFlink(t *testing.T) {
	t.Parallel()
	withBench(t, func(cfg *DispatcherConfig) {
		lookup := cfg.Plugins
		cfg.Plugins = func(kind dm.ComponentType) (dm.Plugin, bool) {
			if kind == "flink" {
				return lookup("oozie")
			}
			return lookup(kind)
		}
	}, func(b *bench) {
		if got := b.do("noon", dm.Create, dm.WantCreated, "flinkStreaming/job"); recordTypes(got) != "flinkStreaming" {
			t.Errorf("records of %q, want the package's spelling (%s)", recordTypes(got), got.Information)
		}
	})
}

func TestPassingErrorsAreTriedAgain(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		err   error
		fails int
		calls int
		want  string
	}{
		{"unavailable, then well", errDown, 4, 5, ""},
		{"not a dm.Error, then well", errBare, 1, 2, ""},
		{"unavailable for ever", errDown, 99, 5, `Error starting noon Unavailable, details: "the engine is down"`},
		{"internal for ever, details stay inside", errBare, 99, 5, `Error starting noon Internal, details: "internal error"`},
		{"not found settles at once", dm.Errorf(dm.NotFound, "x", "no queue"), 1, 1, `Error starting noon NotFound, details: "no queue"`},
		{"too large settles at once", dm.Errorf(dm.TooLarge, "x", "too big"), 1, 1, `Error starting noon TooLarge, details: "too big"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			withBench(t, nil, func(b *bench) {
				b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
				started := 0
				b.jupyter.onCall(func(context.Context, string, dm.ApplicationName, int) (bool, error) {
					if started++; started <= min(c.fails, c.calls) {
						return false, c.err
					}
					return false, nil
				})
				phase, effective, undo := dm.Started, 2, 0
				if c.want != "" {
					phase, effective, undo = dm.Created, 1, 1
				}
				wantOutcome(t, b.do("noon", dm.Start, dm.WantStarted), phase, effective, c.want)
				if started != c.calls+undo {
					t.Errorf("the plugin was called %d times, want %d and %d to take back", started, c.calls, undo)
				}
			})
		})
	}
}

func TestPausesGrowAndScansRespectThem(t *testing.T) {
	t.Parallel()
	withBench(t, func(cfg *DispatcherConfig) { cfg.Retry = Retry{Base: 10 * time.Second}; cfg.Scan = 15 * time.Second }, func(b *bench) {
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

func TestPanicBecomesAFailure(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	withBench(t, func(cfg *DispatcherConfig) {
		cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
		cfg.Retry.Attempts = 2
	}, func(b *bench) {
		b.jupyter.on(func(op string) (bool, error) {
			if op == "apply" {
				panic("index out of range")
			}
			return false, nil
		})
		wantOutcome(t, b.do("noon", dm.Create, dm.WantCreated, "jupyter/report"), dm.NotCreated, 0,
			`Error creating noon Internal, details: "the plugin for jupyter failed unexpectedly"`)
		b.jupyter.onCall(nil)
		b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
	})
	for _, want := range []string{"index out of range", "standing.go", "request_id=req-1", "phase=NOTCREATED", "phase=CREATED"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
}

func TestPluginThatNeverEndsIsTimedOut(t *testing.T) {
	t.Parallel()
	withBench(t, func(cfg *DispatcherConfig) { cfg.Timeout = time.Minute; cfg.Retry.Attempts = 1 }, func(b *bench) {
		b.jupyter.onCall(func(ctx context.Context, op string, _ dm.ApplicationName, _ int) (bool, error) {
			if op == "apply" {
				<-ctx.Done()
				return false, ctx.Err()
			}
			return false, nil
		})
		wantOutcome(t, b.do("noon", dm.Create, dm.WantCreated, "jupyter/report"), dm.NotCreated, 0,
			`Error creating noon Unavailable, details: "the plugin for jupyter did not finish within 1m0s"`)
	})
}

func TestStaleOutcomeLooksAgain(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.jupyter.onCall(func(_ context.Context, _ string, _ dm.ApplicationName, nth int) (bool, error) {
			if nth == 1 { // main moves on while the change is applied
				b.box.accept("noon", dm.Change, dm.WantStarted, nil, "oozie/nightly")
			}
			return false, nil
		})
		b.box.accept("noon", dm.Change, dm.WantCreated, nil, "jupyter/report", "jupyter/other")
		b.d.Wake("noon")
		synctest.Wait()
		got := b.box.last(t, "noon")
		wantOutcome(t, got, dm.Started, 3, "")
		b.wantCalls("apply jupyter created", "apply oozie started", "destroy jupyter")
		if n := len(b.box.apps["noon"].outcomes); n != 2 {
			t.Errorf("%d outcomes, want none of the change that was overtaken", n)
		}
	})
}

func TestWakeDuringWorkIsNotLost(t *testing.T) {
	t.Parallel()
	withBench(t, func(cfg *DispatcherConfig) { cfg.Scan = 1000 * time.Hour }, func(b *bench) {
		entered, leave := make(chan struct{}), make(chan struct{})
		b.box.fail = nil
		b.d.cfg.Step = func(name string) {
			if name == stepObserved {
				entered <- struct{}{}
				<-leave
			}
		}
		b.box.accept("noon", dm.Create, dm.WantCreated, nil, "jupyter/report")
		b.d.Wake("noon")
		<-entered // observed, not yet released: exactly where a wake-up could fall through
		b.box.accept("noon", dm.Start, dm.WantStarted, nil)
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
		b.box.accept("before", dm.Create, dm.WantCreated, nil, "jupyter/report")
		b.run()
		wantOutcome(t, b.box.last(t, "before"), dm.Created, 1, "")
		b.box.accept("later", dm.Create, dm.WantCreated, nil, "jupyter/report")
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
	withBench(t, func(cfg *DispatcherConfig) { cfg.Workers = 1 }, func(b *bench) {
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

func TestManyApplicationsAtOnce(t *testing.T) {
	t.Parallel()
	withBench(t, func(cfg *DispatcherConfig) { cfg.Workers = 4 }, func(b *bench) {
		slow := func(context.Context, string, dm.ApplicationName, int) (bool, error) {
			time.Sleep(time.Second)
			return false, nil
		}
		b.jupyter.onCall(slow)
		b.oozie.onCall(slow)
		apps := make([]dm.ApplicationName, 20)
		for i := range apps {
			apps[i] = dm.ApplicationName(fmt.Sprintf("app-%02d", i))
			b.box.accept(apps[i], dm.Create, dm.WantCreated, nil, "jupyter/report", "oozie/nightly")
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
		b.box.accept("noon", dm.Create, dm.WantCreated, nil, "jupyter/report")
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
	withBench(t, func(cfg *DispatcherConfig) { cfg.Step = func(name string) { got = append(got, name) } }, func(b *bench) {
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
	withBench(t, func(cfg *DispatcherConfig) { cfg.Registerer = registry }, func(b *bench) {
		b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.jupyter.on(func(string) (bool, error) { return false, errDown })
		b.do("noon", dm.Destroy, dm.WantDestroyed)
		for metric, want := range map[string]float64{
			`dm_dispatch_outcomes_total{create,success}`:  1,
			`dm_dispatch_outcomes_total{destroy,retry}`:   4,
			`dm_dispatch_outcomes_total{destroy,failure}`: 1,
			`dm_dispatch_duration_seconds{create}`:        1,
			`dm_dispatch_pending{}`:                       0,
		} {
			if got := measured(t, registry, metric); got != want {
				t.Errorf("%s = %v, want %v", metric, got, want)
			}
		}
	})
	if _, err := NewDispatcher(DispatcherConfig{Outbox: newFakeOutbox(), Directory: directory, Registerer: registry,
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

func TestNewDispatcherChecks(t *testing.T) {
	t.Parallel()
	full := DispatcherConfig{Outbox: newFakeOutbox(), Directory: directory, Plugins: func(dm.ComponentType) (dm.Plugin, bool) { return nil, false }}
	for want, spoil := range map[string]func(*DispatcherConfig){
		"outbox":    func(c *DispatcherConfig) { c.Outbox = nil },
		"plugins":   func(c *DispatcherConfig) { c.Plugins = nil },
		"directory": func(c *DispatcherConfig) { c.Directory = nil },
		"negative":  func(c *DispatcherConfig) { c.Workers = -1 },
	} {
		cfg := full
		spoil(&cfg)
		if _, err := NewDispatcher(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("spoiled %s: %v", want, err)
		}
	}
}
