package gitstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// TestEveryChangeTellsItsDeployment: a start, a stop and a destroy repeat the
// number in force, which need not be the newest. One that doesn't, after one
// that does, is none of the server's.
func TestEveryChangeTellsItsDeployment(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	h.publish("ana", "flow-2.0.0.tar.gz", sparkAndNotebook("flow-2.0.0"))
	check(t, h.DeployPackage(ctx, as("ana"), "flow-2.0.0"))
	two, err := dm.ParsePackageRef("flow-2.0.0")
	check(t, err)
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Package: &two})) // fails
	h.settle("app")
	check(t, h.Start(ctx, as("ana"), "app"))
	h.settle("app")
	check(t, h.Destroy(ctx, as("ana"), "app", false))
	h.settle("app")
	h.sound()
	const of = "--format=%(trailers:key=DM-Action,valueonly,separator=) %(trailers:key=DM-Deployment,valueonly,separator=)"
	if got := h.git("applications/app.git", "log", "--reverse", of, "main"); got != "create 1\nchange 2\nstart 1\ndestroy 1" {
		t.Errorf("the changes say\n%s", got)
	}
	h.stop()
	forger{t, filepath.Join(h.dir, "applications/app.git")}.rewrite("refs/heads/main", "DM-Deployment: 1\n", "")
	h = openStill(t, h.dir)
	var found []string
	check(t, h.Verify(ctx, func(p string) { found = append(found, p) }))
	if all := strings.Join(found, "\n"); !strings.Contains(all, "has no number of a deployment") {
		t.Errorf("verify found:\n%s", all)
	}
}

// TestChangesWithoutANumber reads changes of before format 3 that have no outcome
// yet: a start is of what is in effect, a stop that came in the place of a change
// that waits is of that change's deployment.
func TestChangesWithoutANumber(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	one := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", one)
	h.publish("ana", "flow-2.0.0.tar.gz", sparkAndNotebook("flow-2.0.0"))
	check(t, h.DeployPackage(ctx, as("ana"), "flow-2.0.0"))
	two := dm.PackageRef{Name: one.Name}
	two.Version, _ = dm.ParseVersion("2.0.0")
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Package: &two})) // fails
	h.settle("app")
	h.created("ana", "noon", one)
	check(t, h.Start(ctx, as("ana"), "noon"))
	h.settle("noon")
	end := h.short()
	check(t, h.Change(ctx, as("ana"), "noon", dm.Edit{Overrides: dm.Overrides{"jupyter": {"report": {"limit": []byte("7")}}}}))
	h.waiting("noon")
	check(t, h.Stop(ctx, as("ana"), "noon"))
	h.stop()
	end()
	h = openStill(t, h.dir)
	check(t, h.Start(ctx, as("ana"), "app"))
	h.stop()
	for app, number := range map[string]string{"app": "1", "noon": "2"} {
		forger{t, filepath.Join(h.dir, "applications", app+".git")}.rewrite("refs/heads/main", "DM-Deployment: "+number+"\n", "")
	}
	check(t, os.Remove(filepath.Join(h.dir, "known-refs")))
	for _, when := range []string{"pending", "carried out", "after a start"} {
		if when == "carried out" {
			h = open(t, h.dir)
			h.settle("app")
			h.settle("noon")
		} else {
			h = openStill(t, h.dir)
		}
		for app, want := range map[dm.ApplicationName]int{"app": 1, "noon": 2} {
			if view, _, err := h.Application(ctx, app); err != nil || view.Deployment != want || view.Phase.Working() != (when == "pending") {
				t.Errorf("%s: %s is %s and has deployment %d (%v), want %d", when, app, view.Phase, view.Deployment, err, want)
			}
		}
		h.stop()
	}
}
