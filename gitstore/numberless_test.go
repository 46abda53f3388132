package gitstore_test

import (
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
