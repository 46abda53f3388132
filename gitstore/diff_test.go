package gitstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
)

// patch returns what WritePatch writes.
func patch(t *testing.T, d dm.Difference) string {
	t.Helper()
	var b bytes.Buffer
	check(t, d.WritePatch(ctx, &b))
	return b.String()
}

// fileLines writes files as one line each.
func fileLines(files []dm.FileChange) string {
	lines := make([]string, len(files))
	for i, f := range files {
		lines[i] = fmt.Sprintf("%s %d %d %t", f.Path, f.FromSize, f.ToSize, f.Executable)
	}
	return strings.Join(lines, "\n")
}

func TestApplicationDiff(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	_, err := h.ApplicationDiff(ctx, "app", 0, 0)
	wantKind(t, err, dm.NotFound, "no application app, now or in the past")
	v1, v2 := h.deployed("teacher", "flow-1.0.0", "one"), h.deployed("teacher", "flow-1.1.0", "three")
	before := dm.Overrides{"jupyter": {"report": {
		"limit": json.RawMessage(`5`), "big": json.RawMessage(`12345678901234567890123`), "gone": json.RawMessage(`{"a": [1, 2]}`),
	}}}
	after := dm.Overrides{"jupyter": {"report": {"limit": json.RawMessage(`6`), "big": json.RawMessage(`12345678901234567890123`), "nothing": json.RawMessage(`null`)}}}
	check(t, h.Create(ctx, as("teacher"), dm.Spec{Name: "app", Package: v1, Overrides: before}))
	h.settle("app")
	_, err = h.ApplicationDiff(ctx, "app", 0, 0)
	wantKind(t, err, dm.Invalid, "deployment 1 of app is the first")
	check(t, h.Change(ctx, as("teacher"), "app", dm.Edit{Package: &v2, Overrides: after, Audience: []dm.Subject{"user:ana"}}))
	h.settle("app")
	check(t, h.Start(ctx, as("teacher"), "app"))
	h.settle("app")

	d, err := h.ApplicationDiff(ctx, "app", 0, 0)
	check(t, err)
	past := h.past("app")
	if d.From.Deployment != 1 || d.From.Package != v1 || d.From.Revision != past[2].Revision || !slices.Equal(d.From.Audience, []dm.Subject{"user:teacher"}) ||
		d.To.Deployment != 2 || d.To.Package != v2 || d.To.Revision != past[1].Revision || !slices.Equal(d.To.Audience, []dm.Subject{"user:ana"}) {
		t.Errorf("sides: %+v %+v", d.From, d.To)
	}
	overrides, err := json.Marshal(d.Overrides)
	check(t, err)
	if want := `[{"Type":"jupyter","Component":"report","Key":"gone","From":{"a":[1,2]},"To":null},` +
		`{"Type":"jupyter","Component":"report","Key":"limit","From":5,"To":6},` +
		`{"Type":"jupyter","Component":"report","Key":"nothing","From":null,"To":null}]`; string(overrides) != want || d.Overrides[2].To == nil {
		t.Errorf("overrides: %s\nwant: %s", overrides, want)
	}
	sizes := func(path string) string {
		return h.git("applications/app.git", "cat-file", "-s", "refs/deployments/1:"+path) + " " + h.git("applications/app.git", "cat-file", "-s", "refs/deployments/2:"+path)
	}
	var want []string
	for _, path := range []string{"components/jupyter/report/properties.json", "components/jupyter/report/report.ipynb", "package/jupyter/report/report.ipynb"} {
		want = append(want, path+" "+sizes(path)+" false")
	}
	if got := fileLines(d.Files); got != strings.Join(want, "\n") || d.FilesMore != 0 {
		t.Errorf("files:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
	for number, pair := range map[string][2]int{"1 and 2": {1, 2}, "1 and the newest": {1, 0}, "the one before 2": {0, 2}} {
		same, err := h.ApplicationDiff(ctx, "app", pair[0], pair[1])
		if check(t, err); fileLines(same.Files) != fileLines(d.Files) || patch(t, same) != patch(t, d) {
			t.Errorf("%s differ from the default", number)
		}
	}
	back, err := h.ApplicationDiff(ctx, "app", 2, 1)
	if check(t, err); back.From.Deployment != 2 || len(back.Files) != 3 {
		t.Errorf("backwards: %+v", back)
	}
	if same, err := h.ApplicationDiff(ctx, "app", 2, 2); err != nil || len(same.Files)+len(same.Overrides) != 0 || patch(t, same) != "" {
		t.Errorf("with itself: %+v, %v", same, err)
	}
	wantPatch := h.git("applications/app.git", "diff", "--no-renames", "--full-index", "refs/deployments/1", "refs/deployments/2")
	got := patch(t, d)
	if !strings.Contains(got, "--- deployment-1/components/jupyter/report/report.ipynb\n+++ deployment-2/components/jupyter/report/report.ipynb\n") {
		t.Errorf("the patch does not name the deployments:\n%s", got)
	}
	if plain := strings.NewReplacer(" deployment-1/", " a/", " deployment-2/", " b/").Replace(got); strings.TrimSpace(plain) != wantPatch {
		t.Errorf("patch:\n%s\ngit diff:\n%s", plain, wantPatch)
	}
	for _, c := range []struct {
		from, to int
		kind     dm.Kind
		text     string
	}{
		{0, 3, dm.NotFound, "app has no deployment 3; its deployments are numbered 1 to 2"},
		{7, 2, dm.NotFound, "app has no deployment 7"},
		{-1, 2, dm.Invalid, "greater than 0"},
		{1, -2, dm.Invalid, "greater than 0"},
		{0, 1, dm.Invalid, "deployment 1 of app is the first"},
	} {
		_, err := h.ApplicationDiff(ctx, "app", c.from, c.to)
		wantKind(t, err, c.kind, c.text)
	}
}

// versions publishes two versions of a package with these files.
func (h *house) versions(from, to map[string]string) dm.Difference {
	h.t.Helper()
	for name, files := range map[string]map[string]string{"flow-1.0.0": from, "flow-1.1.0": to} {
		inside := map[string]string{}
		for path, content := range files {
			inside[name+"/"+path] = content
		}
		h.publish("ana", name+".tgz", archivetest.Tgz(inside))
	}
	d, err := h.PackageDiff(ctx, "flow", dm.Version{Major: 1}, dm.Version{Major: 1, Minor: 1})
	check(h.t, err)
	return d
}

func TestPackageDiff(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	_, err := h.PackageDiff(ctx, "flow", dm.Version{}, dm.Version{})
	wantKind(t, err, dm.NotFound, "no published version of flow")
	d := h.versions(
		map[string]string{"a": "file", "a-b": "1", "same/x": "x", "old/deep/er": "123", "ü.txt": "u", "binary": "\x00\x01"},
		map[string]string{"a/x": "folder", "a-b": "22", "same/x": "x", "new/deep/er": "", "ü.txt": "v", "binary": "\x00\x02\x03"},
	)
	want := "a 4 -1 false\na-b 1 2 false\na/x -1 6 false\nbinary 2 3 false\nnew/deep/er -1 0 false\nold/deep/er 3 -1 false\nü.txt 1 1 false"
	if got := fileLines(d.Files); got != want || d.FilesMore != 0 {
		t.Errorf("files:\n%s\nwant:\n%s", got, want)
	}
	if d.From.Package.String() != "flow-1.0.0" || d.To.Package.String() != "flow-1.1.0" || d.From.Deployment != 0 || len(d.Overrides) > 0 ||
		string(d.To.Revision) != h.git("packages/flow.git", "rev-parse", "refs/tags/1.1.0") {
		t.Errorf("sides: %+v %+v", d.From, d.To)
	}
	got := patch(t, d)
	for _, line := range []string{
		"--- flow-1.0.0/a-b\n+++ flow-1.1.0/a-b\n@@ -1 +1 @@\n-1\n\\ No newline at end of file\n+22\n",
		"Binary files flow-1.0.0/binary and flow-1.1.0/binary differ\n",
		"--- /dev/null\n+++ flow-1.1.0/a/x\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("the patch lacks %q:\n%s", line, got)
		}
	}
	check(t, h.Withdraw(ctx, as("ana"), file(t, "flow-1.0.0.tgz")))
	_, err = h.PackageDiff(ctx, "flow", dm.Version{Major: 1}, dm.Version{Major: 1, Minor: 1})
	wantKind(t, err, dm.NotFound, "no published version 1.0.0 of flow; published versions are 1.1.0")
}

// TestManyFilesDiffer lists the first and counts the others.
func TestManyFilesDiffer(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	from, to := map[string]string{}, map[string]string{}
	for i := range 1234 {
		from[fmt.Sprintf("%02d/file-%02d", i%50, i/50)] = "1"
	}
	for path := range from {
		to[path] = "22"
	}
	d := h.versions(from, to)
	paths := slices.Sorted(maps.Keys(from))
	if len(d.Files) != 1000 || d.FilesMore != 234 || d.Files[0].Path != paths[0] || d.Files[999].Path != paths[999] {
		t.Errorf("%d files and %d more", len(d.Files), d.FilesMore)
	}
}

// goneWriter is a reader that went away after some bytes.
type goneWriter struct{ left int }

var errGone = errors.New("gone")

func (w *goneWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errGone
	}
	return len(p), nil
}

// TestLongPatch is cut off, and says so.
func TestLongPatch(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	line := strings.Repeat("x", 99) + "\n"
	d := h.versions(map[string]string{"rows": strings.Repeat("a"+line, 30_000)}, map[string]string{"rows": strings.Repeat("b"+line, 30_000)})
	got := patch(t, d)
	if n := len(got); n < 4<<20 || n > 4<<20+100 || !strings.HasSuffix(got, "\n\\ The patch is longer than 4194304 bytes and was truncated here.\n") {
		t.Errorf("%d bytes that end in %q", n, got[max(0, n-100):])
	}
	if err := d.WritePatch(ctx, &goneWriter{left: 100_000}); err == nil {
		t.Error("no error for a reader that is gone")
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	wantKind(t, d.WritePatch(ended, &bytes.Buffer{}), dm.Unavailable, "")
}

// TestPatchOfManyLines is short in bytes and long in lines.
func TestPatchOfManyLines(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	d := h.versions(map[string]string{"rows": strings.Repeat("a\n", 80_000)}, map[string]string{"rows": strings.Repeat("b\n", 80_000)})
	got := patch(t, d)
	if n := strings.Count(got, "\n"); n != 100_001 || !strings.HasSuffix(got, "\n\\ The patch has more than 100000 lines and was truncated here.\n") {
		t.Errorf("%d lines that end in %q", n, got[max(0, len(got)-100):])
	}
}

// TestPatchThatTakesTooMuchMemory says so instead of breaking off.
func TestPatchThatTakesTooMuchMemory(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	d := h.versions(map[string]string{"rows": strings.Repeat("\n", 3<<20)}, map[string]string{"rows": strings.Repeat("a\n", 3<<19)})
	if got := patch(t, d); !strings.HasSuffix(got, "\n\\ The patch takes too much memory and was truncated here; clone the repository and compare there.\n") {
		t.Errorf("it ends in %q", got[max(0, len(got)-200):])
	}
}
