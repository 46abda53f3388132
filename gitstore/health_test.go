package gitstore_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
)

// TestHealthInTheRecord lets a job live on in an engine, beside notebooks, and
// follows it through the real dispatcher into the real record.
func TestHealthInTheRecord(t *testing.T) {
	t.Parallel()
	engine := plugintest.NewFakeEngine("sparkStreaming")
	dir := t.TempDir()
	begin := func() *house {
		h, dispatcher := buildWith(t, dir, engine)
		h.run(dispatcher)
		return h
	}
	h := begin()
	h.publish("ana", "flow-1.0.0.tar.gz", archivetest.Tgz(map[string]string{
		"flow-1.0.0/jupyter/report/report.ipynb":   `{"cells":[]}`,
		"flow-1.0.0/sparkStreaming/reader/job.txt": "read",
	}))
	check(t, h.DeployPackage(ctx, as("ana"), "flow-1.0.0"))
	ref, err := dm.ParsePackageRef("flow-1.0.0")
	check(t, err)
	h.created("ana", "app", ref)
	check(t, h.Start(ctx, as("ana"), "app"))
	started := h.settle("app")

	h.becomes(engine, "SUBMITTED")
	h.becomes(engine, "RUNNING")
	count := func() string { return h.git("applications/app.git", "rev-list", "--count", "refs/observed/head") }
	before, asked := count(), engine.Asked()
	for range 5 { // it is looked at again, and nothing is other than before
		engine.Tell("app")
		at := engine.Asked()
		h.until("the engine is asked", func() bool { return engine.Asked() > at })
	}
	if after := count(); after != before {
		t.Errorf("looked at %d times: %s outcomes became %s", engine.Asked()-asked, before, after)
	}

	// The change, its time and its end are what they were.
	page, err := h.ApplicationHistory(ctx, "app", dm.Page{})
	check(t, err)
	if o := page.Changes[0].Outcome; !o.Time.Equal(started.Observed.Time) || o.Information != "" || !o.Succeeded {
		t.Errorf("the history has the outcome %+v, want that of %s", o, started.Observed.Time)
	}
	at, err := h.At(ctx, time.Now(), func(dm.ApplicationName, dm.UserName) bool { return true })
	check(t, err)
	if len(at) != 1 || !at[0].Since.Equal(started.Observed.Time) {
		t.Errorf("in effect are %+v, want app since %s", at, started.Observed.Time)
	}
	log := h.git("applications/app.git", "log", "--format=%(trailers:key=DM-Health,valueonly,separator=)", "refs/observed/head")
	if want := "sparkStreaming/reader is SUBMITTED"; !strings.Contains(log, want) {
		t.Errorf("the log of outcomes lacks %q:\n%s", want, log)
	}
	h.toldOf("sparkStreaming/reader is SUBMITTED")
	h.sound()

	h.stop()
	h = begin() // knows what was recorded, and asks anew
	h.becomes(engine, "RUNNING")
	h.toldOf("sparkStreaming/reader is SUBMITTED") // by the record
	check(t, h.Stop(ctx, as("ana"), "app"))
	h.settle("app")
	h.becomes(engine, "SUSPENDED")
	check(t, h.Destroy(ctx, as("ana"), "app", false))
	h.settle("app")
	if left := engine.Standing(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	h.sound()
}

// toldOf fails unless an event of app has the information.
func (h *house) toldOf(information string) {
	h.t.Helper()
	list, err := h.Events(ctx, 0, 1000)
	check(h.t, err)
	if !slices.ContainsFunc(list, func(e dm.Event) bool {
		return e.ID == "app" && e.State == dm.Started && e.Again && e.Information == information
	}) {
		h.t.Errorf("no event tells that %s", information)
	}
}

// becomes puts the job into a state and waits until readers see it there.
func (h *house) becomes(engine *plugintest.FakeEngine, state string) {
	h.t.Helper()
	engine.Becomes("app", "reader", state, true)
	h.until("readers see "+state, func() bool {
		view, _, err := h.Application(ctx, "app")
		check(h.t, err)
		i := slices.IndexFunc(view.Observed.Records, func(r dm.PluginRecord) bool { return r.Type == engine.Type() })
		return view.Observed.Records[i].Components[0].State == state
	})
}

// until waits for what a dispatcher does in its own time.
func (h *house) until(what string, is func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatalf("it never came that %s", what)
		}
	}
}

// TestWaitingForAnEngine lets changes wait for an engine that is away, over a
// restart, and puts a stop, a change and a destroy in their place.
func TestWaitingForAnEngine(t *testing.T) {
	t.Parallel()
	engine := plugintest.NewFakeEngine("sparkStreaming")
	dir := t.TempDir()
	begin := func() *house {
		h, dispatcher := buildWith(t, dir, engine)
		h.run(dispatcher)
		return h
	}
	h := begin()
	for _, version := range []string{"1.0.0", "1.1.0"} {
		h.publish("ana", "flow-"+version+".tar.gz", archivetest.Tgz(map[string]string{"flow-" + version + "/sparkStreaming/reader/job.txt": version}))
		check(t, h.DeployPackage(ctx, as("ana"), "flow-"+version))
	}
	ref := dm.PackageRef{Name: "flow", Version: dm.Version{Major: 1}}
	newer := dm.PackageRef{Name: "flow", Version: dm.Version{Major: 1, Minor: 1}}
	h.created("ana", "app", ref)
	until := time.Now().Add(5 * time.Hour)
	engine.Fail(dm.Errorf(dm.Unavailable, "fake", "the cluster is being upgraded").NotBefore(until))
	waits := func(phase dm.Phase) {
		t.Helper()
		h.until("the change waits", func() bool {
			view, _, err := h.Application(ctx, "app")
			check(t, err)
			return view.Phase == phase && view.Information == "Waiting: the cluster is being upgraded; retrying at "+until.UTC().Format(time.RFC3339)
		})
	}
	check(t, h.Start(ctx, as("ana"), "app"))
	waits(dm.Starting)
	check(t, h.Stop(ctx, as("ana"), "app"))
	waits(dm.Stopping)
	h.stop()
	h = begin() // waits on, and knows why when it has asked
	waits(dm.Stopping)
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Package: &newer}))
	waits(dm.Creating)
	engine.Fail(nil)
	engine.Tell("app")
	if view := h.settle("app"); view.Phase != dm.Created || view.Spec.Package != newer || view.Information != "" {
		t.Errorf("after all that it is %s with %s, %q", view.Phase, view.Spec.Package, view.Information)
	}
	engine.Fail(dm.Errorf(dm.Unavailable, "fake", "the cluster is being upgraded").NotBefore(until))
	check(t, h.Start(ctx, as("ana"), "app"))
	waits(dm.Starting)
	check(t, h.Destroy(ctx, as("ana"), "app", false))
	waits(dm.Destroying)
	engine.Fail(nil)
	engine.Tell("app")
	h.settle("app")
	if left := engine.Standing(); len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	h.sound()
}
