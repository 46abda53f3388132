package gitstore_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
)

func sparkAndNotebook(id string) []byte {
	return archivetest.Tgz(map[string]string{
		id + "/jupyter/report/report.ipynb":                  `{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}`,
		id + "/sparkStreaming/stream/properties.json":        `{"main_py": "job.py"}`,
		id + "/sparkStreaming/stream/job.py":                 "print()\n",
		id + "/sparkStreaming/stream/application.properties": "a=b\n",
		id + "/sparkStreaming/stream/log4j.properties":       "a=b\n",
	})
}

func TestPublishAndDownload(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	content := notebook("flow-1.0.0", "one")
	f := file(t, "flow-1.0.0.tgz")
	for _, size := range []int64{int64(len(content)), -1} {
		p, err := h.Publish(ctx, as("ana"), f, bytes.NewReader(content), size)
		check(t, err)
		if sum := sha256.Sum256(content); p.Digest != hex.EncodeToString(sum[:]) || p.Already != (size < 0) {
			t.Errorf("size %d: %+v", size, p)
		}
	}
	a, err := h.OpenArchive(ctx, f)
	check(t, err)
	defer a.Close()
	got, err := io.ReadAll(a)
	if err != nil || !bytes.Equal(got, content) || a.Size != int64(len(content)) {
		t.Errorf("download: %d bytes, %v", len(got), err)
	}
	if sum := sha256.Sum256(content); a.Digest != hex.EncodeToString(sum[:]) || a.Uploaded.IsZero() {
		t.Errorf("the download is told to have the digest %q, and to be of %v", a.Digest, a.Uploaded)
	}
	other, err := h.OpenArchive(ctx, file(t, "flow-1.0.0.tar.gz"))
	if err != nil || other.File != f {
		t.Errorf("the other suffix opens %v, %v", other.File, err)
	}
	check(t, other.Close())
	_, err = h.OpenArchive(ctx, file(t, "flow-1.0.1.tar.gz"))
	wantKind(t, err, dm.NotFound, "no package file flow-1.0.1.tar.gz")
	if tag := h.git("packages/flow.git", "cat-file", "-p", "refs/tags/1.0.0"); !strings.Contains(tag, "tagger ana <ana@pnda>") ||
		!strings.Contains(tag, "DM-Archive-Name: flow-1.0.0.tgz") || !strings.Contains(tag, "DM-Top-Directory: flow-1.0.0") {
		t.Errorf("tag:\n%s", tag)
	}
	blob := h.git("packages/flow.git", "for-each-ref", "--format=%(refname:lstrip=2)", "refs/archives")
	if got := h.git("packages/flow.git", "cat-file", "-s", blob); got != fmt.Sprint(len(content)) {
		t.Errorf("archive blob has size %s", got)
	}
	h.sound()
}

func TestImmutableVersions(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.publish("ana", "flow-1.0.0.tgz", notebook("flow-1.0.0", "one"))
	before := h.snapshot()
	other := notebook("flow-1.0.0", "other")
	_, err := h.Publish(ctx, as("ana"), file(t, "flow-1.0.0.tgz"), bytes.NewReader(other), int64(len(other)))
	wantKind(t, err, dm.Conflict, "new version number")
	_, err = h.Publish(ctx, as("ana"), file(t, "flow-1.0.0.tar.gz"), bytes.NewReader(other), int64(len(other)))
	wantKind(t, err, dm.Conflict, "already exists as flow-1.0.0.tgz")
	if after := h.snapshot(); after != before {
		t.Errorf("a refused upload left traces:\n%s", after)
	}
}

func TestReplaceVersions(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), replacing)
	first := h.publish("ana", "flow-1.0.0.tgz", notebook("flow-1.0.0", "one"))
	check(t, h.DeployPackage(ctx, as("ana"), "flow-1.0.0"))
	h.publish("bob", "flow-1.0.0.tar.gz", notebook("flow-1.0.0", "two"))
	if got := h.ListPackages(0); len(got) != 1 || len(got[0].Versions) != 1 || got[0].Versions[0].String() != "flow-1.0.0.tar.gz" {
		t.Errorf("listed: %v", got)
	}
	if got := h.git("packages/flow.git", "rev-parse", "refs/superseded/1.0.0/1"); got != string(first.Tag) {
		t.Errorf("superseded is %s, want %s", got, first.Tag)
	}
	ref, _ := dm.ParsePackageRef("flow-1.0.0")
	h.created("ana", "app", ref)
	if got := h.git("users/ana.git", "show", "main:app/report.ipynb"); !strings.Contains(got, "one flows") {
		t.Errorf("the application must use the copy taken at deploy: %s", got)
	}
	if got := h.git("packages/flow.git", "log", "--format=%s|%an", "main"); got != "Publish flow-1.0.0|bob\nPublish flow-1.0.0|ana" {
		t.Errorf("log: %s", got)
	}
	h.stop()
	h = open(t, h.dir, replacing)
	h.sound()
	if got := h.ListPackages(0); got[0].Versions[0].String() != "flow-1.0.0.tar.gz" {
		t.Errorf("after a restart: %v", got)
	}
}

// TestWithdrawUnderTheOtherSuffix: a package's id has one archive, so either of its
// names withdraws it, as either downloads it.
func TestWithdrawUnderTheOtherSuffix(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	for i, suffixes := range [][2]string{{".tgz", ".tar.gz"}, {".tar.gz", ".tgz"}} {
		id := fmt.Sprintf("flow-1.0.%d", i)
		h.publish("ana", id+suffixes[0], notebook(id, "one"))
		check(t, h.Withdraw(ctx, as("ana"), file(t, id+suffixes[1])))
		_, err := h.OpenArchive(ctx, file(t, id+suffixes[0]))
		wantKind(t, err, dm.NotFound, "no package file "+id)
		wantKind(t, h.Withdraw(ctx, as("ana"), file(t, id+suffixes[1])), dm.NotFound, "no package file "+id+suffixes[1])
	}
	h.sound()
	h.stop()
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	content := notebook("flow-1.0.0", "one")
	h.publish("ana", "flow-1.0.0.tgz", content)
	wantKind(t, h.Withdraw(ctx, as("bob"), file(t, "flow-2.0.0.tgz")), dm.NotFound, "no package file flow-2.0.0.tgz")
	check(t, h.Withdraw(ctx, as("bob"), file(t, "flow-1.0.0.tgz")))
	if got := h.ListPackages(0); len(got) != 0 {
		t.Errorf("listed: %v", got)
	}
	if got := h.git("packages/flow.git", "cat-file", "-p", "refs/superseded/1.0.0/1"); !strings.Contains(got, "tagger bob") || !strings.Contains(got, "DM-Action: withdraw") {
		t.Errorf("who withdrew is not told: %s", got)
	}
	h.publish("ana", "flow-1.0.0.tgz", content)
	if got, want := h.states("flow-1.0.0"), []dm.Phase{dm.Created, dm.NotCreated, dm.Created}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	h.sound()
	h.stop()
	h = open(t, h.dir)
	if got := h.ListPackages(0); len(got) != 1 {
		t.Errorf("after a restart: %v", got)
	}
}

func TestTenVersionsAtOnce(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			id := fmt.Sprintf("flow-1.%d.0", i)
			content := notebook(id, id)
			if _, err := h.Publish(ctx, as("ana"), file(t, id+".tgz"), bytes.NewReader(content), int64(len(content))); err != nil {
				t.Errorf("%s: %v", id, err)
			}
		})
	}
	wg.Wait()
	got := h.ListPackages(0)
	if len(got) != 1 || len(got[0].Versions) != 10 || got[0].Versions[0].String() != "flow-1.9.0.tgz" || got[0].Versions[9].String() != "flow-1.0.0.tgz" {
		t.Errorf("listed: %v", got)
	}
	h.sound()
}

func TestDeployOutcomes(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.publish("ana", "bad-1.0.0.tgz", archivetest.Tgz(map[string]string{"bad-1.0.0/jupyter/report/readme.txt": "x", "bad-1.0.0/magic/wand/x": "y"}))
	h.publish("ana", "odd-1.0.0.tgz", archivetest.Tgz(map[string]string{"even-1.0.0/jupyter/report/a.ipynb": "{}"}))
	cases := []struct{ id, text string }{
		{"none-1.0.0", "Error deploying none-1.0.0 NotFound, details:"},
		{"bad-1.0.0", "missing ipynb file"},
		{"bad-1.0.0", "magic"},
		{"odd-1.0.0", "even-1.0.0"},
		{"nodash", "Error deploying nodash NotFound, details: "},
		{"nodash", "<name>-<x.y.z>"},
		{"short-1.0", "short-1.0 NotFound, "},
		{"short-1.0", "three numbers"},
		{"päck-1.0.0", "päck-1.0.0 NotFound, "},
		{"päck-1.0.0", "contains 'ä'"},
		{"two words", "two words NotFound, "},
	}
	for _, c := range cases {
		check(t, h.DeployPackage(ctx, as("ana"), c.id))
		st, err := h.PackageStatus(ctx, c.id)
		if err != nil || st.Phase != dm.NotDeployed || !strings.Contains(st.Information, c.text) {
			t.Errorf("%s: %+v %v, want %q", c.id, st, err, c.text)
		}
		if got, want := h.states(c.id), []dm.Phase{dm.Deploying, dm.NotDeployed}; !slices.Equal(got[max(0, len(got)-2):], want) {
			t.Errorf("%s: events %v", c.id, got)
		}
	}
	if got := h.DeployedPackages(); len(got) != 0 {
		t.Errorf("deployed: %q", got)
	}
	wantKind(t, h.UndeployPackage(ctx, as("ana"), "bad-1.0.0"), dm.NotFound, "NOTDEPLOYED")

	h.deployed("ana", "flow-1.0.0", "one")
	wantKind(t, h.DeployPackage(ctx, as("ana"), "flow-1.0.0"), dm.Conflict, "DEPLOYED")
	wantKind(t, h.UndeployPackage(ctx, as("bob"), "flow-1.0.0"), dm.Forbidden, "bob may not do deployment_manager:package:undeploy")
	check(t, h.UndeployPackage(ctx, as("root"), "flow-1.0.0"))
	st, err := h.PackageStatus(ctx, "flow-1.0.0")
	if err != nil || st.Phase != dm.NotDeployed || st.Information != "" || st.Owner != "" {
		t.Errorf("after undeploy: %+v %v", st, err)
	}
	h.stop()
	h = open(t, h.dir)
	if st, _ := h.PackageStatus(ctx, "none-1.0.0"); !strings.Contains(st.Information, "none-1.0.0 NotFound") {
		t.Errorf("the failure is forgotten after a restart: %+v", st)
	}
	h.sound()
}

// TestOwnerWithSpaces: names that differ only in spaces are different people,
// also after a restart.
func TestOwnerWithSpaces(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	for i, user := range []dm.UserName{"ana ", " ana", "ana\u00a0", " "} {
		h.deployed(user, fmt.Sprintf("flow-1.0.%d", i), "one")
	}
	h.stop()
	h = open(t, h.dir)
	for i, user := range []dm.UserName{"ana ", " ana", "ana\u00a0", " "} {
		if st, err := h.PackageStatus(ctx, fmt.Sprintf("flow-1.0.%d", i)); err != nil || st.Owner != user {
			t.Errorf("owner %q, %v; want %q", st.Owner, err, user)
		}
	}
	h.sound()
}

// TestDeployThatCannotBeRecorded: who was told DEPLOYING is told how it ended.
func TestDeployThatCannotBeRecorded(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.publish("ana", "flow-1.0.0.tgz", notebook("flow-1.0.0", "one"))
	write(t, h.dir+"/packages/flow.git/refs/deployed", "in the way")
	wantKind(t, h.DeployPackage(ctx, as("ana"), "flow-1.0.0"), dm.Unavailable, "storage is unavailable, try again")
	want := []dm.Phase{dm.Created, dm.Deploying, dm.NotDeployed}
	if got := h.states("flow-1.0.0"); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

// TestArchiveCorpus uploads every hostile and benign archive to the record and
// looks for what stayed.
func TestArchiveCorpus(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	before := h.snapshot()
	for i, c := range archivetest.Hostile() {
		_, err := h.Publish(ctx, as("ana"), file(t, fmt.Sprintf("hostile-0.0.%d.tgz", i)), c.Open(), -1)
		if dm.KindOf(err) != c.Kind || !strings.Contains(dm.Public(err), c.Text) {
			t.Errorf("%s: got %q %q, want %q with %q", c.Name, dm.KindOf(err), dm.Public(err), c.Kind, c.Text)
		}
		if after := h.snapshot(); after != before {
			t.Fatalf("%s left traces:\n%s", c.Name, after)
		}
	}
	for i, c := range archivetest.Benign() {
		f := file(t, fmt.Sprintf("benign-0.0.%d.tgz", i))
		body, err := io.ReadAll(c.Open())
		check(t, err)
		if _, err := h.Publish(ctx, as("ana"), f, bytes.NewReader(body), -1); err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		a, err := h.OpenArchive(ctx, f)
		check(t, err)
		got, err := io.ReadAll(a)
		if sum := sha256.Sum256(body); err != nil || !bytes.Equal(got, body) || a.Digest != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: the download has %d bytes and the digest %s, %d were sent (%v)", c.Name, len(got), a.Digest, len(body), err)
		}
		check(t, a.Close())
	}
	h.sound()
}

// errCut is a client that goes away.
var errCut = errors.New("connection reset")

func TestCutUpload(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	before := h.snapshot()
	content := notebook("flow-1.0.0", "one")
	for _, n := range []int{0, 1, len(content) / 2, len(content) - 1} {
		body := io.MultiReader(bytes.NewReader(content[:n]), &failing{errCut})
		_, err := h.Publish(ctx, as("ana"), file(t, "flow-1.0.0.tgz"), body, int64(len(content)))
		if !errors.Is(err, errCut) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
		if after := h.snapshot(); after != before {
			t.Errorf("cut after %d bytes left traces:\n%s", n, after)
		}
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }
