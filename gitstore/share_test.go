package gitstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
)

// stored is what the packs of a repository take in bytes, without those whose
// .keep file says a text that begins with without.
func (h *house) stored(repository, without string) (n int64) {
	h.t.Helper()
	packs, err := filepath.Glob(filepath.Join(h.dir, repository, "objects", "pack", "pack-*.pack"))
	check(h.t, err)
	for _, path := range packs {
		if text, _ := os.ReadFile(strings.TrimSuffix(path, ".pack") + ".keep"); without != "" && strings.HasPrefix(string(text), without) {
			continue
		}
		info, err := os.Stat(path)
		check(h.t, err)
		n += info.Size()
	}
	return n
}

// copies counts the objects of all packs of a repository, and the different ones.
func (h *house) copies(repository string) (all, different int) {
	h.t.Helper()
	packs, err := filepath.Glob(filepath.Join(h.dir, repository, "objects", "pack", "pack-*.idx"))
	check(h.t, err)
	names := map[string]bool{}
	for _, path := range packs {
		for line := range strings.Lines(git(h.t, filepath.Join(h.dir, repository), "verify-pack", "-v", path)) {
			if fields := strings.Fields(line); len(fields) >= 5 && len(fields[0]) == 40 {
				all++
				names[fields[0]] = true
			}
		}
	}
	return all, len(names)
}

// heavy is a package whose files do not shrink, but for one that an override fills.
func heavy(id, topic string) []byte {
	files := map[string]string{
		id + "/jupyter/report/report.ipynb":    `{"cells":[{"cell_type":"markdown","id":"a","metadata":{},"source":["` + topic + ` ${component_topic}"]}],"metadata":{},"nbformat":4,"nbformat_minor":5}`,
		id + "/jupyter/report/properties.json": `{"topic": "` + topic + `"}`,
	}
	for i := range 8 {
		files[fmt.Sprintf("%s/jupyter/report/data/%d.bin", id, i)] = string(noise(uint64(i), 40_000))
	}
	return archivetest.Tgz(files)
}

func (h *house) deployHeavy(id string) dm.PackageRef {
	h.t.Helper()
	h.publish("teacher", id+".tar.gz", heavy(id, "flows"))
	check(h.t, h.DeployPackage(ctx, as("teacher"), id))
	ref, err := dm.ParsePackageRef(id)
	check(h.t, err)
	return ref
}

// topic changes an override of an application.
func (h *house) topic(app dm.ApplicationName, text string) {
	h.t.Helper()
	value, err := json.Marshal(text)
	check(h.t, err)
	check(h.t, h.Change(ctx, as("teacher"), app, dm.Edit{Overrides: dm.Overrides{"jupyter": {"report": {"topic": value}}}}))
	if view := h.settle(app); view.Phase != dm.Created || strings.HasPrefix(view.Information, "Error") {
		h.t.Fatalf("%+v", view)
	}
}

// TestVersionsShareTheirFiles publishes versions that have the same files, and two
// under which nothing but a name differs.
func TestVersionsShareTheirFiles(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.deployHeavy("flow-1.0.0")
	const flow, archives = "packages/flow.git", "archive of "
	one := h.stored(flow, archives)
	for i := 1; i <= 5; i++ {
		h.deployHeavy(fmt.Sprintf("flow-1.0.%d", i))
	}
	if n := h.stored(flow, archives); n > one+one/10 {
		t.Errorf("6 versions with the same files take %d bytes, and one %d", n, one)
	}
	before := h.stored(flow, "content of ")
	h.publish("teacher", "flow-2.0.0.tar.gz", heavy("flow-1.0.0", "flows"))
	if n := h.stored(flow, "content of "); n > before+10_000 {
		t.Errorf("the same archive under another name takes %d bytes", n-before)
	}
	if all, different := h.copies(flow); all != different {
		t.Errorf("%d objects are stored, %d of them different", all, different)
	}
	// An application of a version whose files came with another one.
	ref, err := dm.ParsePackageRef("flow-1.0.5")
	check(t, err)
	h.created("teacher", "app", ref)
	h.sound()
	h.stop()
	h = open(t, h.dir)
	h.inService("after a start")
	h.sound()
}

// TestUsersGetWhatTheyLack changes an application for one who has it from the
// beginning and one who comes last. Neither may have an object that none of the
// refs shows, and nobody two of the same.
func TestUsersGetWhatTheyLack(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ref := h.deployHeavy("flow-1.0.0")
	check(t, h.Create(ctx, as("teacher"), dm.Spec{Name: "course", Package: ref, Audience: []dm.Subject{"user:ana", "user:bob"}}))
	h.settle("course")
	h.asks("bob")
	h.asks("ana")
	first := h.stored("users/ana.git", "")
	for i := range 5 {
		h.topic("course", fmt.Sprint("secret of deployment ", i+2))
		h.asks("ana")
	}
	check(t, h.Change(ctx, as("teacher"), "course", dm.Edit{Audience: []dm.Subject{"user:ana", "user:zoe"}}))
	h.settle("course")
	h.topic("course", "last")
	for _, user := range []string{"ana", "bob", "zoe"} {
		repository := "users/" + user + ".git"
		stored := strings.Fields(h.git(repository, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)"))
		shown := strings.Fields(h.git(repository, "rev-list", "--objects", "--no-object-names", "--all"))
		stored = slices.DeleteFunc(stored, func(name string) bool { // what refs/brought/head was before
			return !slices.Contains(shown, name) && strings.HasPrefix(h.git(repository, "cat-file", "-p", name), "tree ") &&
				strings.HasPrefix(h.git(repository, "log", "-1", "--format=%s", name), "Bring up to event ")
		})
		slices.Sort(shown)
		if !slices.Equal(stored, shown) {
			t.Errorf("%s has %d objects, and the refs show %d", user, len(stored), len(shown))
		}
		if all, different := h.copies(repository); all != different {
			t.Errorf("%s has %d objects, %d of them different", user, all, different)
		}
		if n := h.stored(repository, ""); n > first+first/10 {
			t.Errorf("the workspace of %s takes %d bytes, and one deployment %d", user, n, first)
		}
	}
	if n, pkg := h.stored("applications/course.git", ""), h.stored("packages/flow.git", "archive of "); n > pkg+pkg/10 {
		t.Errorf("the application takes %d bytes, and its package %d", n, pkg)
	}
	if all, different := h.copies("applications/course.git"); all != different {
		t.Errorf("the application has %d objects, %d of them different", all, different)
	}
	if left, err := filepath.Glob(filepath.Join(h.dir, "tmp", "contents-*")); err != nil || len(left) == 0 || len(left) > 8 {
		t.Errorf("tmp holds the contents %v, %v", left, err)
	}
	h.sound()
}

// keptInodes are the files of the packs of a workspace that are kept.
func (h *house) keptInodes(user string) map[uint64]bool {
	h.t.Helper()
	keeps, err := filepath.Glob(filepath.Join(h.dir, "users", user+".git", "objects", "pack", "pack-*.keep"))
	check(h.t, err)
	files := map[uint64]bool{}
	for _, keep := range keeps {
		info, err := os.Stat(strings.TrimSuffix(keep, ".keep") + ".pack")
		check(h.t, err)
		files[info.Sys().(*syscall.Stat_t).Ino] = true
	}
	return files
}

// TestAClassSharesItsFiles wants one file for all users of a deployment, when it
// is made and when all of their workspaces were lost.
func TestAClassSharesItsFiles(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ref := h.deployHeavy("flow-1.0.0")
	check(t, h.Create(ctx, as("teacher"), dm.Spec{Name: "course", Package: ref, Audience: []dm.Subject{"user:ana", "user:bob"}}))
	h.settle("course")
	shared := func(when string) {
		t.Helper()
		h.asks("ana")
		h.asks("bob")
		if ana := h.keptInodes("ana"); len(ana) < 2 || !maps.Equal(ana, h.keptInodes("bob")) { // that of the blank workspace is one
			t.Errorf("%s ana and bob have the files %v and %v", when, ana, h.keptInodes("bob"))
		}
	}
	shared("at first")
	h.stop()
	check(t, os.RemoveAll(filepath.Join(h.dir, "users")))
	h = open(t, h.dir)
	shared("after a loss")
	h.sound()
}

// endsBy does something when the content has been read.
type endsBy struct {
	io.Reader
	do func()
}

func (e *endsBy) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if err == io.EOF && e.do != nil {
		e.do()
		e.do = nil
	}
	return n, err
}

// TestUploadOfWhatIsTakenAway takes the files of an earlier version away while a
// version that shares them arrives. It must not be published without them.
func TestUploadOfWhatIsTakenAway(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.deployHeavy("flow-1.0.0")
	packs := filepath.Join(h.dir, "packages/flow.git/objects/pack")
	away := filepath.Join(t.TempDir(), "pack")
	content := heavy("flow-1.1.0", "other") // what is judged is not shared
	body := &endsBy{bytes.NewReader(content), func() { check(t, errors.Join(os.Rename(packs, away), os.Mkdir(packs, 0o750))) }}
	_, err := h.Publish(ctx, as("teacher"), file(t, "flow-1.1.0.tar.gz"), body, int64(len(content)))
	wantKind(t, err, dm.Unavailable, "the package changed while the upload came")
	check(t, errors.Join(os.RemoveAll(packs), os.Rename(away, packs)))
	if got := refsOf(t, filepath.Join(h.dir, "packages/flow.git")); strings.Contains(got, "1.1.0") {
		t.Errorf("refs are %q", got)
	}
	h.publish("teacher", "flow-1.1.0.tar.gz", content)
	h.sound()
}

// noise is content that does not shrink.
func noise(seed uint64, size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(content) // never fails
	return content
}
