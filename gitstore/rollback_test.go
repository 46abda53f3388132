package gitstore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// TestRollback takes back package, overrides and audience, and not the wanted
// state, though the package was undeployed and withdrawn since.
func TestRollback(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1, v2 := h.deployed("teacher", "flow-1.0.0", "one"), h.deployed("teacher", "flow-1.1.0", "two")
	first := dm.Overrides{"jupyter": {"report": {"topic": []byte(`"rivers"`)}}}
	check(t, h.Create(ctx, as("teacher"), dm.Spec{Name: "course", Package: v1, Overrides: first, Audience: []dm.Subject{"user:ana"}}))
	h.settle("course")
	h.asks("ana")
	check(t, h.Change(ctx, as("teacher"), "course", dm.Edit{Package: &v2, Overrides: dm.Overrides{}, Audience: []dm.Subject{"user:bob"}}))
	h.settle("course")
	check(t, h.Start(ctx, as("teacher"), "course"))
	h.settle("course")
	check(t, h.UndeployPackage(ctx, as("teacher"), "flow-1.0.0"))
	check(t, h.Withdraw(ctx, as("teacher"), file(t, "flow-1.0.0.tar.gz")))
	before := h.git("users/ana.git", "rev-parse", "main")

	check(t, h.Rollback(ctx, as("teacher"), "course", 1))
	view := h.settle("course")
	if view.Phase != dm.Started || view.Spec.State != dm.WantStarted || view.Deployment != 3 || view.Spec.Package != v1 ||
		string(view.Spec.Overrides["jupyter"]["report"]["topic"]) != `"rivers"` || !slices.Equal(view.Spec.Audience, []dm.Subject{"user:ana"}) {
		t.Errorf("after the rollback: %+v", view)
	}
	if got := h.git("applications/course.git", "log", "-1", "--format=%s", "main"); got != "Roll back course to flow-1.0.0" {
		t.Errorf("the commit's subject is %q", got)
	}
	if got := h.git("users/ana.git", "show", "main:course/report.ipynb"); !strings.Contains(got, "one rivers") {
		t.Errorf("ana's notebook is %s", got)
	}
	if got := h.git("users/bob.git", "ls-tree", "--name-only", "main"); got != "README.ipynb" {
		t.Errorf("bob still has %q", got)
	}
	if got := h.git("users/ana.git", "merge-base", before, "main"); got != before {
		t.Error("ana's workspace did not move forward")
	}
	if got := h.git("applications/course.git", "diff", "--name-only", "refs/deployments/1", "refs/deployments/3"); got != "application.json" {
		t.Errorf("deployments 1 and 3 differ in %q, want the wanted state only", got)
	}
	states := h.states("course")
	if got := states[len(states)-2:]; !slices.Equal(got, []dm.Phase{dm.Starting, dm.Started}) {
		t.Errorf("events: %v", states)
	}
	h.stop()
	h = open(t, h.dir)
	check(t, h.Stop(ctx, as("teacher"), "course"))
	h.settle("course")
	check(t, h.Rollback(ctx, as("teacher"), "course", 2))
	if view := h.settle("course"); view.Phase != dm.Created || view.Spec.Package != v2 || view.Deployment != 4 {
		t.Errorf("after a restart and the rollback to 2: %+v", view)
	}
	h.sound()
}

// TestRefusedRollback leaves no trace.
func TestRefusedRollback(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1 := h.deployed("ana", "flow-1.0.0", "one")
	audience := []dm.Subject{"user:bob"}
	check(t, h.Create(ctx, as("root"), dm.Spec{Name: "app", Package: v1, Audience: audience}))
	h.settle("app")
	check(t, h.Destroy(ctx, as("root"), "app", false))
	h.settle("app")
	err := h.Rollback(ctx, as("root"), "app", 1)
	wantKind(t, err, dm.NotFound, "the application app is NOTCREATED")
	h.created("ana", "app", v1)
	check(t, h.Change(ctx, as("root"), "app", dm.Edit{Audience: []dm.Subject{"user:ana", "user:bob"}}))
	h.settle("app")
	check(t, h.Change(ctx, as("root"), "app", dm.Edit{Audience: []dm.Subject{"user:ana"}}))
	h.settle("app")
	before := h.snapshot()
	for _, c := range []struct {
		name string
		user dm.UserName
		app  dm.ApplicationName
		to   int
		kind dm.Kind
		text string
	}{
		{"an application that never was", "ana", "none", 1, dm.NotFound, "the application none is NOTCREATED"},
		{"zero", "ana", "app", 0, dm.Invalid, "app has no deployment 0; its deployments are numbered 1 to 4"},
		{"negative", "ana", "app", -1, dm.Invalid, "app has no deployment -1"},
		{"a number that is not given yet", "ana", "app", 5, dm.Invalid, "app has no deployment 5"},
		{"an earlier life", "ana", "app", 1, dm.Invalid, "deployment 1 is of an earlier app, destroyed before deployment 2; change the application"},
		{"not the owner", "bob", "app", 2, dm.Forbidden, "bob may not do deployment_manager:application:rollback"},
		{"an audience of others", "ana", "app", 3, dm.Forbidden, "ana may not do deployment_manager:audience:deliver"},
	} {
		err := h.Rollback(ctx, as(c.user), c.app, c.to)
		if dm.KindOf(err) != c.kind || !strings.Contains(dm.Public(err), c.text) {
			t.Errorf("%s: got %q %q, want %q with %q", c.name, dm.KindOf(err), dm.Public(err), c.kind, c.text)
		}
	}
	if after := h.snapshot(); after != before {
		t.Errorf("a refused rollback left traces:\n%s", after)
	}
	h.sound()
}

// TestRollbackWhileWorking waits its turn as every change does.
func TestRollbackWhileWorking(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	h.stop()
	h = openStill(t, h.dir)
	check(t, h.Rollback(ctx, as("ana"), "app", 1))
	view, _, err := h.Application(ctx, "app")
	if err != nil || view.Phase != dm.Creating || view.Deployment != 2 || view.Last.Verb != dm.Rollback {
		t.Errorf("%+v, %v", view, err)
	}
	wantKind(t, h.Rollback(ctx, as("ana"), "app", 1), dm.Conflict, "the application app is CREATING")
}

// TestFailedRollback settles back to what was in effect. A deployment that
// failed can be asked for again, and a destroy that failed ends no life.
func TestFailedRollback(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1, bad := h.deployed("ana", "flow-1.0.0", "one"), h.faulty("ana", "flow-2.0.0")
	h.created("ana", "app", v1)
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Package: &bad}))
	h.settle("app")
	check(t, h.Start(ctx, as("ana"), "app"))
	h.settle("app")
	check(t, h.Rollback(ctx, as("ana"), "app", 2))
	view := h.settle("app")
	if view.Phase != dm.Started || view.Spec.Package != v1 || view.Deployment != 1 || !strings.Contains(view.Information, "Error rolling back app") {
		t.Errorf("after the failed rollback: %+v", view)
	}
	wantStory(t, h.past("app")[:1], "rollback flow-2.0.0 3 by ana: STARTED false")

	h.stop()
	h = openStill(t, h.dir)
	check(t, h.Destroy(ctx, as("ana"), "app", false))
	view, _, err := h.Application(ctx, "app")
	check(t, err)
	check(t, h.Observe(ctx, "app", dm.Observation{
		Desired: view.Desired, Effective: view.Observed.Effective, Phase: dm.Started, Information: "Error deleting app", Records: view.Observed.Records,
	}))
	h.stop()
	h = open(t, h.dir)
	check(t, h.Rollback(ctx, as("ana"), "app", 1))
	if view := h.settle("app"); view.Phase != dm.Started || view.Deployment != 4 {
		t.Errorf("a rollback after the failed destroy: %+v", view)
	}
	h.sound()
}

// TestRollbackIsPlannedAnew shows the planner's remarks on what is rolled back
// to, and the numbers that rollbacks get.
func TestRollbackIsPlannedAnew(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1 := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", v1)
	odd := dm.Overrides{"oozie": {"nightly": {}}}
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Overrides: odd}))
	notes := h.settle("app").Information
	check(t, h.Rollback(ctx, as("ana"), "app", 1))
	if got := h.settle("app").Information; got != "" || notes == "" {
		t.Errorf("information after the change %q, after the rollback %q", notes, got)
	}
	check(t, h.Rollback(ctx, as("ana"), "app", 2))
	if got := h.settle("app").Information; got != notes {
		t.Errorf("after the rollback to the noted one: %q, want %q", got, notes)
	}
	for n := 1; n <= 4; n++ {
		if got := h.git("applications/app.git", "log", "-1", "--format=%(trailers:key=DM-Deployment,valueonly,separator=)", fmt.Sprintf("refs/deployments/%d", n)); got != fmt.Sprint(n) {
			t.Errorf("refs/deployments/%d has the number %q", n, got)
		}
	}
}
