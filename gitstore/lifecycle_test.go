package gitstore_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

func TestWalkThrough(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1 := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "noon-run", v1)

	if got := h.git("users/ana.git", "show", "main:noon-run/report.ipynb"); !strings.Contains(got, "one flows for ana") {
		t.Errorf("the notebook is not filled: %s", got)
	}
	if got := h.git("users/ana.git", "show", "main:noon-run/data/rows.csv"); got != "a,b\r\n1,$5" {
		t.Errorf("the data file is changed: %q", got)
	}
	if got := h.git("users/ana.git", "ls-tree", "-r", "--name-only", "main"); got != "README.ipynb\nnoon-run/data/rows.csv\nnoon-run/properties.json\nnoon-run/report.ipynb" {
		t.Errorf("the workspace holds %q", got)
	}

	v2 := h.deployed("bob", "flow-1.1.0", "two")
	check(t, h.Change(ctx, as("ana"), "noon-run", dm.Edit{Package: &v2}))
	view := h.settle("noon-run")
	if view.Phase != dm.Created || view.Deployment != 2 || view.Spec.Package != v2 || view.Spec.Owner != "ana" {
		t.Errorf("after the change: %+v", view)
	}
	if got := h.git("users/ana.git", "show", "main:noon-run/report.ipynb"); !strings.Contains(got, "two flows for ana") {
		t.Errorf("the changed notebook is not there: %s", got)
	}
	check(t, h.Start(ctx, as("ana"), "noon-run"))
	if view = h.settle("noon-run"); view.Phase != dm.Started || view.Deployment != 2 {
		t.Errorf("after start: %+v", view)
	}
	check(t, h.Stop(ctx, as("ana"), "noon-run"))
	h.settle("noon-run")
	check(t, h.Destroy(ctx, as("ana"), "noon-run", false))
	h.settle("noon-run")
	if _, ok, _ := h.Application(ctx, "noon-run"); ok {
		t.Error("a destroyed application is still known")
	}
	if got := h.git("users/ana.git", "ls-tree", "--name-only", "main"); got != "README.ipynb" {
		t.Errorf("after destroy the workspace holds %q", got)
	}
	want := "Destroy noon-run|ana\nStop noon-run|ana\nStart noon-run|ana\nChange noon-run to flow-1.1.0|ana\nCreate noon-run from flow-1.0.0|ana"
	if got := h.git("applications/noon-run.git", "log", "--format=%s|%an", "main"); got != want {
		t.Errorf("git log of main:\n%s\nwant:\n%s", got, want)
	}
	if got := refsOf(t, h.dir+"/applications/noon-run.git"); got != "refs/deployments/1\nrefs/deployments/2\nrefs/heads/main\nrefs/observed/head" {
		t.Errorf("refs of the application: %q", got)
	}
	wantStates := []dm.Phase{dm.Creating, dm.Created, dm.Creating, dm.Created, dm.Starting, dm.Started, dm.Stopping, dm.Created, dm.Destroying, dm.NotCreated}
	if got := h.states("noon-run"); !slices.Equal(got, wantStates) {
		t.Errorf("events: %v\nwant: %v", got, wantStates)
	}
	h.sound()
}

// TestRecreate shows that a destroyed application can come back and keeps its
// numbers and its history.
func TestRecreate(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", v)
	check(t, h.Destroy(ctx, as("ana"), "app", false))
	h.settle("app")
	if view := h.created("bob", "app", v); view.Deployment != 2 || view.Spec.Owner != "bob" {
		t.Errorf("second life: %+v", view)
	}
	if got := h.git("users/bob.git", "ls-tree", "--name-only", "main"); got != "README.ipynb\napp" {
		t.Errorf("bob's workspace: %q", got)
	}
	h.stop()
	h = open(t, h.dir)
	view, ok, err := h.Application(ctx, "app")
	if err != nil || !ok || view.Deployment != 2 || view.Phase != dm.Created || len(view.Defaults["jupyter"]["report"]) != 2 {
		t.Errorf("after a restart: %+v %v %v", view, ok, err)
	}
	h.sound()
}

func TestParallelCreates(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	users := []dm.UserName{"ana", "bob", "Zoë Müller"}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			app := dm.ApplicationName(fmt.Sprintf("app-%02d", i))
			if err := h.Create(ctx, as(users[i%3]), dm.Spec{Name: app, Package: v}); err != nil {
				t.Errorf("%s: %v", app, err)
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		if view := h.settle(dm.ApplicationName(fmt.Sprintf("app-%02d", i))); view.Phase != dm.Created {
			t.Errorf("%s is %s: %s", view.Spec.Name, view.Phase, view.Information)
		}
	}
	for _, u := range users {
		h.asks(u)
	}
	h.sound()
	list, err := h.Workspaces().Users()
	if err != nil || len(list) != 3 {
		t.Errorf("users: %q, %v", list, err)
	}
}

// TestDerivedCommitsAreEqual shows that what users get is a function of the
// application alone: two users of one audience have the same commits.
func TestDerivedCommitsAreEqual(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("teacher", "flow-1.0.0", "one")
	check(t, h.Create(ctx, as("teacher"), dm.Spec{Name: "course", Package: v, Audience: []dm.Subject{"group:class", "user:zoe"}}))
	if view := h.settle("course"); view.Phase != dm.Created {
		t.Fatalf("%+v", view)
	}
	ana := h.git("users/ana.git", "rev-parse", "main", "apps/course")
	for _, other := range []string{"bob", "zoe"} {
		if got := h.git("users/"+other+".git", "rev-parse", "main", "apps/course"); got != ana {
			t.Errorf("%s has %q, ana has %q", other, got, ana)
		}
	}
	check(t, h.Change(ctx, as("teacher"), "course", dm.Edit{Audience: []dm.Subject{"user:ana"}}))
	h.settle("course")
	if got := h.git("users/zoe.git", "ls-tree", "--name-only", "main"); got != "README.ipynb" {
		t.Errorf("zoe left the audience and has %q", got)
	}
	if got := h.git("users/ana.git", "ls-tree", "--name-only", "main"); got != "README.ipynb\ncourse" {
		t.Errorf("ana stayed and has %q", got)
	}
	err := h.Create(ctx, as("ana"), dm.Spec{Name: "push", Package: v, Audience: []dm.Subject{"user:bob"}})
	wantKind(t, err, dm.Forbidden, "ana may not do deployment_manager:audience:deliver")
	h.sound()
}

// TestIllegalTransitions holds the table of PNDA's contract, section 5.9, for
// the phases that do not pass by themselves.
func TestIllegalTransitions(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	do := map[string]func() error{
		"create":  func() error { return h.Create(ctx, as("ana"), dm.Spec{Name: "app", Package: v}) },
		"change":  func() error { return h.Change(ctx, as("ana"), "app", dm.Edit{Package: &v}) },
		"start":   func() error { return h.Start(ctx, as("ana"), "app") },
		"stop":    func() error { return h.Stop(ctx, as("ana"), "app") },
		"destroy": func() error { return h.Destroy(ctx, as("ana"), "app", false) },
	}
	refuse := func(phase dm.Phase, kind dm.Kind, verbs ...string) {
		t.Helper()
		before := h.snapshot()
		for _, verb := range verbs {
			wantKind(t, do[verb](), kind, string(phase))
		}
		if after := h.snapshot(); after != before {
			t.Errorf("a refused change left traces:\n%s", after)
		}
	}
	refuse(dm.NotCreated, dm.NotFound, "change", "start", "stop", "destroy")
	check(t, do["create"]())
	h.settle("app")
	refuse(dm.Created, dm.Conflict, "create", "stop")
	check(t, do["start"]())
	h.settle("app")
	refuse(dm.Started, dm.Conflict, "create", "start")
	wantKind(t, h.Stop(ctx, as("bob"), "app"), dm.Forbidden, "bob may not do deployment_manager:application:stop")
	wantKind(t, h.Create(ctx, as("ana"), dm.Spec{Name: "App", Package: v}), dm.Invalid, `existing "app"`)
	check(t, h.Destroy(ctx, as("root"), "app", false))
	h.settle("app")
	refuse(dm.NotCreated, dm.NotFound, "destroy")
	h.sound()
}

// TestNotesStay shows that what was ignored is told as long as it is.
func TestNotesStay(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	odd := dm.Overrides{"oozie": {"nightly": {}}}
	check(t, h.Create(ctx, as("ana"), dm.Spec{Name: "app", Package: v, Overrides: odd}))
	want := h.settle("app").Information
	if !strings.Contains(want, "oozie/nightly") {
		t.Fatalf("after create: %q", want)
	}
	check(t, h.Start(ctx, as("ana"), "app"))
	if got := h.settle("app").Information; got != want {
		t.Errorf("after start: %q, want %q", got, want)
	}
	h.stop()
	h = open(t, h.dir)
	check(t, h.Stop(ctx, as("ana"), "app"))
	if got := h.settle("app").Information; got != want {
		t.Errorf("after a restart and stop: %q, want %q", got, want)
	}
}

// TestFailedCreate has a component that no engine runs.
func TestFailedCreate(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	id := "stream-1.0.0"
	h.publish("ana", id+".tgz", sparkAndNotebook(id))
	check(t, h.DeployPackage(ctx, as("ana"), id))
	ref, err := dm.ParsePackageRef(id)
	check(t, err)
	check(t, h.Create(ctx, as("ana"), dm.Spec{Name: "app", Package: ref}))
	view := h.settle("app")
	if view.Phase != dm.NotCreated || !strings.Contains(view.Information, "Error creating app") || !strings.Contains(view.Information, "sparkStreaming") {
		t.Fatalf("%+v", view)
	}
	if got := h.Applications(); len(got) != 0 {
		t.Errorf("listed: %q", got)
	}
	if users, err := h.Workspaces().Users(); err != nil || len(users) > 0 {
		t.Errorf("the failed create reached %q, %v", users, err)
	}
	h.stop()
	h = open(t, h.dir)
	if again, ok, err := h.Application(ctx, "app"); err != nil || !ok || again.Information != view.Information {
		t.Errorf("after a restart: %+v %v %v", again, ok, err)
	}
	wantKind(t, h.Destroy(ctx, as("ana"), "app", false), dm.NotFound, "NOTCREATED")
	check(t, h.Destroy(ctx, as("ana"), "app", true))
	h.settle("app")
	if _, ok, _ := h.Application(ctx, "app"); ok {
		t.Error("the cleared failure is still known")
	}
	h.sound()
}

// TestFailedChange keeps what was in effect, and the next change builds on it.
func TestFailedChange(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1 := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", v1)
	id := "flow-2.0.0"
	h.publish("ana", id+".tgz", sparkAndNotebook(id))
	check(t, h.DeployPackage(ctx, as("ana"), id))
	ref, err := dm.ParsePackageRef(id)
	check(t, err)
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Package: &ref}))
	view := h.settle("app")
	if view.Phase != dm.Created || view.Spec.Package != v1 || view.Deployment != 1 || !strings.Contains(view.Information, "Error changing app") {
		t.Fatalf("%+v", view)
	}
	if got := h.git("users/ana.git", "show", "main:app/report.ipynb"); !strings.Contains(got, "one flows") {
		t.Errorf("the notebook is %s", got)
	}
	if got := h.git("users/ana.git", "log", "--format=%s", "main"); got != "Deliver app from flow-1.0.0\nExplain this repository" {
		t.Errorf("the failed change reached the workspace:\n%s", got)
	}
	h.stop()
	h = open(t, h.dir)
	check(t, h.Start(ctx, as("ana"), "app"))
	if view = h.settle("app"); view.Phase != dm.Started || view.Spec.Package != v1 || view.Deployment != 1 {
		t.Errorf("after start: %+v", view)
	}
	v3 := h.deployed("ana", "flow-3.0.0", "three")
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Package: &v3}))
	if view = h.settle("app"); view.Phase != dm.Started || view.Deployment != 3 {
		t.Errorf("after the third deployment: %+v", view)
	}
	h.sound()
}
