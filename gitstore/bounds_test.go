package gitstore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/gitstore/index"
)

func bounded(b index.Bounds) option {
	all := index.Bounds{Applications: 1000, ApplicationsOf: 1000, Failures: 1000, FailuresOf: 1000, Workspaces: 1000, Specs: b.Specs}
	if all.Specs == 0 {
		all.Specs = 1 << 30
	}
	b.Specs = all.Specs
	for _, p := range [][2]*int{
		{&b.Applications, &all.Applications}, {&b.ApplicationsOf, &all.ApplicationsOf}, {&b.Failures, &all.Failures},
		{&b.FailuresOf, &all.FailuresOf}, {&b.Workspaces, &all.Workspaces},
	} {
		if *p[0] == 0 {
			*p[0] = *p[1]
		}
	}
	return func(c *gitstore.Config) { c.Bounds = b }
}

// held counts the repositories of a kind.
func (h *house) held(kind dm.RepositoryKind) int {
	h.t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.dir, string(kind)))
	check(h.t, err)
	return len(entries)
}

// TestNamesOfApplicationsAreBounded makes and destroys applications under ever
// new names. The names stay used, so there is a last one, of each person and of
// all; old names go on.
func TestNamesOfApplicationsAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limit := bounded(index.Bounds{Applications: 4, ApplicationsOf: 3})
	h := open(t, dir, limit)
	ref := h.deployed("ana", "flow-1.0.0", "v1")
	for n := range 3 {
		app := dm.ApplicationName(fmt.Sprint("run-", n))
		h.created("ana", app, ref)
		check(t, h.Destroy(ctx, as("ana"), app, false))
		h.settle(app)
	}
	for range 2 { // and after a start
		err := h.Create(ctx, as("ana"), dm.Spec{Name: "run-3", Package: ref})
		wantKind(t, err, dm.Conflict, "exceeded quota: ana has used 3 names of applications; reuse the name of a destroyed application, or ask an administrator to raise limits.applications_each")
		h.stop()
		h = open(t, dir, limit)
	}
	h.created("ana", "run-1", ref)
	h.created("ben", "bens", ref)
	wantKind(t, h.Create(ctx, as("cyd"), dm.Spec{Name: "cyds", Package: ref}), dm.Conflict, "exceeded quota: 4 names of applications have been used")
	check(t, h.Change(ctx, as("ana"), "run-1", dm.Edit{Overrides: dm.Overrides{}}))
	if n := h.held(dm.ApplicationRepository); n != 4 {
		t.Errorf("%d repositories of applications", n)
	}
	h.settle("run-1")
	h.sound()
}

// TestFailuresAreBounded deploys what is not there, under ever new names and
// versions, again and again. Each is answered as PNDA does; few are kept.
func TestFailuresAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limit := bounded(index.Bounds{Failures: 6, FailuresOf: 4})
	h := open(t, dir, limit)
	h.deployed("ana", "flow-1.0.0", "v1")
	deploy := func(user dm.UserName, id string) {
		t.Helper()
		check(t, h.DeployPackage(ctx, as(user), id))
		if st, err := h.PackageStatus(ctx, id); err != nil || st.Phase != dm.NotDeployed || !strings.Contains(st.Information, id+" NotFound") {
			t.Errorf("%s: %s %q, %v", id, st.Phase, st.Information, err)
		}
		if states := h.states(id); len(states) < 2 || states[len(states)-1] != dm.NotDeployed {
			t.Errorf("%s went through %v", id, states)
		}
	}
	for n := range 10 {
		deploy("ana", fmt.Sprintf("gone%d-1.0.0", n/2))
		deploy("ana", fmt.Sprintf("flow-7.0.%d", n))
	}
	if n := h.held(dm.PackageRepository); n > 1+4 {
		t.Errorf("%d repositories of packages after ana's failures", n)
	}
	for n := range 10 {
		deploy("ben", fmt.Sprintf("lost%d-1.0.0", n))
	}
	if n := h.held(dm.PackageRepository); n > 1+6 {
		t.Errorf("%d repositories of packages after ben's failures", n)
	}
	before := h.snapshot()
	for range 5 {
		deploy("ben", "lost0-1.0.0")
		deploy("cyd", "lost9-1.0.0")
	}
	if after := h.snapshot(); after != before {
		t.Errorf("the same failures again changed\n%s\nto\n%s", before, after)
	}
	// What comes to be there is deployed as ever, and its failure is forgotten.
	h.deployed("ana", "lost9-1.0.0", "there now")
	check(t, h.UndeployPackage(ctx, as("ana"), "lost9-1.0.0"))
	if st, _ := h.PackageStatus(ctx, "lost9-1.0.0"); st.Information != "" {
		t.Errorf("the old failure is told: %q", st.Information)
	}
	h.sound()
	h.stop()
	h = open(t, dir, limit)
	if st, _ := h.PackageStatus(ctx, "gone0-1.0.0"); !strings.Contains(st.Information, "gone0-1.0.0 NotFound") {
		t.Errorf("after a start the record says %q", st.Information)
	}
}

// TestLongIDsAreForgotten deploys ids that can't name a package and are as long
// as a request may be.
func TestLongIDsAreForgotten(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	id := func(n int) string { return fmt.Sprintf("%d%s", n, strings.Repeat("ä", 7000)) }
	told := func(n int) bool {
		st, err := h.PackageStatus(ctx, id(n))
		check(t, err)
		return st.Information != ""
	}
	for n := range 300 {
		check(t, h.DeployPackage(ctx, as("ana"), id(n)))
		if !told(n) {
			t.Fatalf("id %d is not told of", n)
		}
	}
	if told(0) || told(100) || !told(298) {
		t.Errorf("told of the oldest: %t, of a later one: %t, of the newest but one: %t", told(0), told(100), told(298))
	}
}

func TestWorkspacesAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), bounded(index.Bounds{Workspaces: 2}))
	ref := h.deployed("ana", "flow-1.0.0", "v1")
	h.created("ana", "one", ref)
	h.created("ben", "two", ref)
	check(t, h.Create(ctx, as("teacher"), dm.Spec{Name: "class", Package: ref, Audience: []dm.Subject{"group:class"}}))
	if view := h.settle("class"); view.Phase != dm.Created { // that somebody has no room is not its fault
		t.Errorf("class is %s: %s", view.Phase, view.Information)
	}
	_, _, err := h.Workspaces().Bring(ctx, "bob", reader("bob"))
	wantKind(t, err, dm.Conflict, "2 users have a repository, and 1 more would exceed the limit of 2")
	if got := h.git("users/ana.git", "ls-tree", "--name-only", "main"); got != "README.ipynb\nclass\none" {
		t.Errorf("ana has %q", got)
	}
	if n := h.held(dm.WorkspaceRepository); n != 2 {
		t.Errorf("%d workspaces", n)
	}
	h.sound()
}

// TestSpecsAreBounded fills memory with overrides: of one person, of all, in
// creates and in changes. What was destroyed takes none.
func TestSpecsAreBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	limit := bounded(index.Bounds{Specs: 200 << 10})
	h := open(t, dir, limit)
	ref := h.deployed("ana", "flow-1.0.0", "v1")
	big := func(n int) dm.Overrides {
		return dm.Overrides{"jupyter": {"report": {"topic": json.RawMessage(`"` + strings.Repeat("x", n) + `"`)}}}
	}
	create := func(user dm.UserName, app dm.ApplicationName, n int) error {
		return h.Create(ctx, as(user), dm.Spec{Name: app, Package: ref, Overrides: big(n)})
	}
	const words = "the overrides and audiences of ana's applications would have"
	check(t, create("ana", "one", 40<<10))
	h.settle("one")
	wantKind(t, create("ana", "two", 40<<10), dm.Conflict, words)
	wantKind(t, h.Change(ctx, as("ana"), "one", dm.Edit{Overrides: big(41 << 10)}), dm.Conflict, words)
	h.stop()
	h = open(t, dir, limit)
	wantKind(t, create("ana", "two", 40<<10), dm.Conflict, words)
	check(t, h.Destroy(ctx, as("ana"), "one", false))
	h.settle("one")
	check(t, create("ana", "two", 40<<10))
	h.settle("two")
	for _, u := range []dm.UserName{"ben", "cyd", "dee", "eli"} {
		check(t, create(u, dm.ApplicationName(u), 35<<10))
		h.settle(dm.ApplicationName(u))
	}
	wantKind(t, create("fay", "fays", 40<<10), dm.Conflict, "the overrides and audiences of all applications would have")
	h.sound()
}

// TestRefusedChangeGivesItsMemoryBack refuses a change after it was planned: the
// next one has the memory again that plans share.
func TestRefusedChangeGivesItsMemoryBack(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]index.Bounds{"specs": {Specs: 40 << 10}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir(), bounded(limit), func(c *gitstore.Config) { c.Filling = 1 })
			ref := h.deployed("ana", "flow-1.0.0", "v1")
			spec := dm.Spec{Name: "much", Package: ref, Audience: []dm.Subject{"user:ana", "user:ben"}, Overrides: dm.Overrides{
				"jupyter": {"report": {"topic": json.RawMessage(`"` + strings.Repeat("x", 20<<10) + `"`)}},
			}}
			wantKind(t, h.Create(ctx, as("root"), spec), dm.Conflict, "")
			soon, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			check(t, h.Create(soon, as("ana"), dm.Spec{Name: "little", Package: ref}))
			h.settle("little")
		})
	}
}

// size is the room that a repository takes, hard links included, and its files.
func (h *house) size(repository string) (blocks int64, files int) {
	h.t.Helper()
	check(h.t, filepath.WalkDir(filepath.Join(h.dir, repository), func(_ string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		blocks += (info.Size() + 4095) / 4096 * 4096
		if !d.IsDir() {
			files++
		}
		return nil
	}))
	return blocks, files
}

// TestWhatRestsIsSmall holds what a destroyed application and a failed deploy
// cost for ever after maintenance.
func TestWhatRestsIsSmall(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	check(t, h.DeployPackage(ctx, as("ana"), "nothere-1.0.0"))
	ref := h.deployed("ana", "flow-1.0.0", "v1")
	h.created("ana", "gone", ref)
	check(t, h.Start(ctx, as("ana"), "gone"))
	h.settle("gone")
	check(t, h.Destroy(ctx, as("ana"), "gone", false))
	h.settle("gone")
	check(t, h.Maintain(ctx))
	for repository, most := range map[string]struct {
		kib   int64
		files int
	}{"applications/gone.git": {56, 8}, "packages/nothere.git": {36, 5}} {
		blocks, files := h.size(repository)
		t.Logf("%s: %d KiB, %d files", repository, blocks>>10, files)
		if blocks > most.kib<<10 || files > most.files {
			t.Errorf("%s takes %d KiB and %d files, want at most %d and %d", repository, blocks>>10, files, most.kib, most.files)
		}
	}
	before := h.snapshot()
	check(t, h.Maintain(ctx))
	if after := h.snapshot(); after != before {
		t.Errorf("a second pass changed\n%s\nto\n%s", before, after)
	}
	h.sound()
	h.stop()
	h = open(t, dir)
	h.created("ana", "gone", ref)
	h.sound()
}
