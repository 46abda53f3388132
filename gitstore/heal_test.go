package gitstore_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// TestStaleLockOfADeadGit leaves the lock of a git that was killed while the
// server lives on: the change that meets it fails, the next one does not.
func TestStaleLockOfADeadGit(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	write(t, h.dir+"/applications/app.git/refs/heads/main.lock", "")
	wantKind(t, h.Start(ctx, as("ana"), "app"), dm.Unavailable, "locked by an unfinished change")
	check(t, h.Start(ctx, as("ana"), "app"))
	if view := h.settle("app"); view.Phase != dm.Started {
		t.Errorf("%+v", view)
	}
	h.sound()
}

// TestRefThatMovedAllTheSame moves main as a git does that commits and is then
// killed before it could say so.
func TestRefThatMovedAllTheSame(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	message := strings.ReplaceAll(h.git("applications/app.git", "log", "-1", "--format=%B", "main"), "DM-Action: create", "DM-Action: start")
	moved := h.git("applications/app.git", "-c", "user.name=t", "-c", "user.email=t@t", "commit-tree", "-m", message, "-p", "main", "main^{tree}")
	h.git("applications/app.git", "update-ref", "refs/heads/main", moved)
	wantKind(t, h.Start(ctx, as("ana"), "app"), dm.Stale, "updated concurrently")
	if view, _, err := h.Application(ctx, "app"); err != nil || string(view.Desired) != moved {
		t.Errorf("desired is %s, %v; want %s", view.Desired, err, moved)
	}
	if view := h.settle("app"); string(view.Observed.Desired) != moved {
		t.Errorf("the change that was made all the same is not carried out: %+v", view)
	}
}

// TestFailedChangeLeavesNoPacks keeps a ref from being written, as a full disk
// does. The packs must go, or every attempt would make the disk fuller.
func TestFailedChangeLeavesNoPacks(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ref := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", ref)
	content := notebook("flow-1.1.0", "two")
	for _, c := range []struct {
		name, repository, ref string
		attempts              int
		do                    func() error
	}{
		{"publish", "packages/flow.git", "refs/tags/1.1.0", 2, func() error {
			_, err := h.Publish(ctx, as("ana"), file(t, "flow-1.1.0.tgz"), bytes.NewReader(content), -1)
			return err
		}},
		{"change", "applications/app.git", "refs/heads/main", 1, func() error {
			return h.Change(ctx, as("ana"), "app", dm.Edit{Package: &ref})
		}},
		{"deploy", "packages/flow.git", "refs/deployed/1.2.0", 1, func() error { return h.DeployPackage(ctx, as("ana"), "flow-1.2.0") }},
	} {
		archived := "" // by the first attempt; the second finds it
		for range c.attempts {
			packs := packNames(t, filepath.Join(h.dir, c.repository))
			write(t, filepath.Join(h.dir, c.repository, c.ref+".lock"), "")
			wantKind(t, c.do(), dm.Unavailable, "locked by an unfinished change")
			left := slices.DeleteFunc(packNames(t, filepath.Join(h.dir, c.repository)), func(p string) bool { return slices.Contains(packs, p) })
			if c.name == "publish" && archived == "" && len(left) == 1 {
				archived, left = left[0], nil // refs/archives names it
			}
			if len(left) > 0 {
				t.Errorf("%s left the packs %q", c.name, left)
			}
		}
		check(t, c.do())
	}
	h.settle("app")
	h.sound()
}

func packNames(t *testing.T, repository string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(repository, "objects/pack"))
	check(t, err)
	var names []string
	for _, e := range entries {
		if filepath.Ext(e.Name()) == ".pack" {
			names = append(names, e.Name())
		}
	}
	return names
}

// harmTwice breaks the pack of an application that has the package's files and no
// twin, so that another one takes its place, and the index of the one with its newest
// change, which whoever reads the application finds.
func harmTwice(t *testing.T, data string) (application string) {
	t.Helper()
	pkg, app := filepath.Join(data, "packages/flow.git"), filepath.Join(data, "applications/app.git")
	kept, err := filepath.Glob(pkg + "/objects/pack/*.keep")
	check(t, err)
	for _, path := range kept {
		check(t, os.Remove(path))
	}
	git(t, pkg, "repack", "-a", "-d", "-q")
	index := packOf(t, app, git(t, app, "rev-parse", "main")) + ".idx"
	flip(t, app, git(t, pkg, "rev-parse", "refs/tags/1.0.0:jupyter/report/data/rows.csv"))
	content, err := os.ReadFile(index)
	check(t, err)
	check(t, os.Remove(index))
	write(t, index, string(content[:len(content)/2]))
	return app
}

// TestFailedChangeKeepsWhatWasMended has the look after a failed change find
// damage: what it is mended with came after the change began, and stays.
func TestFailedChangeKeepsWhatWasMended(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	dir := harmTwice(t, h.dir)
	write(t, dir+"/refs/heads/main.lock", "")
	wantKind(t, h.Start(ctx, as("ana"), "app"), dm.Unavailable, "locked by an unfinished change")
	git(t, dir, "fsck", "--strict", "--full", "--no-dangling")
	check(t, h.Start(ctx, as("ana"), "app"))
	h.settle("app")
	h.sound()
}
