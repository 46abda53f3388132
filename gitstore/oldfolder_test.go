package gitstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/gitstore/format"
)

// update writes what a folder holds anew; see testdata/format-2/README.md.
var update = flag.Bool("update", false, "write holds.txt of old data folders")

const oldFormat = "testdata/format-2"

// oldFolder lays out a copy of the folder that an earlier server made, and the
// clones that people made of it then.
func oldFolder(t testing.TB) (data, clones string) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-C", dir, "-xzf", filepath.Join(oldFormat, "folder.tar.gz")).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	return filepath.Join(dir, "data"), filepath.Join(dir, "clones")
}

// TestOldFolder opens a folder that an earlier server made and reads from it
// what that server did. Nothing moves by being opened, and who cloned then pulls
// on.
func TestOldFolder(t *testing.T) {
	t.Parallel()
	data, clones := oldFolder(t)
	before := tips(t, data)
	wantKind(t, openError(t, data), dm.Invalid, "has format 2, and this server writes format 3, which the server before cannot open; take a snapshot of the volume")
	h := open(t, data, upgrading)
	if after := tips(t, data); after != before || formatOf(t, data) != "3\n" {
		t.Errorf("refs moved when the folder was upgraded:\n%s\nwere\n%s", after, before)
	}
	h.sound()
	holds, golden := h.holds(), filepath.Join(oldFormat, "holds.txt")
	if *update {
		write(t, golden, holds)
	}
	want, err := os.ReadFile(golden)
	check(t, err)
	if holds != string(want) {
		t.Errorf("the folder holds\n%s\nwant\n%s", holds, want)
	}

	pull := func() { // fails when it is no fast-forward
		h.asks("ana")
		for _, c := range [][2]string{{"noon-run", "applications/noon-run.git"}, {"flow-report", "packages/flow-report.git"}, {"jupyter-ana", "users/ana.git"}} {
			git(t, filepath.Join(clones, c[0]), "pull", "-q", "--ff-only", filepath.Join(data, c[1]), "main")
		}
	}
	pull()
	h.publish("ana", "flow-report-3.0.0.tar.gz", notebook("flow-report-3.0.0", "three"))
	check(t, h.DeployPackage(ctx, as("ana"), "flow-report-3.0.0"))
	check(t, h.Start(ctx, as("ana"), "noon-run"))
	h.settle("noon-run")
	ref := dm.PackageRef{Name: "flow-report"}
	ref.Version, err = dm.ParseVersion("3.0.0")
	check(t, err)
	check(t, h.Change(ctx, as("ana"), "noon-run", dm.Edit{Package: &ref}))
	if got := h.settle("noon-run"); got.Phase != dm.Started || got.Deployment != 5 {
		t.Errorf("noon-run is %s with deployment %d (%s), want STARTED with 5", got.Phase, got.Deployment, got.Information)
	}
	ana := as("ana")
	ana.Groups = []string{dm.PublisherGroup}
	check(t, h.Rollback(ctx, ana, "noon-run", 2))
	if got := h.settle("noon-run"); got.Phase != dm.Started || got.Spec.Package.String() != "flow-report-1.1.0" || len(got.Spec.Audience) != 2 {
		t.Errorf("rolled back to deployment 2, noon-run is %s of %s for %v", got.Phase, got.Spec.Package, got.Spec.Audience)
	}
	pull()
	for _, c := range []string{"noon-run/components/jupyter/report/report.ipynb", "jupyter-ana/noon-run/report.ipynb"} {
		b, err := os.ReadFile(filepath.Join(clones, c))
		if !bytes.Contains(b, []byte("flow-report-1.1.0")) {
			t.Errorf("%s after the pull: %v %s, want that of flow-report-1.1.0", c, err, b)
		}
	}
	h.sound()
	now := h.holds()
	h.stop()
	h = open(t, data)
	if again := h.holds(); again != now {
		t.Errorf("after the next start the folder holds\n%s\nwant\n%s", again, now)
	}
}

// TestOldFolderIsRead: who changes nothing of the record, as verify, lets the
// folder be what it was.
func TestOldFolderIsRead(t *testing.T) {
	t.Parallel()
	data, _ := oldFolder(t)
	before := tips(t, data)
	h := open(t, data, func(c *gitstore.Config) { c.Earlier = format.ReadEarlier })
	h.sound()
	h.stop()
	if after := tips(t, data); after != before || formatOf(t, data) != "2\n" {
		t.Errorf("refs or the format moved when the folder was read:\n%s\nwere\n%s", after, before)
	}
}

// TestOldWorkspaces loses workspaces of an earlier server. Nothing says where their
// chains began, so they begin anew, and hold what is in effect.
func TestOldWorkspaces(t *testing.T) {
	t.Parallel()
	data, _ := oldFolder(t)
	held := git(t, filepath.Join(data, "users", "ana.git"), "rev-parse", "main^{tree}")
	readme := git(t, filepath.Join(data, "blank.git"), "cat-file", "blob", "main:README.ipynb")
	check(t, errors.Join(os.RemoveAll(filepath.Join(data, "users", "ana.git")), os.RemoveAll(filepath.Join(data, "users", "carl.git"))))
	h := open(t, data, upgrading, func(c *gitstore.Config) { c.Readme = []byte(readme + "\n") })
	if got := h.git("users/ana.git", "rev-parse", "main^{tree}"); got != held {
		t.Errorf("ana has the files %s, and had %s", got, held)
	}
	h.sound()
}

// tips are all refs of the record in a data folder. The blank workspace is none
// of it: it moves with the server's own README.
func tips(t testing.TB, data string) string {
	t.Helper()
	repositories, err := filepath.Glob(filepath.Join(data, "*", "*.git"))
	check(t, err)
	var list strings.Builder
	for _, r := range append(repositories, filepath.Join(data, "sweeps.git")) {
		fmt.Fprintf(&list, "%s\n%s\n", strings.TrimPrefix(r, data), git(t, r, "for-each-ref", "--format=%(objectname) %(refname)"))
	}
	return list.String()
}

// holds tells all that the record answers, in words that do not hang on times
// and hashes.
func (h *house) holds() string {
	h.t.Helper()
	var out bytes.Buffer
	page := dm.Page{Limit: dm.MaxPage}
	told := func(past dm.ChangePage, err error) {
		check(h.t, err)
		for _, c := range past.Changes {
			fmt.Fprintf(&out, "  %s %s by %s via %s, deployment %d, pushed %t, reason %q, findings %q", c.Verb, c.Package, c.User, c.Via, c.Deployment, c.Pushed != "", c.Reason, c.Findings)
			if c.Outcome != nil {
				fmt.Fprintf(&out, ": %s %t %q", c.Outcome.Phase, c.Outcome.Succeeded, untimed(c.Outcome.Information))
			}
			fmt.Fprintln(&out)
		}
	}
	deployed := h.DeployedPackages()
	for _, p := range h.ListPackages(0) {
		fmt.Fprintf(&out, "package %s of %s\n", p.Name, h.PackageOwner(p.Name))
		for _, f := range p.Versions {
			a, err := h.OpenArchive(ctx, f)
			check(h.t, err)
			fmt.Fprintf(&out, " %s, %d bytes, deployed %t, applications %q\n", f, a.Size, slices.Contains(deployed, f.Ref.String()), h.PackageApplications(f.Ref.String()))
			check(h.t, a.Close())
		}
		told(h.PackageHistory(ctx, p.Name, page))
	}
	st, err := h.PackageStatus(ctx, "never-1.0.0")
	check(h.t, err)
	fmt.Fprintf(&out, "never-1.0.0: %s %q\n", st.Phase, untimed(st.Information))
	for _, app := range []dm.ApplicationName{"Failed", "noon-run", "overtaken", "pushed", "second", "short"} {
		a, ok, err := h.Application(ctx, app)
		check(h.t, err)
		overrides, err := json.Marshal(a.Spec.Overrides)
		check(h.t, err)
		fmt.Fprintf(&out, "application %s: %t %s of %s, deployment %d, owner %s, audience %q, overrides %s, %q\n", app, ok, a.Phase, a.Spec.Package, a.Deployment, a.Spec.Owner, a.Spec.Audience, overrides, untimed(a.Information))
		told(h.ApplicationHistory(ctx, app, page))
	}
	past, err := h.ApplicationHistory(ctx, "noon-run", page)
	check(h.t, err)
	first := past.Changes[len(past.Changes)-1]
	then, err := h.At(ctx, first.Outcome.Time, func(dm.ApplicationName, dm.UserName) bool { return true })
	check(h.t, err)
	for _, a := range then {
		fmt.Fprintf(&out, "then %s of %s: %s of %s, deployment %d\n", a.Application, a.Owner, a.Phase, a.Package, a.Deployment)
	}
	users, err := h.Workspaces().Users()
	check(h.t, err)
	fmt.Fprintf(&out, "users %q\n", users)
	return out.String()
}

// untimed cuts a time at the end off.
func untimed(information string) string {
	text, _, _ := strings.Cut(information, " at 20")
	return text
}
