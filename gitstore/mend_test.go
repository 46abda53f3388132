package gitstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// packOf is the path of the pack that holds an object, without its ending.
func packOf(t *testing.T, dir, object string) string {
	t.Helper()
	indexes, err := filepath.Glob(dir + "/objects/pack/*.idx")
	check(t, err)
	for _, idx := range indexes {
		if strings.Contains(git(t, dir, "verify-pack", "-v", idx), object) {
			return strings.TrimSuffix(idx, ".idx")
		}
	}
	t.Fatalf("no pack of %s has %s", dir, object)
	return ""
}

// TestDamageThatTheRecordMends breaks one thing of which the record has a source
// or a copy. Found at the start, and found by the patrol, it must be as before,
// with everything in service.
func TestDamageThatTheRecordMends(t *testing.T) {
	t.Parallel()
	const rows = "refs/tags/1.0.0:jupyter/report/data/rows.csv"
	cases := map[string]func(t *testing.T, h *house){
		"a file of a package": func(t *testing.T, h *house) {
			flip(t, h.dir+"/packages/flow.git", h.git("packages/flow.git", "rev-parse", rows))
		},
		"a tree of a package": func(t *testing.T, h *house) {
			flip(t, h.dir+"/packages/flow.git", h.git("packages/flow.git", "rev-parse", "refs/tags/1.0.0:jupyter"))
		},
		"a pack that is linked into all": func(t *testing.T, h *house) {
			object := h.git("packages/flow.git", "rev-parse", rows)
			path := packOf(t, h.dir+"/packages/flow.git", object) + ".pack"
			flip(t, h.dir+"/packages/flow.git", object)
			links := 0
			for _, linked := range []string{"applications/app.git", "packages/flow.git"} {
				other := filepath.Join(h.dir, linked, "objects/pack", filepath.Base(path))
				if other != path && os.Remove(other) == nil {
					check(t, os.Link(path, other))
					links++
				}
			}
			if links == 0 {
				t.Error("nobody shares the pack")
			}
		},
		"a tag, of which an application has a copy": func(t *testing.T, h *house) {
			flip(t, h.dir+"/packages/flow.git", h.git("packages/flow.git", "rev-parse", "refs/tags/1.0.0"))
		},
		"a package's pack in an application": func(t *testing.T, h *house) {
			flip(t, h.dir+"/applications/app.git", h.git("packages/flow.git", "rev-parse", rows))
		},
		"a lost pack in an application": func(t *testing.T, h *house) {
			path := packOf(t, h.dir+"/applications/app.git", h.git("packages/flow.git", "rev-parse", rows))
			check(t, os.Remove(path+".pack"))
		},
		"a pack without a trace in an application": func(t *testing.T, h *house) {
			path := packOf(t, h.dir+"/applications/app.git", h.git("packages/flow.git", "rev-parse", rows))
			check(t, errors.Join(os.Remove(path+".idx"), os.Remove(path+".pack"), os.Remove(path+".keep")))
		},
		"delivered content, which its user has": func(t *testing.T, h *house) {
			path := packOf(t, h.dir+"/applications/app.git", h.git("applications/app.git", "rev-parse", "main:components/jupyter/report"))
			check(t, os.Remove(path+".pack"))
		},
		"an index": func(t *testing.T, h *house) {
			path := packOf(t, h.dir+"/packages/flow.git", h.git("packages/flow.git", "rev-parse", rows)) + ".idx"
			content, err := os.ReadFile(path)
			check(t, err)
			check(t, os.Remove(path))
			write(t, path, string(content[:len(content)/2]))
		},
		"a lost index": func(t *testing.T, h *house) {
			check(t, os.Remove(packOf(t, h.dir+"/packages/flow.git", h.git("packages/flow.git", "rev-parse", rows))+".idx"))
		},
		"an index of all packs": func(t *testing.T, h *house) {
			write(t, h.dir+"/packages/flow.git/objects/pack/multi-pack-index", "MIDX\x01\x01 rubbish")
		},
		"config and HEAD": func(t *testing.T, h *house) {
			write(t, h.dir+"/packages/flow.git/config", "[core]\n\tbare = tr")
			check(t, os.Remove(h.dir+"/applications/app.git/HEAD"))
		},
		"the blank workspace": func(t *testing.T, h *house) {
			packs, err := filepath.Glob(h.dir + "/blank.git/objects/pack/*.pack")
			check(t, err)
			content, err := os.ReadFile(packs[0])
			check(t, err)
			check(t, os.Remove(packs[0]))
			write(t, packs[0], string(content[:len(content)-30]))
		},
		"the blank workspace's ref": func(t *testing.T, h *house) {
			check(t, os.RemoveAll(h.dir+"/blank.git/packed-refs"))
			write(t, h.dir+"/blank.git/refs/heads/main", "")
		},
	}
	for name, harm := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
			before := refsAndValues(h)
			blank := h.git("blank.git", "rev-parse", "main")
			h.stop()
			harm(t, h)
			h = open(t, h.dir)
			check(t, h.Service().Patrol(ctx))
			for range 3 { // an application may have to wait for its package
				h.Service().Repair(ctx)
			}
			h.inService("after " + name)
			for dir, refs := range refsAndValues(h) {
				if before[dir] != refs {
					t.Errorf("%s has\n%s\nwant\n%s", dir, refs, before[dir])
				}
				git(t, dir, "fsck", "--strict", "--full", "--no-dangling")
			}
			if got := h.git("blank.git", "rev-parse", "main"); got != blank {
				t.Errorf("the blank workspace has %s, want %s", got, blank)
			}
			check(t, h.Start(ctx, as("ana"), "app"))
			if view := h.settle("app"); view.Phase != dm.Started {
				t.Errorf("%+v", view)
			}
			h.sound()
		})
	}
}

// TestTreesBesideLitterAreMadeAgain breaks the tree of a package of which only
// the archive tells, and not all in it is in the tree.
func TestTreesBesideLitterAreMadeAgain(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.publish("ana", "flow-1.0.0.tar.gz", withLitter("flow-1.0.0", "flow-1.0.0/__macosx/inner"))
	h.stop()
	dir := filepath.Join(h.dir, "packages/flow.git")
	flip(t, dir, git(t, dir, "rev-parse", "1.0.0^{tree}"))
	h = open(t, h.dir)
	check(t, h.Service().Patrol(ctx))
	h.inService("after the damage")
	h.sound()
}

// TestBlankWorkspaceIsMadeAnew loses the blank workspace in ways that leave
// nothing to mend it from. The server must start.
func TestBlankWorkspaceIsMadeAnew(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(dir string) error{
		"objects":  func(dir string) error { return os.RemoveAll(dir + "/objects/pack") },
		"no files": func(dir string) error { return errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o750)) },
		"all":      os.RemoveAll,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			h.stop()
			check(t, harm(h.dir+"/blank.git"))
			h = open(t, h.dir)
			h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
			if got := h.git("blank.git", "ls-tree", "--name-only", "main"); got != "README.ipynb" {
				t.Errorf("it holds %q", got)
			}
			h.sound()
		})
	}
}

// TestDamageThatNothingMends flips bytes of which there is no other copy. It is
// found, told with file and cause, and set aside.
func TestDamageThatNothingMends(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		object func(h *house) string
		in     string
	}{
		"an archive":                 {func(h *house) string { return h.archiveBlob("flow") }, "packages/flow"},
		"the spec of an application": {func(h *house) string { return h.git("applications/app.git", "rev-parse", "main:application.json") }, "applications/app"},
		"an outcome":                 {func(h *house) string { return h.git("applications/app.git", "rev-parse", "refs/observed/head") }, "applications/app"},
		"an outcome of a deployment": {func(h *house) string { return h.git("packages/flow.git", "rev-parse", "refs/deployed/1.0.0") }, "packages/flow"},
		"what nobody reads any more": {func(h *house) string { return h.git("applications/app.git", "rev-parse", "main~1") }, "applications/app"},
		"the number of a deployment?": {func(h *house) string {
			return h.git("applications/app.git", "rev-parse", "refs/deployments/1^{commit}")
		}, "applications/app"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
			check(t, h.Start(ctx, as("ana"), "app"))
			h.settle("app")
			object := c.object(h)
			h.stop()
			flip(t, h.dir+"/"+c.in+".git", object)
			h = open(t, h.dir)
			check(t, h.Service().Patrol(ctx))
			list := h.Service().SetAside()
			if len(list) != 1 || !strings.HasPrefix(list[0].String(), c.in+": damaged: objects/pack/pack-") || !strings.Contains(list[0].String(), ".pack: checksum mismatch") {
				t.Errorf("out of service is %v", list)
			}
		})
	}
}

// archiveBlob is the object of the only archive of a package.
func (h *house) archiveBlob(name string) string {
	h.t.Helper()
	return h.git("packages/"+name+".git", "for-each-ref", "--format=%(objectname)", "refs/archives")
}

// TestApplicationBackAfterItsWorkspace rebuilds a workspace while an application
// is set aside. When that comes back, its users must have it again.
func TestApplicationBackAfterItsWorkspace(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", v)
	h.created("ana", "whole", v)
	check(t, h.Start(ctx, as("ana"), "app"))
	h.settle("app")
	main := h.git("applications/app.git", "rev-parse", "main")
	h.stop()
	write(t, h.dir+"/applications/app.git/refs/heads/main", "nonsense")
	check(t, os.RemoveAll(h.dir+"/users/ana.git"))
	h = open(t, h.dir)
	if got := h.git("users/ana.git", "ls-tree", "--name-only", "main"); got != "README.ipynb\nwhole" {
		t.Errorf("ana has %q", got)
	}
	write(t, h.dir+"/applications/app.git/refs/heads/main", main+"\n")
	if left := h.Service().Repair(ctx).Left; len(left) != 0 {
		t.Errorf("out of service are %v", left)
	}
	if got := h.git("users/ana.git", "ls-tree", "--name-only", "main"); got != "README.ipynb\napp\nwhole" {
		t.Errorf("ana has %q", got)
	}
	h.sound()
}
