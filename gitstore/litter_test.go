package gitstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
)

// withLitter is what macOS makes of a package: entries beside the outer
// directory that only other systems see.
func withLitter(id string, more ...string) []byte {
	const double = "\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "
	files := map[string]string{
		"._" + id: double, ".DS_Store": "x", "__MACOSX/" + id + "/._jupyter": double,
		id + "/jupyter/n/a.ipynb":                                 `{"cells": []}`,
		id + "/jupyter/n/._a.ipynb":                               double,
		id + "/jupyter/.ipynb_checkpoints/a-checkpoint.ipynb":     `{"cells": []}`,
		id + "/jupyter/n/sub/.ipynb_checkpoints/b-checkpoint.csv": "1",
		id + "/jupyter/n/sub/b.csv":                               "2",
	}
	for _, path := range more {
		files[path] = "more"
	}
	return archivetest.Tgz(files)
}

// TestLitterIsKeptAndNotDelivered follows it through the record: it stands in
// the archive and in the tag's tree, and nobody gets it.
func TestLitterIsKeptAndNotDelivered(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.publish("ana", "flow-1.0.0.tar.gz", withLitter("flow-1.0.0", "flow-1.0.0/__macosx/inner"))
	tree := h.git("packages/flow.git", "ls-tree", "-r", "--name-only", "1.0.0")
	want := strings.Join([]string{".DS_Store", "._flow-1.0.0", "__macosx/inner", "jupyter/.ipynb_checkpoints/a-checkpoint.ipynb",
		"jupyter/n/._a.ipynb", "jupyter/n/a.ipynb", "jupyter/n/sub/.ipynb_checkpoints/b-checkpoint.csv", "jupyter/n/sub/b.csv"}, "\n")
	if strings.TrimSpace(tree) != want {
		t.Errorf("tree =\n%s\nwant\n%s", tree, want)
	}
	check(t, h.DeployPackage(ctx, as("ana"), "flow-1.0.0"))
	app := h.created("ana", "noon", dm.PackageRef{Name: "flow", Version: dm.Version{Major: 1}})
	const note = "skipped, not content: .DS_Store, ._flow-1.0.0, jupyter/.ipynb_checkpoints/, jupyter/n/._a.ipynb, jupyter/n/sub/.ipynb_checkpoints/"
	if app.Information != note {
		t.Errorf("information = %q, want %q", app.Information, note)
	}
	got := h.git("applications/noon.git", "ls-tree", "-r", "--name-only", "main:components")
	if want := "jupyter/n/a.ipynb\njupyter/n/properties.json\njupyter/n/sub/b.csv"; strings.TrimSpace(got) != want {
		t.Errorf("delivered\n%s\nwant\n%s", got, want)
	}
	h.sound()
}

// TestRecordsOfOlderServersWithLitterAreSound forges what a server kept for
// which litter beside the outer directory was a second entry.
func TestRecordsOfOlderServersWithLitterAreSound(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	const id = "flow-1.0.0"
	h.publish("ana", id+".tar.gz", archivetest.Tgz(map[string]string{"._" + id: "x", id + "/jupyter/n/a.ipynb": `{"cells": []}`}))
	h.stop()
	f := forger{t, filepath.Join(h.dir, "packages", "flow.git")}
	inner := f.git("040000 tree "+f.git("", "rev-parse", "1.0.0:jupyter")+"\tjupyter\n", "mktree")
	outer := f.git("100644 blob "+f.git("", "rev-parse", "1.0.0:._"+id)+"\t._"+id+"\n040000 tree "+inner+"\t"+id+"\n", "mktree")
	top := "DM-Top-Directory: " + id + "\n"
	was := f.git("", "rev-parse", "main")
	f.rewrite("refs/heads/main", f.git("", "rev-parse", "main^{tree}"), outer, top, "")
	f.rewrite("refs/tags/1.0.0", was, f.git("", "rev-parse", "main"), top, "")
	check(t, os.Remove(filepath.Join(h.dir, "known-refs"))) // of which that server had none

	h = open(t, h.dir)
	h.sound()
	check(t, h.DeployPackage(ctx, as("ana"), id))
	st, err := h.PackageStatus(ctx, id)
	check(t, err)
	if st.Phase != dm.NotDeployed || !strings.Contains(st.Information, "._"+id) {
		t.Errorf("%s: %s, want it refused as before, and the entries named", st.Phase, st.Information)
	}
}
