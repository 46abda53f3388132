package gitstore_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/jupyter"
)

// scarce is the jupyter plugin as it would be with an engine that can be short of
// something.
type scarce struct {
	*jupyter.Plugin
	short atomic.Bool
}

func (s *scarce) Apply(ctx context.Context, r dm.ApplyRequest) (dm.PluginRecord, error) {
	if s.short.Load() {
		return dm.PluginRecord{}, dm.Errorf(dm.Unavailable, "test", "the engine is short of room")
	}
	return s.Plugin.Apply(ctx, r)
}

// short begins a shortage, and returns what ends it.
func (h *house) short() (end func()) {
	h.notebooks.short.Store(true)
	return func() { h.notebooks.short.Store(false) }
}

// waiting waits until readers see that the application waits.
func (h *house) waiting(app dm.ApplicationName) dm.Application {
	h.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		view, ok, err := h.Application(ctx, app)
		check(h.t, err)
		if ok && strings.HasPrefix(view.Information, "Waiting: ") {
			return view
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s does not say that it waits: %s %q", app, view.Phase, view.Information)
		}
	}
}

func TestChangeWaitsForAShortageToPass(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ref := h.deployed("ana", "flow-1.0.0", "v1")
	h.created("ben", "calm", ref)
	end := h.short()
	check(t, h.Create(ctx, as("ana"), dm.Spec{Name: "noon", Package: ref}))
	if view := h.waiting("noon"); view.Phase != dm.Creating {
		t.Errorf("phase %s while it waits", view.Phase)
	}
	wantKind(t, h.Start(ctx, as("ana"), "noon"), dm.Conflict, "CREATING")
	wantKind(t, h.Stop(ctx, as("ana"), "noon"), dm.Conflict, "CREATING")
	wantKind(t, h.Create(ctx, as("ana"), dm.Spec{Name: "noon", Package: ref}), dm.Conflict, "CREATING")
	wantKind(t, h.Destroy(ctx, as("ben"), "noon", false), dm.Forbidden, "ben")
	end()
	if view := h.settle("noon"); view.Phase != dm.Created || view.Information != "" {
		t.Errorf("after the shortage: %s %q", view.Phase, view.Information)
	}
	h.sound()
}

// TestOvertakenChangesAreTold lets a change and a destroy come in the place of
// changes that wait; history tells each, and verify finds all in order at every
// moment, also after a start.
func TestOvertakenChangesAreTold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	one, two := h.deployed("ana", "flow-1.0.0", "v1"), h.deployed("ana", "flow-2.0.0", "v2")
	h.created("ana", "calm", one)
	end := h.short()
	check(t, h.Create(ctx, as("ana"), dm.Spec{Name: "noon", Package: one}))
	h.waiting("noon")
	check(t, h.Change(ctx, as("ana"), "noon", dm.Edit{Package: &two}))
	if view := h.waiting("noon"); view.Deployment != 2 || view.Spec.Package != two {
		t.Errorf("waits at deployment %d of %s", view.Deployment, view.Spec.Package)
	}
	h.stop()
	end()
	still := openStill(t, dir)
	still.sound()
	if view, _, _ := still.Application(ctx, "noon"); view.Deployment != 2 {
		t.Errorf("deployment %d after a start, want 2", view.Deployment)
	}
	still.stop()

	h = open(t, dir)
	if view := h.settle("noon"); view.Phase != dm.Created || view.Spec.Package != two {
		t.Fatalf("%s of %s: %s", view.Phase, view.Spec.Package, view.Information)
	}
	page, err := h.ApplicationHistory(ctx, "noon", dm.Page{})
	check(t, err)
	first := page.Changes[len(page.Changes)-1]
	if o := first.Outcome; o == nil || o.Succeeded || o.Information != "superseded while it waited, by: change" {
		t.Errorf("outcome of the create: %+v", o)
	}
	if last := page.Changes[0]; last.Outcome == nil || !last.Outcome.Succeeded {
		t.Errorf("outcome of the change: %+v", last.Outcome)
	}
	if got := h.git("users/ana.git", "ls-tree", "--name-only", "main"); !strings.Contains(got, "noon") {
		t.Errorf("workspace holds %q", got)
	}
	h.sound()
}

func TestWaitingCreateIsDestroyed(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ref := h.deployed("ana", "flow-1.0.0", "v1")
	h.created("ben", "calm", ref)
	end := h.short()
	check(t, h.Create(ctx, as("ana"), dm.Spec{Name: "noon", Package: ref, Audience: []dm.Subject{"user:ana"}}))
	h.waiting("noon")
	check(t, h.Destroy(ctx, as("ana"), "noon", false))
	end()
	h.settle("noon")
	if _, ok, err := h.Application(ctx, "noon"); ok || err != nil {
		t.Errorf("there is a record of what was destroyed: %t, %v", ok, err)
	}
	h.sound()
	h.created("ana", "noon", ref)
	h.sound()
}

// TestDeployIsNotJudgedUnread shows that a package which can't be read now does
// not become one that is refused.
func TestDeployIsNotJudgedUnread(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.publish("ana", "flow-1.0.0.tar.gz", notebook("flow-1.0.0", "v1"))
	packs, away := filepath.Join(h.dir, "packages/flow.git/objects/pack"), filepath.Join(h.dir, "away")
	check(t, os.Rename(packs, away))
	wantKind(t, h.DeployPackage(ctx, as("ana"), "flow-1.0.0"), dm.Unavailable, "")
	check(t, os.Rename(away, packs))
	if st, err := h.PackageStatus(ctx, "flow-1.0.0"); err != nil || st.Phase != dm.NotDeployed || st.Information != "" {
		t.Errorf("recorded %s %q, %v", st.Phase, st.Information, err)
	}
	check(t, h.DeployPackage(ctx, as("ana"), "flow-1.0.0"))
	h.sound()
}

// TestAnOvertakenChangeNeedsItsMark shows that verify takes a change without an
// outcome only where the next one says that it came in its place.
func TestAnOvertakenChangeNeedsItsMark(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	ref := h.deployed("ana", "flow-1.0.0", "v1")
	h.created("ana", "noon", ref)
	check(t, h.Start(ctx, as("ana"), "noon"))
	h.settle("noon")
	h.stop()
	repo := filepath.Join(dir, "applications", "noon.git")
	git(t, repo, "update-ref", "-d", "refs/observed/head")
	check(t, os.Remove(filepath.Join(dir, "known-refs")))
	var faults []string
	check(t, openStill(t, dir).Verify(ctx, func(p string) { faults = append(faults, p) }))
	if !strings.Contains(strings.Join(faults, "\n"), "has no outcome, and another change followed it") {
		t.Errorf("verify found %q", faults)
	}
}
