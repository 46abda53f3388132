package gitstore_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/hooks"
)

// strictly judges by the default policy of strict. Overrides, plans and findings
// are those of the admission before.
func strictly(c *gitstore.Config) {
	admission, err := hooks.NewAdmission(hooks.AdmissionConfig{Policy: dm.NewPolicy(dm.Strict, dm.PublishByMode), Planner: c.Planner, Directory: everyName{}})
	if err != nil {
		panic(err)
	}
	c.Admission = admission
}

// TestPackageOwner: who published the first version decides about the name, as
// long as it lives and after it, whatever happened to the versions.
func TestPackageOwner(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir, strictly)
	publish := func(user dm.UserName, id, text string) error {
		content := notebook(id, text)
		_, err := h.Publish(ctx, as(user), file(t, id+".tar.gz"), bytes.NewReader(content), int64(len(content)))
		return err
	}
	withdraw := func(user dm.UserName, id string) error {
		return h.Withdraw(ctx, as(user), file(t, id+".tar.gz"))
	}
	owned := func(want dm.UserName) {
		t.Helper()
		if got := h.PackageOwner("flow"); got != want {
			t.Fatalf("flow belongs to %q, want %q", got, want)
		}
	}
	owned("")
	wantKind(t, withdraw("ben", "flow-1.0.0"), dm.NotFound, "no package file")
	check(t, publish("ana", "flow-1.0.0", "first"))
	owned("ana")

	// Another is told whose it is and what to do; nothing changes.
	for _, refused := range []error{
		publish("ben", "flow-1.1.0", "bens"), publish("ben", "flow-1.0.0", "first"), publish("ben", "flow-1.0.0", "other"),
		publish("ben", "flow-0.0.1", "older"),
	} {
		wantKind(t, refused, dm.Forbidden, "belongs to ana, who published its first version: ask ana or somebody in the group publisher or admin")
	}
	wantKind(t, withdraw("ben", "flow-1.0.0"), dm.Forbidden, "belongs to ana")
	wantKind(t, withdraw("teacher", "flow-1.0.0"), dm.Forbidden, "ask ana or somebody in the group admin")
	wantKind(t, withdraw("ben", "flow-9.9.9"), dm.Forbidden, "belongs to ana")

	// Publishers and admins publish more, and do not become owners by that; an
	// older number is no older version.
	check(t, publish("teacher", "flow-0.1.0", "teachers"))
	check(t, publish("root", "flow-0.0.1", "roots"))
	owned("ana")
	check(t, withdraw("root", "flow-0.0.1"))
	check(t, withdraw("ana", "flow-0.1.0"))
	check(t, withdraw("ana", "flow-1.0.0"))
	owned("ana")

	// The name stays owned when nothing of it is left, also after a start.
	for range 2 {
		if list := h.ListPackages(0); len(list) > 0 {
			t.Fatalf("there are packages: %v", list)
		}
		wantKind(t, publish("ben", "flow-1.0.0", "bens"), dm.Forbidden, "belongs to ana")
		wantKind(t, publish("ben", "flow-2.0.0", "bens"), dm.Forbidden, "belongs to ana")
		h.stop()
		h = open(t, dir, strictly)
		owned("ana")
	}
	check(t, publish("ana", "flow-2.0.0", "second"))
	h.sound()
}

// TestPackageOwnerBySequence: who was first is told by the order of the record,
// not by a clock that may have been wrong, and not by the only one who is left.
func TestPackageOwnerBySequence(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	h.publish("ana", "flow-1.0.0.tar.gz", notebook("flow-1.0.0", "first"))
	h.publish("ben", "flow-0.5.0.tar.gz", notebook("flow-0.5.0", "second"))
	check(t, h.Withdraw(ctx, as("ben"), file(t, "flow-1.0.0.tar.gz")))
	h.stop()
	if h = open(t, dir, strictly); h.PackageOwner("flow") != "ana" {
		t.Errorf("flow belongs to %q, want ana", h.PackageOwner("flow"))
	}
}

// TestFirstPublishersRace: of two who publish a new package at once one becomes
// its owner, and the other one is refused although nobody owned it when they
// began.
func TestFirstPublishersRace(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), strictly)
	content := notebook("flow-1.0.0", "bens")
	late := &pausing{Reader: bytes.NewReader(content), before: func() {
		h.publish("ana", "flow-2.0.0.tar.gz", notebook("flow-2.0.0", "anas"))
	}}
	_, err := h.Publish(ctx, as("ben"), file(t, "flow-1.0.0.tar.gz"), late, int64(len(content)))
	wantKind(t, err, dm.Forbidden, "belongs to ana")
	if list := h.ListPackages(0); len(list) != 1 || len(list[0].Versions) != 1 {
		t.Errorf("got %v, want ana's version alone", list)
	}
}

// pausing does something before its first byte is read.
type pausing struct {
	*bytes.Reader
	before func()
}

func (p *pausing) Read(b []byte) (int, error) {
	if p.before != nil {
		p.before()
		p.before = nil
	}
	return p.Reader.Read(b)
}

// TestWithdrawnNumberStaysUsed: a number that somebody may have in hand never
// gives other bytes, for its owner and an admin neither.
func TestWithdrawnNumberStaysUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	one, other := notebook("flow-1.0.0", "one"), notebook("flow-1.0.0", "other")
	publish := func(user dm.UserName, name string, content []byte) error {
		_, err := h.Publish(ctx, as(user), file(t, name), bytes.NewReader(content), int64(len(content)))
		return err
	}
	h.publish("ana", "flow-1.0.0.tar.gz", one)
	for range 2 { // a second life ends like the first
		check(t, h.Withdraw(ctx, as("ana"), file(t, "flow-1.0.0.tar.gz")))
		for _, user := range []dm.UserName{"ana", "ben", "root"} {
			wantKind(t, publish(user, "flow-1.0.0.tar.gz", other), dm.Conflict, "was withdrawn, and its number accepts only the same bytes again; publish the change under a new version number")
			wantKind(t, publish(user, "flow-1.0.0.tgz", other), dm.Conflict, "was withdrawn")
		}
		h.stop()
		h = open(t, dir)
		wantKind(t, publish("ana", "flow-1.0.0.tar.gz", other), dm.Conflict, "was withdrawn")
		check(t, publish("ana", "flow-1.0.0.tar.gz", one))
		wantKind(t, publish("ana", "flow-1.0.0.tar.gz", other), dm.Conflict, "versions are immutable")
	}
	h.sound()
	check(t, h.Withdraw(ctx, as("ana"), file(t, "flow-1.0.0.tar.gz")))
	h.stop()

	// What replacing allows, it allows here too; the newest bytes count after it.
	h = open(t, dir, replacing)
	check(t, publish("ana", "flow-1.0.0.tar.gz", other))
	check(t, h.Withdraw(ctx, as("ana"), file(t, "flow-1.0.0.tar.gz")))
	h.stop()
	h = open(t, dir)
	wantKind(t, publish("ana", "flow-1.0.0.tar.gz", one), dm.Conflict, "was withdrawn")
	check(t, publish("ana", "flow-1.0.0.tar.gz", other))
	h.sound()
}

// TestApplicationOwner: the present owner and audience count, after a destroy the
// last ones, and what was another's under the same name is told apart.
func TestApplicationOwner(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	owner := func(app dm.ApplicationName, want dm.UserName, since int, audience ...dm.Subject) {
		t.Helper()
		on, got, err := h.ApplicationOwner(ctx, app)
		check(t, err)
		if on.Owner != want || got != since || !slices.Equal(on.Audience, audience) {
			t.Fatalf("%s: got %+v since %d, want %s, %v since %d", app, on, got, want, audience, since)
		}
	}
	ref := h.deployed("ana", "flow-1.0.0", "text")
	_, _, err := h.ApplicationOwner(ctx, "noon")
	wantKind(t, err, dm.NotFound, "no application noon, now or in the past")
	h.created("ana", "noon", ref)
	owner("noon", "ana", 1, "user:ana")
	check(t, h.Change(ctx, as("root"), "noon", dm.Edit{Audience: []dm.Subject{"group:class"}}))
	h.settle("noon")
	owner("noon", "ana", 1, "group:class")
	check(t, h.Destroy(ctx, as("ana"), "noon", false))
	h.settle("noon")
	owner("noon", "ana", 1, "group:class")

	h.created("ana", "noon", ref) // deployment 3, a second life of hers
	owner("noon", "ana", 1, "user:ana")
	check(t, h.Destroy(ctx, as("ana"), "noon", false))
	h.settle("noon")
	h.created("ben", "noon", ref) // deployment 4
	owner("noon", "ben", 4, "user:ben")
	check(t, h.Destroy(ctx, as("ben"), "noon", false))
	h.settle("noon")
	owner("noon", "ben", 4, "user:ben")
	h.created("ana", "noon", ref) // deployment 5: ben's is between
	owner("noon", "ana", 5, "user:ana")
	h.stop()
	h = open(t, filepath.Clean(h.dir))
	owner("noon", "ana", 5, "user:ana")
}
