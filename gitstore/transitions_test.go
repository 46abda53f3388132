package gitstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
)

// recorded are those of the events that stand in the record.
func recorded(list []dm.Event) []dm.Event {
	return slices.DeleteFunc(slices.Clone(list), func(e dm.Event) bool { return e.Ref == "" })
}

// TestEventsComeFromTheRecord does everything that there is to tell, and wants
// the same events after a restart as while they happened.
func TestEventsComeFromTheRecord(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), replacing)
	v1 := h.deployed("ana", "flow-1.0.0", "one")
	v2 := h.deployed("ana", "flow-1.1.0", "two")
	h.publish("ana", "flow-1.0.0.tar.gz", notebook("flow-1.0.0", "replaced"))
	check(t, h.Withdraw(ctx, as("ana"), file(t, "flow-1.0.0.tar.gz")))
	h.publish("ana", "flow-1.0.0.tar.gz", notebook("flow-1.0.0", "again"))
	check(t, h.UndeployPackage(ctx, as("root"), "flow-1.1.0"))
	check(t, h.DeployPackage(ctx, as("ana"), "flow-1.1.0"))
	check(t, h.DeployPackage(ctx, as("bob"), "gone-1.0.0")) // fails, and is recorded
	check(t, h.DeployPackage(ctx, as("bob"), "gone-1.0.0")) // says nothing new
	check(t, h.DeployPackage(ctx, as("bob"), "no id"))      // can't be recorded
	h.created("ana", "noon-run", v1)
	reason := as("ana")
	reason.Reason = "why not"
	check(t, h.Change(ctx, reason, "noon-run", dm.Edit{Package: &v2}))
	h.settle("noon-run")
	check(t, h.Start(ctx, as("ana"), "noon-run"))
	h.settle("noon-run")
	check(t, h.Rollback(ctx, as("root"), "noon-run", 1))
	h.settle("noon-run")
	check(t, h.Stop(ctx, as("ana"), "noon-run"))
	h.settle("noon-run")
	check(t, h.Destroy(ctx, as("ana"), "noon-run", false))
	h.settle("noon-run")
	h.created("bob", "noon-run", v1) // another life, another owner

	live := h.told(0)
	want := recorded(live)
	if len(live) != len(want)+2 {
		t.Errorf("%d events of %d stand in no record, want two", len(live)-len(want), len(live))
	}
	var lines []string
	values := map[string]dm.Revision{} // of each ref
	for i, e := range want {
		lines = append(lines, fmt.Sprintf("%s %s %s %s", e.ID, e.Verb, e.State, e.User))
		repository, ref := "packages/flow.git", e.Ref
		switch {
		case e.Kind == dm.ApplicationEvent:
			repository = "applications/noon-run.git"
		case strings.HasPrefix(e.ID, "gone"):
			repository = "packages/gone.git"
		}
		if i > 0 && e.Seq <= want[i-1].Seq {
			t.Errorf("%d follows %d", e.Seq, want[i-1].Seq)
		}
		if before := values[repository+ref]; e.Old != before {
			t.Errorf("event %d moves %s from %q, it was at %q", e.Seq, ref, e.Old, before)
		}
		values[repository+ref] = e.New
		if e.New == "" {
			continue // the tag around the one that was taken away has the number
		}
		if text := h.git(repository, "cat-file", "-p", string(e.New)); !strings.Contains(text, fmt.Sprintf("\nDM-Seq: %d\n", e.Seq)) {
			t.Errorf("event %d is not the one of %s:\n%s", e.Seq, e.New, text)
		}
	}
	story := []string{
		"flow-1.0.0 publish CREATED ana", "flow-1.0.0 deploy DEPLOYED ana", "flow-1.1.0 publish CREATED ana", "flow-1.1.0 deploy DEPLOYED ana",
		"flow-1.0.0 publish CREATED ana", "flow-1.0.0 withdraw NOTCREATED ana", "flow-1.0.0 publish CREATED ana",
		"flow-1.1.0 undeploy NOTDEPLOYED root", "flow-1.1.0 deploy DEPLOYED ana", "gone-1.0.0 deploy NOTDEPLOYED bob",
		"noon-run create CREATING ana", "noon-run create CREATED ana", "noon-run change CREATING ana", "noon-run change CREATED ana",
		"noon-run start STARTING ana", "noon-run start STARTED ana", "noon-run rollback STARTING root", "noon-run rollback STARTED root",
		"noon-run stop STOPPING ana", "noon-run stop CREATED ana", "noon-run destroy DESTROYING ana", "noon-run destroy NOTCREATED ana",
		"noon-run create CREATING bob", "noon-run create CREATED bob",
	}
	if !slices.Equal(lines, story) {
		t.Errorf("events:\n%s\nwant:\n%s", strings.Join(lines, "\n"), strings.Join(story, "\n"))
	}

	h.stop()
	h = open(t, h.dir, replacing)
	for _, after := range []uint64{0, 1, want[7].Seq, want[len(want)-2].Seq} {
		rest := slices.DeleteFunc(slices.Clone(want), func(e dm.Event) bool { return e.Seq <= after })
		got := h.told(after)
		for i := range max(len(got), len(rest)) {
			if i >= len(got) || i >= len(rest) || got[i] != rest[i] {
				t.Fatalf("after %d and a restart event %d of %d is\n%+v, want %d like\n%+v", after, i, len(got), got[min(i, len(got)-1)], len(rest), rest[min(i, len(rest)-1)])
			}
		}
	}
	check(t, h.Start(ctx, as("bob"), "noon-run"))
	h.settle("noon-run")
	if next := h.told(want[len(want)-1].Seq); len(next) != 2 || next[1].State != dm.Started || next[0].Old != values["applications/noon-run.gitrefs/heads/main"] {
		t.Errorf("after the restart came %+v", next)
	}
	if _, err := h.Events(ctx, h.Newest()+100, 10); dm.KindOf(err) != dm.Invalid {
		t.Errorf("a number that is not given yet: %v", err)
	}
	h.sound()
}

// TestOvertakenChangeHasTheNumberOfItsMove: the outcomes that one move of the ref
// records are one event.
func TestOvertakenChangeHasTheNumberOfItsMove(t *testing.T) {
	t.Parallel()
	h := openStill(t, t.TempDir())
	ref := h.deployed("ana", "flow-1.0.0", "one")
	observe := func(phase dm.Phase) {
		t.Helper()
		w, ok, err := h.Work(ctx, "noon-run")
		if err != nil || !ok {
			t.Fatal(err, ok)
		}
		check(t, h.Observe(ctx, "noon-run", dm.Observation{Desired: w.Desired, Effective: w.Desired, Phase: phase}))
	}
	check(t, h.Create(ctx, as("ana"), dm.Spec{Name: "noon-run", Package: ref}))
	observe(dm.Created)
	check(t, h.Start(ctx, as("ana"), "noon-run"))
	h.Waiting("noon-run", "", "the engine is down")
	check(t, h.Change(ctx, as("ana"), "noon-run", dm.Edit{Package: &ref}))
	observe(dm.Started)
	want := h.told(0)
	if last := want[len(want)-1]; last.State != dm.Started || last.Verb != dm.Change || len(want) != 7 {
		t.Errorf("%d events, the last is %+v", len(want), last)
	}
	if got := h.git("applications/noon-run.git", "rev-list", "--count", "refs/observed/head"); got != "3" {
		t.Errorf("%s outcomes, want three", got)
	}
	h.stop()
	h = openStill(t, h.dir)
	if got := h.told(0); !slices.Equal(got, want) {
		t.Errorf("after a restart:\n%+v\nwant:\n%+v", got, want)
	}
}

// TestNumbersOfFailuresAreGivenUp: a change that could not be recorded holds
// nobody up.
func TestNumbersOfFailuresAreGivenUp(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ref := h.deployed("ana", "flow-1.0.0", "one")
	write(t, h.dir+"/applications/noon-run.git/refs", "in the way")
	if err := h.Create(ctx, as("ana"), dm.Spec{Name: "noon-run", Package: ref}); err == nil {
		t.Fatal("the create worked")
	}
	h.created("ana", "evening-run", ref)
	if got := h.told(2); len(got) != 2 || got[0].ID != "evening-run" || got[0].Seq <= 2 || h.Newest() != got[1].Seq {
		t.Errorf("the newest is %d: %+v", h.Newest(), got)
	}
}

// TestNumbersGoOnWhatCanBeRead starts without the repository that has the highest
// numbers, twice, and once more with a clock that was set back; it is changed when
// it is there again.
func TestNumbersGoOnWhatCanBeRead(t *testing.T) {
	t.Parallel()
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "app.git")
	h := open(t, dir)
	v := h.deployed("ana", "flow-1.0.0", "one")
	h.created("bob", "other", v)
	h.created("ana", "app", v)
	last := h.Newest()
	for _, back := range []time.Duration{0, 0, 5 * time.Minute} {
		h.stop()
		check(t, os.Rename(dir+"/applications/app.git", elsewhere))
		h = open(t, dir, func(c *gitstore.Config) { c.Clock = func() time.Time { return time.Now().Add(-back) } })
		if list := h.Service().SetAside(); len(list) != 1 {
			t.Fatalf("out of service: %v, want one", list)
		}
		check(t, os.Rename(elsewhere, dir+"/applications/app.git"))
		h.Service().Repair(ctx)
		h.inService("when it is there again")
		check(t, h.Start(ctx, as("ana"), "app"))
		h.settle("app")
		check(t, h.Stop(ctx, as("ana"), "app"))
		h.settle("app")
		list := h.told(last)
		if len(list) != 4 || h.Newest() != list[3].Seq {
			t.Errorf("with the clock set back by %v came %+v after %d", back, list, last)
		}
		last = h.Newest()
		h.sound()
	}
}

func TestEventsAreWaitedFor(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	came := make(chan []dm.Event)
	go func() {
		list, err := h.Events(ctx, h.begun, 10)
		if err != nil {
			t.Error(err)
		}
		came <- list
	}()
	h.publish("ana", "flow-1.0.0.tgz", notebook("flow-1.0.0", "one"))
	if list := <-came; len(list) != 1 || list[0].ID != "flow-1.0.0" {
		t.Errorf("got %+v", list)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := h.Events(ended, h.Newest(), 10); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	for e, want := range map[dm.Event]dm.UserName{
		{Kind: dm.PackageEvent, ID: "flow-1.0.0"}: "ana", {Kind: dm.PackageEvent, ID: "no id"}: "", {Kind: dm.ApplicationEvent, ID: "never"}: "",
	} {
		if got := h.Concerns(e); got.Owner != want {
			t.Errorf("%s concerns %+v, want the owner %q", e.ID, got, want)
		}
	}
}

func TestCursorsAreKept(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	const name = "package http://user:hush@console/"
	if _, ok, err := h.Cursor(name); ok || err != nil {
		t.Errorf("a cursor before there is one: %v, %v", ok, err)
	}
	check(t, h.KeepCursor(name, 7))
	check(t, h.KeepCursor(name, 1<<40))
	write(t, filepath.Join(h.dir, "cursors", "abc-123"), "half") // of a killed server
	h.stop()
	h = open(t, h.dir)
	if n, ok, err := h.Cursor(name); n != 1<<40 || !ok || err != nil {
		t.Errorf("got %d, %v, %v", n, ok, err)
	}
	entries, err := os.ReadDir(filepath.Join(h.dir, "cursors"))
	if err != nil || len(entries) != 1 || strings.Contains(entries[0].Name(), "hush") {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	write(t, filepath.Join(h.dir, "cursors", entries[0].Name()), "rubbish")
	if _, ok, err := h.Cursor(name); ok || err != nil {
		t.Errorf("a damaged cursor: %v, %v", ok, err)
	}
	h.sound()
}
