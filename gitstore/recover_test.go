package gitstore_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
	"github.com/pndaproject/deployment-manager/hooks"
	"github.com/pndaproject/deployment-manager/plugins"
	"github.com/pndaproject/deployment-manager/plugins/jupyter"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o750))
	check(t, os.WriteFile(path, []byte(content), 0o640))
}

// TestStaleFilesAreRemoved leaves what a killed server leaves.
func TestStaleFilesAreRemoved(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	h.stop()
	for _, folder := range []string{"applications/app.git/refs/heads", "users/ana.git/refs/heads"} {
		check(t, os.MkdirAll(filepath.Join(h.dir, folder), 0o750)) // as git makes them with the first lock
	}
	before := h.snapshot()
	for _, path := range []string{
		"applications/app.git/refs/heads/main.lock", "applications/app.git/refs/observed/head.lock",
		"packages/flow.git/packed-refs.lock", "packages/flow.git/packed-refs.new", "packages/flow.git/HEAD.lock", "users/ana.git/refs/heads/main.lock",
		"users/ana.git/objects/pack/tmp_pack_x", "users/ana.git/objects/pack/.tmp-77-pack-11.pack", "users/ana.git/objects/tmp_objdir-incoming-x/y",
		"users/ana.git/objects/pack/pack-1111111111111111111111111111111111111111.pack",
		"users/ana.git/objects/pack/pack-2222222222222222222222222222222222222222.idx",
		"users/ana.git/objects/pack/pack-2222222222222222222222222222222222222222.keep",
		"tmp/new-1.git/HEAD", "tmp/spool",
	} {
		write(t, filepath.Join(h.dir, path), "junk")
	}
	h = open(t, h.dir)
	if after := h.snapshot(); after != before {
		t.Errorf("the start left\n%s\nwant\n%s", after, before)
	}
	h.sound()
}

func TestDamagedRepositoryIsSetAside(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	flow := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", flow)
	h.created("bob", "other", flow)
	h.deployed("ana", "word-1.0.0", "two")
	tag, main := h.git("packages/word.git", "rev-parse", "refs/tags/1.0.0"), h.git("applications/app.git", "rev-parse", "main")
	h.stop()
	write(t, filepath.Join(h.dir, "packages/word.git/refs/tags/1.0.0"), "")
	write(t, filepath.Join(h.dir, "applications/app.git/refs/heads/main"), strings.Repeat("1", 40)+"\n")

	h = open(t, h.dir)
	_, err := h.PackageStatus(ctx, "word-1.0.0")
	wantKind(t, err, dm.Unavailable, "damaged")
	_, err = h.OpenArchive(ctx, file(t, "word-1.0.0.tar.gz"))
	wantKind(t, err, dm.Unavailable, "damaged")
	_, _, err = h.Application(ctx, "app")
	wantKind(t, err, dm.Unavailable, "damaged")
	wantKind(t, h.Create(ctx, as("ana"), dm.Spec{Name: "app", Package: flow}), dm.Unavailable, "damaged")
	wantKind(t, h.Has(dm.Repository{Kind: dm.ApplicationRepository, Name: "app"}), dm.Unavailable, "damaged")
	if _, ok, err := h.Application(ctx, "other"); !ok || err != nil {
		t.Errorf("another application suffers: %v %v", ok, err)
	}
	var faults []string
	check(t, h.Verify(ctx, func(p string) { faults = append(faults, p) }))
	got := strings.Join(faults, "\n")
	for _, want := range []string{"packages/word: damaged: refs/tags/1.0.0: it is not an object name", "applications/app: damaged: refs/heads/main: the object 1111"} {
		if !strings.Contains(got, want) {
			t.Errorf("verify says %s, want %q", got, want)
		}
	}

	// Repaired where it is, it comes back as it was, without a restart.
	if left := h.Service().Repair(ctx).Left; len(left) != 2 {
		t.Errorf("out of service are %v, want both", left)
	}
	write(t, filepath.Join(h.dir, "packages/word.git/refs/tags/1.0.0"), tag+"\n")
	if left := h.Service().Repair(ctx).Left; len(left) != 1 || left[0].Repository.Name != "app" {
		t.Errorf("out of service are %v, want the application alone", left)
	}
	if st, err := h.PackageStatus(ctx, "word-1.0.0"); err != nil || st.Phase != dm.Deployed {
		t.Errorf("after the repair: %+v %v", st, err)
	}
	h.stop()

	// What a stopped server has noted is looked at by the next one.
	write(t, filepath.Join(h.dir, "applications/app.git/refs/heads/main"), main+"\n")
	h = open(t, h.dir)
	_, _, err = h.Application(ctx, "app")
	wantKind(t, err, dm.Unavailable, "damaged")
	if left := h.Service().Repair(ctx).Left; len(left) != 0 {
		t.Errorf("out of service are %v, want none", left)
	}
	if _, ok, err := h.Application(ctx, "app"); !ok || err != nil {
		t.Errorf("the application: %v %v", ok, err)
	}
	h.sound()
	if notes, err := filepath.Glob(filepath.Join(h.dir, "damaged/*/*")); err != nil || len(notes) != 0 {
		t.Errorf("damaged/ holds %q, %v", notes, err)
	}
}

// TestWorkspaceIsRebuilt loses workspaces, which are derived.
func TestWorkspaceIsRebuilt(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", v)
	h.created("ana", "gone", v)
	check(t, h.Destroy(ctx, as("ana"), "gone", false))
	h.settle("gone")
	v2 := h.deployed("ana", "flow-1.1.0", "two")
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Package: &v2}))
	h.settle("app")
	h.created("bob", "bobs", v)
	want := h.git("users/ana.git", "rev-parse", "main", "apps/app", "apps/gone")
	h.stop()

	write(t, filepath.Join(h.dir, "users/ana.git/refs/heads/main"), "nonsense")
	check(t, os.RemoveAll(filepath.Join(h.dir, "users/bob.git")))
	h = open(t, h.dir)
	if got := h.git("users/ana.git", "rev-parse", "main", "apps/app", "apps/gone"); got != want {
		t.Errorf("rebuilt as\n%s\nwant\n%s", got, want)
	}
	if got := h.git("users/bob.git", "ls-tree", "--name-only", "main"); got != "README.ipynb\nbobs" {
		t.Errorf("bob has %q", got)
	}
	h.sound()
}

// TestLostOutcome loses an early outcome of one application beside a workspace, which
// begins anew with what is in effect.
func TestLostOutcome(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", v)
	h.created("ana", "whole", v)
	check(t, h.Start(ctx, as("ana"), "app"))
	h.settle("app")
	app := h.dir + "/applications/app.git"
	lost := git(t, app, "rev-parse", "refs/observed/head~1")
	h.stop()
	indexes, err := filepath.Glob(app + "/objects/pack/*.idx")
	check(t, err)
	for _, idx := range indexes {
		if strings.Contains(git(t, app, "verify-pack", "-v", idx), lost) {
			check(t, errors.Join(os.Remove(idx), os.Remove(strings.TrimSuffix(idx, ".idx")+".pack")))
		}
	}
	check(t, os.RemoveAll(filepath.Join(h.dir, "users/ana.git")))
	h = open(t, h.dir)
	if got := h.git("users/ana.git", "ls-tree", "--name-only", "main"); got != "README.ipynb\napp\nwhole" {
		t.Errorf("ana has %q", got)
	}
}

// TestDamagedHead damages the one file that is the same in every repository.
func TestDamagedHead(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	h.stop()
	write(t, filepath.Join(h.dir, "applications/app.git/HEAD"), "")
	check(t, os.Remove(filepath.Join(h.dir, "users/ana.git/HEAD")))
	h = open(t, h.dir)
	check(t, h.Start(ctx, as("ana"), "app"))
	if view := h.settle("app"); view.Phase != dm.Started {
		t.Errorf("%+v", view)
	}
	h.sound()
}

// TestFreshVolume: the top of a new ext4 volume is not empty.
func TestFreshVolume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "lost+found"), 0o700))
	open(t, dir).sound()
}

// TestDerivedRefsAreRebuilt loses the refs that follow from others.
func TestDerivedRefsAreRebuilt(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	h.deployed("ana", "flow-1.1.0", "two")
	h.created("ana", "app", v)
	for range 3 {
		check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Package: &v}))
		h.settle("app")
	}
	want := refsOf(t, filepath.Join(h.dir, "applications/app.git")) + refsOf(t, filepath.Join(h.dir, "packages/flow.git"))
	main := h.git("packages/flow.git", "rev-parse", "main")
	h.stop()
	git(t, filepath.Join(h.dir, "applications/app.git"), "update-ref", "-d", "refs/deployments/2")
	git(t, filepath.Join(h.dir, "applications/app.git"), "update-ref", "-d", "refs/deployments/4")
	git(t, filepath.Join(h.dir, "applications/app.git"), "pack-refs", "--all")
	git(t, filepath.Join(h.dir, "packages/flow.git"), "update-ref", "-d", "refs/heads/main")
	h = open(t, h.dir)
	if got := refsOf(t, filepath.Join(h.dir, "applications/app.git")) + refsOf(t, filepath.Join(h.dir, "packages/flow.git")); got != want {
		t.Errorf("refs\n%s\nwant\n%s", got, want)
	}
	if got := h.git("packages/flow.git", "rev-parse", "main"); got != main {
		t.Errorf("main is %s, want %s", got, main)
	}
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Package: &v}))
	if view := h.settle("app"); view.Deployment != 5 {
		t.Errorf("the next number is %d, want 5", view.Deployment)
	}
	h.sound()
}

// TestMainFollowsTheOrderOfUploads has a clock that goes backwards and a crash
// between a tag and main.
func TestMainFollowsTheOrderOfUploads(t *testing.T) {
	t.Parallel()
	now := time.Date(2025, 1, 6, 10, 0, 0, 0, time.UTC)
	back := func(c *gitstore.Config) {
		c.Clock = func() time.Time { now = now.Add(-time.Minute); return now }
	}
	h := open(t, t.TempDir(), back)
	first := h.publish("ana", "flow-1.0.0.tgz", notebook("flow-1.0.0", "one"))
	h.publish("ana", "flow-1.1.0.tgz", notebook("flow-1.1.0", "two"))
	last := h.publish("ana", "flow-1.2.0.tgz", notebook("flow-1.2.0", "three"))
	for _, main := range []dm.Revision{last.Commit, first.Commit} {
		h.stop()
		git(t, h.dir+"/packages/flow.git", "update-ref", "refs/heads/main", string(main))
		h = open(t, h.dir, back)
		if got := h.git("packages/flow.git", "rev-parse", "main"); got != string(last.Commit) {
			t.Errorf("main was %s and is %s, want %s", main, got, last.Commit)
		}
	}
}

// openError opens a folder that must be refused.
func openError(t *testing.T, dir string) error {
	t.Helper()
	registry, err := plugins.New()
	check(t, err)
	planner, err := plugins.NewPlanner(plugins.Config{Registry: registry})
	check(t, err)
	admission, err := hooks.NewAdmission(hooks.AdmissionConfig{Policy: dm.NewPolicy(dm.Strict, dm.PublishByMode), Planner: planner, Directory: everyName{}})
	check(t, err)
	s, err := gitstore.Open(ctx, gitstore.Config{Dir: dir, Planner: planner, Admission: admission, Readme: jupyter.Readme()})
	if err == nil {
		err = errors.Join(errors.New("the folder was opened"), s.Close())
	}
	return err
}

func TestOneOwner(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	wantKind(t, openError(t, h.dir), dm.Conflict, "in use by another process")
}

func TestForeignFolders(t *testing.T) {
	t.Parallel()
	foreign := t.TempDir()
	write(t, filepath.Join(foreign, "holiday.jpg"), "x")
	wantKind(t, openError(t, foreign), dm.Invalid, "not empty")
	plain := filepath.Join(t.TempDir(), "file")
	write(t, plain, "x")
	wantKind(t, openError(t, plain), dm.Invalid, "not a directory")
}

// TestAlternatesAreRefused: objects shared by reference leak between users.
func TestAlternatesAreRefused(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.deployed("ana", "flow-1.0.0", "one")
	h.stop()
	write(t, filepath.Join(h.dir, "packages/flow.git/objects/info/alternates"), "/elsewhere\n")
	h = open(t, h.dir)
	_, err := h.PackageStatus(ctx, "flow-1.0.0")
	wantKind(t, err, dm.Unavailable, "damaged")
}

// TestPatrol flips one byte of a pack, which no ref's commit or tree is in
// need of at the start.
func TestPatrol(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	h.deployed("ana", "word-1.0.0", "two")
	h.created("ana", "app", v)
	want := h.git("users/ana.git", "rev-parse", "main")
	check(t, h.Service().Patrol(ctx))
	h.sound()

	flip(t, h.dir+"/packages/word.git", h.archiveBlob("word"))
	blob := h.git("users/ana.git", "rev-parse", "main:README.ipynb")
	flip(t, h.dir+"/users/ana.git", blob)
	check(t, h.Service().Patrol(ctx))
	_, err := h.PackageStatus(ctx, "word-1.0.0")
	wantKind(t, err, dm.Unavailable, "damaged")
	if st, err := h.PackageStatus(ctx, "flow-1.0.0"); err != nil || st.Phase != dm.Deployed {
		t.Errorf("another package suffers: %+v %v", st, err)
	}
	if got := h.git("users/ana.git", "rev-parse", "main"); got != want {
		t.Errorf("the rebuilt workspace has %s, want %s", got, want)
	}
}

// onRead calls do before the first byte is read.
type onRead struct {
	io.Reader
	do func()
}

func (o *onRead) Read(p []byte) (int, error) {
	o.do()
	return o.Reader.Read(p)
}

// TestPublishIntoDamaged has the patrol set a package aside while an upload
// arrives. The upload must not begin the package anew: the next start would take
// that for the repaired one, and the versions before would be gone.
func TestPublishIntoDamaged(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.publish("ana", "word-1.0.0.tgz", notebook("word-1.0.0", "one"))
	content := notebook("word-2.0.0", "two")
	body := &onRead{bytes.NewReader(content), sync.OnceFunc(func() {
		flip(t, h.dir+"/packages/word.git", h.archiveBlob("word"))
		check(t, h.Service().Patrol(ctx))
	})}
	_, err := h.Publish(ctx, as("ana"), file(t, "word-2.0.0.tgz"), body, int64(len(content)))
	wantKind(t, err, dm.Unavailable, "damaged and out of service")
	if tags := h.git("packages/word.git", "for-each-ref", "--format=%(refname)", "refs/tags"); tags != "refs/tags/1.0.0" {
		t.Errorf("the damaged package has the versions %q", tags)
	}
}

// TestLostPackIsNotNotFound loses a package's packs under a running server.
// "Not found" would tell clients that the package never was.
func TestLostPackIsNotNotFound(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.deployed("ana", "word-1.0.0", "one")
	packs, err := filepath.Glob(h.dir + "/packages/word.git/objects/pack/*")
	check(t, err)
	for _, path := range packs {
		check(t, os.Remove(path))
	}
	_, err = h.OpenArchive(ctx, file(t, "word-1.0.0.tar.gz"))
	wantKind(t, err, dm.Unavailable, "an object is missing from the record")
	if left := h.Service().Repair(ctx).Left; len(left) != 1 || !left[0].Damaged {
		t.Errorf("what could not be read was not looked at: %v", left)
	}
}

// flip changes the last byte of an object's data where it stands in its pack,
// in a copy of the pack, so that repositories that share the pack keep theirs.
func flip(t *testing.T, dir, object string) {
	t.Helper()
	packs, err := filepath.Glob(dir + "/objects/pack/*.idx")
	check(t, err)
	for _, idx := range packs {
		for line := range strings.Lines(git(t, dir, "verify-pack", "-v", idx)) {
			f := strings.Fields(line)
			if len(f) < 5 || f[0] != object {
				continue
			}
			size, err := strconv.Atoi(f[3])
			check(t, err)
			offset, err := strconv.Atoi(f[4])
			check(t, err)
			path := strings.TrimSuffix(idx, ".idx") + ".pack"
			b, err := os.ReadFile(path)
			check(t, err)
			b[offset+size-1] ^= 0xff
			check(t, os.Remove(path))
			check(t, os.WriteFile(path, b, 0o444))
			return
		}
	}
	t.Fatalf("no pack of %s has %s", dir, object)
}
