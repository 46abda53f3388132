package gitstore_test

import (
	"context"
	"crypto/sha256"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
)

// keptPacks are the digests of all packs that have a .keep file.
func (h *house) keptPacks() map[string][32]byte {
	h.t.Helper()
	keeps, err := filepath.Glob(filepath.Join(h.dir, "*", "*.git", "objects", "pack", "*.keep"))
	check(h.t, err)
	all := map[string][32]byte{}
	for _, keep := range keeps {
		for _, extension := range []string{".keep", ".pack", ".idx"} {
			path := strings.TrimSuffix(keep, ".keep") + extension
			content, err := os.ReadFile(path)
			check(h.t, err)
			all[path] = sha256.Sum256(content)
		}
	}
	return all
}

// sameKept fails when a pack of before is not what it was.
func (h *house) sameKept(before map[string][32]byte) {
	h.t.Helper()
	after := h.keptPacks()
	for path, digest := range before {
		if after[path] != digest {
			h.t.Errorf("%s was touched", path)
		}
	}
}

func TestMaintain(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	h := open(t, t.TempDir(), func(c *gitstore.Config) { c.Registerer = registry })
	ref := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", ref)
	for _, change := range []func(context.Context, dm.Actor, dm.ApplicationName) error{h.Start, h.Stop, h.Start} {
		check(t, change(ctx, as("ana"), "app"))
		h.settle("app")
	}
	flow := dm.Repository{Kind: dm.PackageRepository, Name: "flow"}
	young, err := h.AddBlobs(flow, 1)
	check(t, err)
	kept, refs := h.keptPacks(), refsAndValues(h)
	check(t, h.MaintainAll(ctx))

	h.sameKept(kept)
	if got := refsAndValues(h); !maps.Equal(got, refs) || len(kept) < 9 {
		t.Errorf("refs are\n%v\nwant\n%v", got, refs)
	}
	for dir := range refs {
		if loose, err := filepath.Glob(filepath.Join(dir, "refs", "*", "*")); err != nil || slices.ContainsFunc(loose, isFile) {
			t.Errorf("loose refs are left: %q, %v", loose, err)
		}
		if packs, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*.pack")); err != nil || len(packs) > 5 {
			t.Errorf("packs: %q, %v", packs, err)
		}
	}
	if got := h.git("packages/flow.git", "cat-file", "-t", young[0]); got != "blob" {
		t.Errorf("a young object that no ref leads to is %q, want it kept", got)
	}
	tended := metric(t, registry, "dm_maintenance_repositories_total")
	if tended != 3 || metric(t, registry, "dm_maintenance_runs_total") != 1 || metric(t, registry, "dm_maintenance_last_success_timestamp_seconds") == 0 {
		t.Errorf("%v repositories counted, want 3 in one good pass", tended)
	}

	check(t, h.Stop(ctx, as("ana"), "app"))
	if view := h.settle("app"); view.Phase != dm.Created || view.Spec.State != dm.WantCreated {
		t.Errorf("after maintenance and a stop: %+v", view)
	}
	h.sound()
	h.stop()
	again := openStill(t, h.dir)
	again.sound()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// refsAndValues lists all refs by repository.
func refsAndValues(h *house) map[string]string {
	h.t.Helper()
	dirs, err := filepath.Glob(filepath.Join(h.dir, "*", "*.git"))
	check(h.t, err)
	all := map[string]string{}
	for _, dir := range dirs {
		all[dir] = git(h.t, dir, "for-each-ref")
	}
	return all
}

// metric is the sum of a metric over its labels.
func metric(t *testing.T, from prometheus.Gatherer, name string) (sum float64) {
	t.Helper()
	families, err := from.Gather()
	check(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}

// TestMaintainPrunes gives a repository an old object that no ref leads to,
// and an old cruft pack.
func TestMaintainPrunes(t *testing.T) {
	t.Parallel()
	h := openStill(t, t.TempDir())
	h.deployed("ana", "flow-1.0.0", "one") // whose outcome lies beside
	flow := dm.Repository{Kind: dm.PackageRepository, Name: "flow"}
	packs := filepath.Join(h.dir, "packages", "flow.git", "objects", "pack")
	pack := func(extension string) []string {
		list, err := filepath.Glob(filepath.Join(packs, "*"+extension))
		check(t, err)
		return list
	}
	age := func(paths []string) {
		for _, path := range paths {
			check(t, os.Chtimes(path, time.Time{}, time.Now().Add(-20*24*time.Hour)))
		}
	}
	missing := func(id string) bool {
		return !strings.Contains(h.git("packages/flow.git", "cat-file", "--batch-all-objects", "--batch-check"), id)
	}

	before := pack(".pack")
	old, err := h.AddBlobs(flow, 3)
	check(t, err)
	for _, path := range pack(".pack") {
		if !slices.Contains(before, path) {
			age([]string{path})
		}
	}
	check(t, h.Maintain(ctx))
	if !missing(old[2]) || len(pack(".mtimes")) != 0 {
		t.Errorf("the old object is missing: %v; want it gone without a cruft pack: %q", missing(old[2]), pack(".mtimes"))
	}

	age(pack(".pack")) // of which a look takes it that something may have to go
	young, err := h.AddBlobs(flow, 4)
	check(t, err)
	check(t, h.Maintain(ctx))
	cruft := pack(".mtimes")
	if missing(young[3]) || len(cruft) != 1 {
		t.Fatalf("the young object is missing: %v; cruft packs %q, want one", missing(young[3]), cruft)
	}
	snapshot := h.snapshot()
	check(t, h.Maintain(ctx))
	if got := h.snapshot(); got != snapshot {
		t.Errorf("with nothing to do, maintenance changed\n%s\nto\n%s", snapshot, got)
	}
	// The cruft pack is old, but the times that it lists are young.
	age(cruft)
	check(t, h.Maintain(ctx))
	if missing(young[3]) {
		t.Error("the young object went with the cruft pack's age")
	}
	h.sound()
}

func TestMaintainPassesOver(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	before := h.snapshot()
	for range 2 {
		check(t, h.Maintain(ctx))
	}
	if got := h.snapshot(); got != before {
		t.Errorf("maintenance changed\n%s\nto\n%s", before, got)
	}
}

// TestMaintainCountsSmallPacks: packs with a .keep file, of which every upload
// leaves two, are no reason to go to work.
func TestMaintainCountsSmallPacks(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	h := open(t, t.TempDir(), func(c *gitstore.Config) { c.Registerer = registry })
	for _, id := range []string{"flow-1.0.0", "flow-1.0.1", "flow-1.0.2", "flow-1.0.3", "flow-1.0.4"} {
		h.publish("ana", id+".tar.gz", archivetest.Tgz(map[string]string{id + "/jupyter/report/all.ipynb": id})) // nothing of one before
	}
	check(t, h.Maintain(ctx)) // of the refs there is enough
	tended := metric(t, registry, "dm_maintenance_repositories_total")
	check(t, h.Maintain(ctx))
	if got := metric(t, registry, "dm_maintenance_repositories_total"); got != tended || len(h.keptPacks()) < 3*9 {
		t.Errorf("%v repositories were maintained again, with %d files of kept packs; want none with 27 or more", got-tended, len(h.keptPacks()))
	}
}

// TestMaintainGoesOn breaks one repository; the others are maintained.
func TestMaintainGoesOn(t *testing.T) {
	t.Parallel()
	h := openStill(t, t.TempDir())
	for _, id := range []string{"flow-1.0.0", "flow-1.0.1", "work-1.0.0", "work-1.0.1"} {
		h.publish("ana", id+".tar.gz", notebook(id, "one"))
	}
	lock := filepath.Join(h.dir, "packages", "flow.git", "packed-refs.lock")
	check(t, os.WriteFile(lock, nil, 0o600))
	wantKind(t, h.MaintainAll(ctx), dm.Unavailable, "")
	if _, err := os.Stat(filepath.Join(h.dir, "packages", "work.git", "packed-refs")); err != nil {
		t.Errorf("the sound repository: %v", err)
	}
	check(t, os.Remove(lock))
	check(t, h.MaintainAll(ctx))
	h.sound()
}

func TestMaintainEvery(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	h, _ := build(t, t.TempDir(), func(c *gitstore.Config) { c.Registerer = registry })
	h.closeWith(func() {})
	wantKind(t, h.MaintainEvery(ctx, 0), dm.Invalid, "above 0")
	inner, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.MaintainEvery(inner, time.Millisecond) }()
	deadline := time.Now().Add(10 * time.Second)
	for metric(t, registry, "dm_maintenance_runs_total") < 3 {
		if time.Now().After(deadline) {
			t.Fatal("maintenance does not run again and again")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	check(t, <-ended)
}

// TestMaintainMendsMain wants main of a package to follow its versions as soon
// as it can be moved, without a further upload and without a start.
func TestMaintainMendsMain(t *testing.T) {
	t.Parallel()
	h, mended := mainThatCouldNotMove(t)
	check(t, h.Maintain(ctx))
	if !mended() {
		t.Error("main is not at the newest upload")
	}
}

// TestSecondLookMendsMain: nobody needs to wait for maintenance.
func TestSecondLookMendsMain(t *testing.T) {
	t.Parallel()
	h, mended := mainThatCouldNotMove(t)
	looking, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- h.Service().LookAgain(looking) }()
	for deadline := time.Now().Add(time.Minute); !mended(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("main is not at the newest upload")
		}
	}
	stop()
	check(t, <-ended)
}

// mainThatCouldNotMove publishes two versions, the second while main is locked.
func mainThatCouldNotMove(t *testing.T) (h *house, mended func() bool) {
	t.Helper()
	h = open(t, t.TempDir())
	h.publish("ana", "flow-1.0.0.tar.gz", notebook("flow-1.0.0", "one"))
	const repository = "packages/flow.git"
	lock := filepath.Join(h.dir, repository, "refs", "heads", "main.lock")
	write(t, lock, "")
	h.publish("ana", "flow-1.1.0.tar.gz", notebook("flow-1.1.0", "two"))
	second := h.git(repository, "rev-parse", "refs/tags/1.1.0^{commit}")
	mended = func() bool { return h.git(repository, "rev-parse", "refs/heads/main") == second }
	if mended() {
		t.Fatal("main moved although it was locked")
	}
	check(t, os.Remove(lock))
	return h, mended
}

// TestMaintainWaitsForAChange begins maintenance in the middle of a change of
// the same repository: whose objects no ref leads to yet.
func TestMaintainWaitsForAChange(t *testing.T) {
	t.Parallel()
	var h *house
	ended := make(chan error, 1)
	armed := false // used by the goroutine that makes the change
	h = open(t, t.TempDir(), func(c *gitstore.Config) {
		c.Step = func(step string) {
			if step != "desired-packed" || !armed {
				return
			}
			armed = false
			go func() { ended <- h.MaintainAll(ctx) }()
			select {
			case err := <-ended:
				t.Errorf("maintenance did not wait: %v", err)
				ended <- err
			case <-time.After(time.Second):
			}
		}
	})
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	armed = true
	check(t, h.Start(ctx, as("ana"), "app"))
	if armed {
		t.Fatal("the change does not reach the step")
	}
	check(t, <-ended)
	h.settle("app")
	h.sound()
}
