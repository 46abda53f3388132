package gitstore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
)

// crashCopy copies the data folder when step is reached the first time after
// armed, which is what a server that is killed there leaves.
func crashCopy(t *testing.T, dir, step string, armed *atomic.Bool) (option, string) {
	copied := filepath.Join(t.TempDir(), "data")
	return func(c *gitstore.Config) {
		c.Step = func(name string) {
			if name == step && armed.CompareAndSwap(true, false) {
				if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
					t.Error(err)
				}
			}
		}
	}, copied
}

// packsOf lists the pack files of a repository.
func packsOf(t *testing.T, repository string) []string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(repository, "objects/pack/pack-*"))
	check(t, err)
	for i, path := range list {
		list[i] = filepath.Base(path)
	}
	slices.Sort(list)
	return list
}

// TestPacksOfAKilledChangeGo kills changes of existing repositories before and
// after the ref that makes them moves.
func TestPacksOfAKilledChangeGo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		step, repository string
		stays            int // files of packs that the change brought and a ref leads to
	}{
		{"publish-linked", "packages/flow.git", 0},
		{"publish-superseded", "packages/flow.git", 3}, // the archive's, which its ref names
		{"publish-tagged", "packages/flow.git", 5},     // and what is new in the content
		{"desired-packed", "applications/app.git", 0},
		{"desired-moved", "applications/app.git", 4}, // content, and the commit's
		{"workspace-packed", "users/ana.git", 0},
	} {
		t.Run(c.step, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var armed atomic.Bool
			step, copied := crashCopy(t, dir, c.step, &armed)
			h := open(t, dir, step)
			v := h.deployed("ana", "flow-1.0.0", "one")
			h.created("ana", "app", v)
			before := packsOf(t, filepath.Join(dir, c.repository))
			armed.Store(true)
			h.publish("ana", "flow-1.1.0.tgz", notebook("flow-1.1.0", "two"))
			check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Overrides: dm.Overrides{"jupyter": {"report": {"topic": []byte(`"mine"`)}}}}))
			h.settle("app")
			h.asks("ana")
			h.stop()
			if armed.Load() {
				t.Fatalf("the step %s was not reached", c.step)
			}

			h = openStill(t, copied)
			after := packsOf(t, filepath.Join(copied, c.repository))
			brought := slices.DeleteFunc(slices.Clone(after), func(f string) bool { return slices.Contains(before, f) })
			if len(after) != len(before)+len(brought) || len(brought) != c.stays {
				t.Errorf("packs after the start:\n%s\nbefore the change:\n%s\nwant %d files of it", strings.Join(after, "\n"), strings.Join(before, "\n"), c.stays)
			}
			if left, err := os.ReadDir(filepath.Join(copied, "tmp")); err != nil || len(left) > 0 {
				t.Errorf("tmp holds %v, %v", left, err)
			}
			h.sound()
		})
	}
}

// TestOrphansWriteIntoTmp opens a folder while what outlived its last server
// keeps filling stages. The start must not fail for that, and the next one finds
// nothing that stays.
func TestOrphansWriteIntoTmp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir).stop()
	var orphans sync.WaitGroup
	var end atomic.Bool
	for i := range 3 {
		objects := filepath.Join(dir, "tmp", fmt.Sprint("stage-", i), "objects")
		check(t, os.MkdirAll(objects, 0o700))
		orphans.Go(func() {
			for n := 0; !end.Load(); n++ {
				_ = os.MkdirAll(objects, 0o700) // it may just have been removed
				_ = os.WriteFile(filepath.Join(objects, fmt.Sprint(n)), []byte("part of a pack"), 0o600)
			}
		})
	}
	for range 3 {
		h, _ := build(t, dir)
		check(t, h.Close())
	}
	end.Store(true)
	orphans.Wait()
	h := openStill(t, dir)
	h.publish("ana", "flow-1.0.0.tgz", notebook("flow-1.0.0", "one"))
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(left) > 0 {
		t.Errorf("tmp holds %v, %v", left, err)
	}
}

// TestKilledChangeKeepsWhatWasMended starts after a change was killed and its
// repository was damaged: the start mends it before it takes the change's packs away.
func TestKilledChangeKeepsWhatWasMended(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var armed atomic.Bool
	step, copied := crashCopy(t, dir, "desired-packed", &armed)
	h := open(t, dir, step)
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	armed.Store(true)
	check(t, h.Start(ctx, as("ana"), "app"))
	h.settle("app")
	h.stop()
	damaged := harmTwice(t, copied)

	h = openStill(t, copied)
	git(t, damaged, "fsck", "--strict", "--full", "--no-dangling")
	h.sound()
}
