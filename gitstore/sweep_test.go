package gitstore_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

func sweeping(c *gitstore.Config) { c.SweepAfter = time.Nanosecond }

// aMinuteOn is another second than before: what is made anew in the same one is the
// same.
func aMinuteOn(c *gitstore.Config) {
	c.Clock = func() time.Time { return time.Now().Add(time.Minute) }
}

// emptied makes two workspaces in which nothing lies any more, ana's and bob's,
// each of two applications of which one was changed, and one of ben, who has
// something.
func emptied(h *house) {
	h.t.Helper()
	one, two := h.deployed("ana", "flow-1.0.0", "v1"), h.deployed("ana", "flow-2.0.0", "v2")
	come := func() {
		for _, u := range []dm.UserName{"ana", "bob", "ben"} {
			h.asks(u)
		}
	}
	check(h.t, h.Create(ctx, as("teacher"), dm.Spec{Name: "class", Package: one, Audience: []dm.Subject{"group:class"}}))
	h.settle("class")
	h.created("ana", "own", one)
	come()
	h.created("bob", "his", one)
	h.created("ben", "bens", one)
	check(h.t, h.Change(ctx, as("teacher"), "class", dm.Edit{Package: &two}))
	h.settle("class")
	come()
	for app, owner := range map[dm.ApplicationName]dm.UserName{"class": "teacher", "own": "ana", "his": "bob"} {
		check(h.t, h.Destroy(ctx, as(owner), app, false))
		h.settle(app)
	}
	come()
}

func (h *house) workspaces() []string {
	h.t.Helper()
	entries, err := os.ReadDir(filepath.Join(h.dir, "users"))
	check(h.t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func (h *house) wantWorkspaces(want ...string) {
	h.t.Helper()
	if got := h.workspaces(); !slices.Equal(got, want) {
		h.t.Errorf("workspaces of %v, want %v", got, want)
	}
}

// faults is what verify finds.
func (h *house) faults() string {
	h.t.Helper()
	var list []string
	check(h.t, h.Verify(ctx, func(p string) { list = append(list, p) }))
	return strings.Join(list, "\n")
}

func TestNothingIsSweptUnlessWanted(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	emptied(h)
	check(t, h.Workspaces().Sweep(ctx))
	h.wantWorkspaces("ana.git", "ben.git", "bob.git")
	h.stop()
	h = open(t, h.dir, func(c *gitstore.Config) { c.SweepAfter = time.Hour })
	check(t, h.Workspaces().Sweep(ctx))
	h.wantWorkspaces("ana.git", "ben.git", "bob.git")
}

// TestSweptWorkspacesComeBack sweeps what is empty. Nobody notices: who asks gets the
// history as it was, and what is delivered goes on from it.
func TestSweptWorkspacesComeBack(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), sweeping)
	emptied(h)
	const format = "--format=%(refname) %(objectname)"
	ana, bob := h.git("users/ana.git", "for-each-ref", format, "refs/heads"), h.git("users/bob.git", "rev-parse", "main")
	check(t, h.Workspaces().Sweep(ctx))
	h.wantWorkspaces("ben.git")
	h.sound()
	h.stop()

	h = open(t, h.dir, sweeping)
	h.sound()
	h.wantWorkspaces("ben.git")
	if users, err := h.Workspaces().Users(); err != nil || !slices.Equal(users, []dm.UserName{"ana", "ben", "bob"}) {
		t.Errorf("users %v, %v", users, err)
	}
	if got := h.git("sweeps.git", "log", "--format=%s|%(trailers:key=DM-Rule,valueonly)", "main"); !strings.HasPrefix(got, "Sweep 2 workspaces|workspaces that have been empty for 1ns") {
		t.Errorf("the record of sweeps says %q", got)
	}
	if got := h.git("users/ana.git", "for-each-ref", format, "refs/heads"); got != ana {
		t.Errorf("ana's refs are\n%s\nand were\n%s", got, ana)
	}
	ref, err := dm.ParsePackageRef("flow-1.0.0")
	check(t, err)
	h.created("bob", "again", ref)
	if got := h.git("users/bob.git", "rev-parse", "main^"); got != bob {
		t.Errorf("bob's new delivery follows %s, his history ended at %s", got, bob)
	}
	h.sound()
	check(t, h.Workspaces().Sweep(ctx)) // ana's once more
	h.wantWorkspaces("ben.git", "bob.git")
	h.sound()
}

// TestSweepThatCanNotBeRecorded moves main of the record of sweeps, as a git does
// that is killed before it could say so. That sweep fails, the next one does not.
func TestSweepThatCanNotBeRecorded(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), sweeping)
	emptied(h)
	check(t, h.Workspaces().Sweep(ctx))
	h.asks("ana")
	message := h.git("sweeps.git", "log", "-1", "--format=%B", "main")
	moved := h.git("sweeps.git", "-c", "user.name=t", "-c", "user.email=t@t", "commit-tree", "-m", message, "-p", "main", "main^{tree}")
	h.git("sweeps.git", "update-ref", "refs/heads/main", moved)
	wantKind(t, h.Workspaces().Sweep(ctx), dm.Stale, "updated concurrently")
	h.wantWorkspaces("ana.git", "ben.git")
	check(t, h.Workspaces().Sweep(ctx))
	h.wantWorkspaces("ben.git")
}

// TestSweepsThatAreReadLater starts while the record of sweeps can't be read. Once it
// can, swept workspaces have their history.
func TestSweepsThatAreReadLater(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), sweeping)
	emptied(h)
	ana := h.git("users/ana.git", "rev-parse", "main")
	check(t, h.Workspaces().Sweep(ctx))
	h.stop()
	unread := filepath.Join(h.dir, "sweeps.git/refs/heads/main")
	check(t, os.MkdirAll(unread, 0o750))
	h = open(t, h.dir, sweeping)
	check(t, os.Remove(unread))
	h.Service().Repair(ctx)
	h.asks("ana")
	if got := h.git("users/ana.git", "rev-parse", "main"); got != ana {
		t.Errorf("ana's workspace is at %s, want %s", got, ana)
	}
	h.sound()
}

// TestSweptWorkspacesBeginAnew loses what the history of swept workspaces is made
// from. Nothing lay in them, so nobody is kept from a fetch or a delivery;
// verify tells what is lost.
func TestSweptWorkspacesBeginAnew(t *testing.T) {
	t.Parallel()
	for name, lost := range map[string]string{"the blank workspace": "blank.git", "an application": "applications/class.git"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir(), sweeping)
			emptied(h)
			check(t, h.Workspaces().Sweep(ctx))
			h.stop()
			check(t, os.RemoveAll(filepath.Join(h.dir, lost)))
			h = open(t, h.dir, sweeping, aMinuteOn)
			h.asks("ana")
			ref, err := dm.ParsePackageRef("flow-1.0.0")
			check(t, err)
			check(t, h.Create(ctx, as("teacher"), dm.Spec{Name: "next", Package: ref, Audience: []dm.Subject{"user:ana", "user:ben"}}))
			if view := h.settle("next"); view.Phase != dm.Created {
				t.Errorf("next is %s: %s", view.Phase, view.Information)
			}
			h.asks("ana")
			check(t, h.Destroy(ctx, as("teacher"), "next", false))
			h.settle("next")
			if got := h.faults(); !strings.Contains(got, "users/ana: it came back after a sweep without its history") {
				t.Errorf("verify found %q", got)
			}
		})
	}
}

// TestSweepTakesOnlyWhatCanBeMadeAgain keeps a workspace that does not say where its
// chain began, as those of earlier servers do not.
func TestSweepTakesOnlyWhatCanBeMadeAgain(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), sweeping)
	emptied(h)
	h.git("users/ana.git", "update-ref", "-d", repo.Brought)
	h.stop()
	h = open(t, h.dir, sweeping)
	check(t, h.Workspaces().Sweep(ctx))
	h.wantWorkspaces("ana.git", "ben.git")
	h.sound()
}

// TestSweepThatIsBrokenOff ends a sweep between its record and its work.
func TestSweepThatIsBrokenOff(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir, sweeping, func(c *gitstore.Config) {
		c.Step = func(name string) {
			if name == "sweep-recorded" {
				check(t, os.Rename(filepath.Join(dir, "tmp"), filepath.Join(dir, "tmp-away")))
			}
		}
	})
	emptied(h)
	if err := h.Workspaces().Sweep(ctx); err == nil {
		t.Error("the sweep went on without a place for what it takes")
	}
	check(t, os.Rename(filepath.Join(dir, "tmp-away"), filepath.Join(dir, "tmp")))
	h.wantWorkspaces("ana.git", "ben.git", "bob.git")
	h.sound()
	h.stop()
	h = open(t, dir, sweeping)
	check(t, h.Workspaces().Sweep(ctx))
	h.wantWorkspaces("ben.git")
	h.sound()
}

// TestVerifyKnowsWhatWasSwept tells what a sweep took from what somebody took.
func TestVerifyKnowsWhatWasSwept(t *testing.T) {
	t.Parallel()
	swept := func(t *testing.T) *house {
		h := open(t, t.TempDir(), sweeping)
		emptied(h)
		check(t, h.Workspaces().Sweep(ctx))
		h.stop()
		return h
	}
	reopened := func(t *testing.T, h *house) string { return openStill(t, h.dir).faults() }
	t.Run("the record of sweeps", func(t *testing.T) {
		t.Parallel()
		h := swept(t)
		check(t, os.RemoveAll(filepath.Join(h.dir, "sweeps.git")))
		if got := reopened(t, h); !strings.Contains(got, "sweeps.git: refs/heads/main: it is missing") {
			t.Errorf("verify found %q", got)
		}
	})
	t.Run("a sweep by somebody else", func(t *testing.T) {
		t.Parallel()
		h := swept(t)
		sweeps := filepath.Join(h.dir, "sweeps.git")
		forged := git(t, sweeps, "-c", "user.name=mallory", "-c", "user.email=m@x", "commit-tree", "-p", "main", "-m", "Sweep more", "main^{tree}")
		git(t, sweeps, "update-ref", "refs/heads/main", forged)
		if got := reopened(t, h); !strings.Contains(got, "sweeps: commit "+forged) {
			t.Errorf("verify found %q", got)
		}
	})
	t.Run("the ref of the sweeps", func(t *testing.T) {
		t.Parallel()
		h := swept(t)
		err := os.Remove(filepath.Join(h.dir, "sweeps.git/packed-refs"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if got := reopened(t, h); !strings.Contains(got, "sweeps: it must have the ref") {
			t.Errorf("verify found %q", got)
		}
	})
	t.Run("a workspace that came back short", func(t *testing.T) {
		t.Parallel()
		h := swept(t)
		check(t, os.CopyFS(filepath.Join(h.dir, "users/ana.git"), os.DirFS(filepath.Join(h.dir, "blank.git"))))
		if got := reopened(t, h); !strings.Contains(got, "users/ana: it came back after a sweep without its history") {
			t.Errorf("verify found %q", got)
		}
	})
}
