package dispatch

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// begin accepts a change, wakes the dispatcher and lets an hour pass.
func (b *bench) begin(app dm.ApplicationName, verb dm.Verb, state dm.WantedState, components ...string) {
	b.Helper()
	b.box.accept(app, verb, state, components...)
	b.d.Wake(app)
	time.Sleep(time.Hour)
	synctest.Wait()
}

// wantWaiting fails unless readers see that app's change waits, and why.
func (b *bench) wantWaiting(app dm.ApplicationName, why string) {
	b.Helper()
	if got := b.box.waiting(app); got != why {
		b.Errorf("%s waits for %q, want %q", app, got, why)
	}
	if !slices.Contains(b.box.Pending(), app) {
		b.Errorf("%s has an outcome, want none while it waits", app)
	}
}

// TestShortageWhileTakingBack shows that a failed create is not told as such
// before what it left is gone, however long that takes.
func TestShortageWhileTakingBack(t *testing.T) {
	t.Parallel()
	for _, short := range []error{errDown, syscall.ENFILE, fmt.Errorf("pack: %w", syscall.ENOMEM)} {
		t.Run(short.Error(), func(t *testing.T) {
			t.Parallel()
			withBench(t, nil, func(b *bench) {
				var over atomic.Bool
				b.oozie.on(func(string) (bool, error) { return false, errRefused })
				b.jupyter.on(func(op string) (bool, error) {
					if op == "destroy" && !over.Load() {
						return false, short
					}
					return false, nil
				})
				b.begin("noon", dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
				if b.box.waiting("noon") == "" {
					t.Error("nobody is told that it waits")
				}
				over.Store(true)
				time.Sleep(time.Minute)
				synctest.Wait()
				got := b.box.last(t, "noon")
				wantOutcome(t, got, dm.NotCreated, 0, `Error creating noon Invalid, details: "the engine refuses"`)
				if _, stands := b.jupyter.standing("noon"); stands || got.Left || len(got.Records) > 0 {
					t.Errorf("jupyter stands: %t, outcome %+v", stands, got)
				}
			})
		})
	}
}

// TestWaitingChangeIsOvertaken lets another change come in the place of one that
// waits, in the same process and after a restart that forgot what was made.
func TestWaitingChangeIsOvertaken(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name       string
		verb       dm.Verb
		state      dm.WantedState
		components []string
		phase      dm.Phase
		effective  int
		stands     map[dm.ComponentType]bool
	}{
		{"destroyed", dm.Destroy, dm.WantDestroyed, []string{"jupyter/report", "oozie/nightly"}, dm.NotCreated, 0, nil},
		{"changed", dm.Change, dm.WantCreated, []string{"oozie/nightly"}, dm.Created, 2, map[dm.ComponentType]bool{"oozie": true}},
	}
	for _, c := range cases {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %t", c.name, restart), func(t *testing.T) {
				t.Parallel()
				withBench(t, nil, func(b *bench) {
					// jupyter is made and says that it was not, oozie is away.
					b.jupyter.on(func(op string) (bool, error) { return false, nil })
					b.oozie.on(func(string) (bool, error) { return false, errDown })
					b.begin("noon", dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
					b.wantWaiting("noon", "Waiting: the engine is down; retrying until it works")
					if restart {
						b.stop()
						var err error
						if b.d, err = New(b.d.cfg); err != nil {
							t.Fatal(err)
						}
						b.run()
					}
					b.oozie.onCall(nil)
					got := b.do("noon", c.verb, c.state, c.components...)
					wantOutcome(t, got, c.phase, c.effective, "")
					for _, p := range []*fakePlugin{b.jupyter, b.oozie} {
						if _, stands := p.standing("noon"); stands != c.stands[p.kind] {
							t.Errorf("%s stands: %t", p.kind, stands)
						}
					}
				})
			})
		}
	}
}

// TestLeftoversAreTakenBackAtTheNextStart covers what failed in a way that does
// not pass by itself: it is settled, and the next start finishes the work.
func TestLeftoversAreTakenBackAtTheNextStart(t *testing.T) {
	t.Parallel()
	restart := func(b *bench) {
		b.stop()
		var err error
		if b.d, err = New(b.d.cfg); err != nil {
			b.Fatal(err)
		}
		b.run()
		time.Sleep(time.Hour)
		synctest.Wait()
	}
	t.Run("create", func(t *testing.T) {
		t.Parallel()
		withBench(t, nil, func(b *bench) {
			broken := true
			b.oozie.on(func(string) (bool, error) { return false, errRefused })
			b.jupyter.on(func(op string) (bool, error) {
				if op == "destroy" && broken {
					return false, errBare
				}
				return false, nil
			})
			b.begin("noon", dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
			restart(b) // and it is still broken
			if got := b.box.last(t, "noon"); !got.Left {
				t.Fatalf("outcome %+v, want one that tells of what is left", got)
			}
			broken = false
			b.oozie.onCall(nil)
			restart(b)
			got := b.box.last(t, "noon")
			wantOutcome(t, got, dm.NotCreated, 0, `Error creating noon Invalid, details: "the engine refuses"; what it left was taken back later`)
			if _, stands := b.jupyter.standing("noon"); stands || got.Left || len(got.Records) > 0 {
				t.Errorf("jupyter stands: %t, outcome %+v", stands, got)
			}
			outcomes := len(b.box.apps["noon"].outcomes)
			restart(b)
			if n := len(b.box.apps["noon"].outcomes); n != outcomes {
				t.Errorf("another start recorded %d outcomes more", n-outcomes)
			}
		})
	})
	t.Run("create, and then its clearing", func(t *testing.T) {
		t.Parallel()
		withBench(t, nil, func(b *bench) {
			b.oozie.on(func(string) (bool, error) { return false, errRefused })
			b.jupyter.on(func(op string) (bool, error) {
				if op == "destroy" {
					return false, errBare
				}
				return false, nil
			})
			b.begin("noon", dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
			b.begin("noon", dm.Destroy, dm.WantDestroyed, "jupyter/report", "oozie/nightly")
			b.jupyter.onCall(nil)
			b.oozie.onCall(nil)
			restart(b)
			got := b.box.last(t, "noon")
			if _, stands := b.jupyter.standing("noon"); stands || len(got.Records) > 0 {
				t.Errorf("jupyter stands: %t, outcome %+v", stands, got)
			}
			outcomes := len(b.box.apps["noon"].outcomes)
			restart(b)
			if n := len(b.box.apps["noon"].outcomes); n != outcomes {
				t.Errorf("another start recorded %d outcomes more", n-outcomes)
			}
		})
	})
	t.Run("change", func(t *testing.T) {
		t.Parallel()
		withBench(t, nil, func(b *bench) {
			b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
			b.jupyter.onCall(func(_ context.Context, _ string, _ dm.ApplicationName, nth int) (bool, error) {
				if nth == 1 {
					return true, errRefused // made all the same
				}
				return false, errBare
			})
			b.begin("noon", dm.Change, dm.WantCreated, "jupyter/other")
			b.jupyter.onCall(nil)
			restart(b)
			got := b.box.last(t, "noon")
			wantOutcome(t, got, dm.Created, 1, `Error changing noon Invalid, details: "the engine refuses"; what it left was taken back later`)
			if r, _ := b.jupyter.standing("noon"); r.Desired != got.Effective {
				t.Errorf("jupyter stands at %s, want what is in effect", r.Desired)
			}
		})
	})
}

// TestErrorSaysWhenToTryAgain lets an engine name the time before which asking it
// again is of no use.
func TestErrorSaysWhenToTryAgain(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		until, calls := time.Now().Add(3*time.Hour), 0
		b.jupyter.on(func(string) (bool, error) {
			if calls++; time.Now().Before(until) {
				return false, dm.Wrap("x", dm.Errorf(dm.Unavailable, "engine", "the queue is closed").NotBefore(until))
			}
			return false, nil
		})
		b.begin("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.wantWaiting("noon", "Waiting: the queue is closed; retrying at "+until.UTC().Format(time.RFC3339))
		time.Sleep(2*time.Hour + time.Minute)
		synctest.Wait()
		wantOutcome(t, b.box.last(t, "noon"), dm.Created, 1, "")
		if calls != 2 {
			t.Errorf("the plugin was called %d times, want once now and once then", calls)
		}
	})
}

// TestWhatNobodyForesawWaitsAWhile shows that a fault which may be one of the
// server leaves a way out at once, and is given up at last.
func TestWhatNobodyForesawWaitsAWhile(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		var last time.Time
		b.jupyter.on(func(op string) (bool, error) {
			if op == "apply" {
				last = time.Now()
				return false, errBare
			}
			return false, nil
		})
		b.box.accept("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.d.Wake("noon")
		time.Sleep(time.Minute)
		synctest.Wait()
		b.wantWaiting("noon", "Waiting: internal error; retrying for half an hour")
		wantOutcome(t, b.do("noon", dm.Destroy, dm.WantDestroyed, "jupyter/report"), dm.NotCreated, 0, "")

		began := time.Now()
		wantOutcome(t, b.do("noon", dm.Create, dm.WantCreated, "jupyter/report"), dm.NotCreated, 0,
			`Error creating noon Internal, details: "internal error"`)
		if tried := last.Sub(began); tried < 15*time.Minute || tried > time.Hour {
			t.Errorf("it was tried for %s, want about half an hour", tried)
		}
	})
}

// TestPluginThatHeedsNoDeadline hangs for hours in a server with one worker.
func TestPluginThatHeedsNoDeadline(t *testing.T) {
	t.Parallel()
	withBench(t, func(cfg *Config) { cfg.Workers, cfg.Timeout = 1, time.Minute }, func(b *bench) {
		release := make(chan struct{})
		b.jupyter.onCall(func(_ context.Context, _ string, app dm.ApplicationName, nth int) (bool, error) {
			if app == "noon" && nth == 1 {
				<-release
			}
			return false, nil
		})
		b.box.accept("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.d.Wake("noon")
		time.Sleep(time.Minute + lingering)
		synctest.Wait()
		b.wantWaiting("noon", "Waiting: the plugin for jupyter did not finish within 1m0s; retrying until it works")
		b.quiet("other", dm.Create, dm.WantCreated, "jupyter/report")
		b.wantWaiting("noon", "Waiting: the plugin for jupyter has not returned yet from an earlier call; retrying until it works")
		if b.jupyter.calls != 2 {
			t.Errorf("the plugin was called %d times, want no second one for noon while the first goes on", b.jupyter.calls)
		}
		close(release)
		time.Sleep(time.Minute)
		synctest.Wait()
		wantOutcome(t, b.box.last(t, "noon"), dm.Created, 1, "")
	})
}

// TestStopOfTheServerDoesNotWaitForAPlugin ends a dispatcher in which one hangs.
func TestStopOfTheServerDoesNotWaitForAPlugin(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		release := make(chan struct{})
		b.jupyter.on(func(string) (bool, error) { <-release; return false, nil })
		b.box.accept("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.d.Wake("noon")
		synctest.Wait()
		began := time.Now()
		b.stop()
		if took := time.Since(began); took > lingering {
			t.Errorf("the stop took %s, want at most %s", took, lingering)
		}
		close(release)
	})
}
