package dispatch

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	dm "github.com/pndaproject/deployment-manager"
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
		b.box.accept("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.box.apps["noon"].tip().Notes = []string{"overrides of x were ignored", "and of y"}
		b.d.Wake("noon")
		synctest.Wait()
		wantOutcome(t, b.box.last(t, "noon"), dm.Created, 1, "overrides of x were ignored; and of y")
	})
}

// fakeMover tells how many components there were and are.
type fakeMover struct{ dm.Plugin }

func (fakeMover) Moved(before, after dm.PluginRecord) string {
	if len(before.Components) == len(after.Components) {
		return ""
	}
	return fmt.Sprintf("%d components became %d", len(before.Components), len(after.Components))
}

// TestMovedFilesAreTold shows that a change which puts files elsewhere says so.
func TestMovedFilesAreTold(t *testing.T) {
	t.Parallel()
	mover := func(cfg *Config) {
		plugins := cfg.Plugins
		cfg.Plugins = func(t dm.ComponentType) (dm.Plugin, bool) {
			p, ok := plugins(t)
			return fakeMover{p}, ok
		}
	}
	withBench(t, mover, func(b *bench) {
		wantOutcome(t, b.do("noon", dm.Create, dm.WantCreated, "jupyter/report", "jupyter/litter"), dm.Created, 1, "")
		wantOutcome(t, b.do("noon", dm.Start, dm.WantStarted, "jupyter/report", "jupyter/litter"), dm.Started, 2, "")
		wantOutcome(t, b.do("noon", dm.Change, dm.WantStarted, "jupyter/report"), dm.Started, 3, "2 components became 1")
	})
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
				return false, errBare
			}
			return false, nil
		})
		got := b.do("noon", dm.Create, dm.WantCreated, "jupyter/report", "oozie/nightly")
		wantOutcome(t, got, dm.NotCreated, 0, `Error creating noon Invalid, details: "the engine refuses"; it could not be taken back, details: "internal error"`)
		if types := recordTypes(got); types != "jupyter" || !got.Left {
			t.Errorf("records of %q, left %t; want jupyter so that it can be cleared", types, got.Left)
		}
		if b.jupyter.calls != 1+16 {
			t.Errorf("jupyter was called %d times, want one apply and sixteen attempts to destroy", b.jupyter.calls)
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
	withBench(t, func(cfg *Config) {
		lookup := cfg.Plugins
		cfg.Plugins = func(kind dm.ComponentType) (dm.Plugin, bool) {
			if kind == "flinkStreaming" {
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
		{"unavailable for long, then well", errDown, 40, 41, ""},
		{"out of descriptors for long, then well", fmt.Errorf("open: %w", syscall.EMFILE), 40, 41, ""},
		{"no process could be started for long, then well", dm.Errorf(dm.Internal, "git", "git failed").Because(&fs.PathError{Op: "fork/exec", Err: syscall.EAGAIN}), 40, 41, ""},
		{"the disk was full for long, then well", dm.Wrap("x", syscall.ENOSPC), 40, 41, ""},
		{"not a dm.Error, then well", errBare, 1, 2, ""},
		{"internal for ever, details stay inside", errBare, 99, 16, `Error starting noon Internal, details: "internal error"`},
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

func TestPanicBecomesAFailure(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	withBench(t, func(cfg *Config) {
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
	withBench(t, func(cfg *Config) { cfg.Timeout = time.Minute }, func(b *bench) {
		b.jupyter.onCall(func(ctx context.Context, op string, _ dm.ApplicationName, _ int) (bool, error) {
			if op == "apply" {
				<-ctx.Done()
				return false, ctx.Err()
			}
			return false, nil
		})
		b.begin("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.wantWaiting("noon", "Waiting: the plugin for jupyter did not finish within 1m0s; retrying until it works")
	})
}

func TestStaleOutcomeLooksAgain(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
		b.jupyter.onCall(func(_ context.Context, _ string, _ dm.ApplicationName, nth int) (bool, error) {
			if nth == 1 { // main moves on while the change is applied
				b.box.accept("noon", dm.Change, dm.WantStarted, "oozie/nightly")
			}
			return false, nil
		})
		b.box.accept("noon", dm.Change, dm.WantCreated, "jupyter/report", "jupyter/other")
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

func TestUnknownActionSettlesAtOnce(t *testing.T) {
	t.Parallel()
	withBench(t, nil, func(b *bench) {
		b.quiet("noon", dm.Create, dm.WantCreated, "jupyter/report")
		wantOutcome(t, b.do("noon", "paint", dm.WantCreated), dm.Created, 1,
			`Error changing noon Invalid, details: "unknown action "paint""`)
	})
}
