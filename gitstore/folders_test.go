package gitstore_test

import (
	"os"
	"path/filepath"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// TestFilesGoWhereTheRecordSays: where no rule of this server would put them, and where
// a server had them that kept no places.
func TestFilesGoWhereTheRecordSays(t *testing.T) {
	t.Parallel()
	h := openStill(t, t.TempDir())
	ref := h.deployed("ana", "flow-1.0.0", "one")
	for app, folders := range map[dm.ApplicationName]map[string]dm.ComponentName{
		"kept": {"below": "report"},
		"old":  nil,
	} {
		check(t, h.Create(ctx, as("ana"), dm.Spec{Name: app, Package: ref}))
		work, _, err := h.Work(ctx, app)
		check(t, err)
		record := dm.PluginRecord{
			Type: "jupyter", Application: app, Desired: work.Desired, Users: []dm.UserName{"ana"}, Folders: folders,
			Components: []dm.ComponentRecord{{Name: "report"}},
		}
		check(t, h.Observe(ctx, app, dm.Observation{
			Desired: work.Desired, Effective: work.Desired, Phase: dm.Created, Records: []dm.PluginRecord{record},
		}))
	}
	files := func() string { return h.git("users/ana.git", "ls-tree", "-r", "--name-only", "main") }
	const want = `README.ipynb
kept/below/data/rows.csv
kept/below/properties.json
kept/below/report.ipynb
old/data/rows.csv
old/properties.json
old/report.ipynb`
	if got := files(); got != want {
		t.Fatalf("delivered were\n%s\nwant\n%s", got, want)
	}
	h.stop()
	check(t, os.RemoveAll(filepath.Join(h.dir, "users/ana.git")))
	h = open(t, h.dir)
	if got := files(); got != want {
		t.Errorf("rebuilt were\n%s\nwant\n%s", got, want)
	}
	h.sound()
}
