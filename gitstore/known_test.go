package gitstore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// knownLines reads known-refs as "folder ref" lines with their values.
func knownLines(t *testing.T, dir string) (lines int, last map[string]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "known-refs"))
	check(t, err)
	last = map[string]string{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 4 {
			t.Fatalf("known-refs has the line %q", line)
		}
		lines++
		last[fields[1]+" "+fields[2]] = fields[3]
	}
	return lines, last
}

// TestKnownRefsFollow compares the file with what git says of the refs, after
// changes of every sort, and after the file was written anew.
func TestKnownRefsFollow(t *testing.T) {
	t.Parallel()
	dir := genuine(t)
	want := func() map[string]string {
		all := map[string]string{}
		for _, folder := range []string{"packages/flow.git", "applications/app.git"} {
			for line := range strings.Lines(git(t, filepath.Join(dir, folder), "for-each-ref", "--format=%(refname) %(objectname)",
				"refs/tags", "refs/superseded", "refs/deployed", "refs/observed") + "\n") {
				if ref, h, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
					all[folder+" "+ref] = h
				}
			}
		}
		all["applications/app.git refs/heads/main"] = git(t, filepath.Join(dir, "applications/app.git"), "rev-parse", "refs/heads/main")
		return all
	}
	compare := func(when string) {
		t.Helper()
		lines, got := knownLines(t, dir)
		for key, h := range got {
			if strings.Trim(h, "0") == "" {
				delete(got, key)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want()) {
			t.Errorf("%s known-refs has\n%v\nwant\n%v", when, got, want())
		}
		t.Logf("%s: %d lines", when, lines)
	}
	compare("after the changes")
	check(t, os.Remove(filepath.Join(dir, "known-refs")))
	openStill(t, dir).stop()
	compare("after it was lost")
	_, before := knownLines(t, dir)
	text, err := os.ReadFile(filepath.Join(dir, "known-refs"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "known-refs"), []byte(strings.Repeat(string(text), 3000)), 0o640))
	openStill(t, dir).stop()
	compare("after it had grown")
	if lines, _ := knownLines(t, dir); lines != len(before) {
		t.Errorf("after it had grown it has %d lines, want %d", lines, len(before))
	}
}

// TestKnownRefsThatCannotBeWritten makes changes while nothing can be noted: they
// are made all the same, and the next start knows them.
func TestKnownRefsThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	breakKnownRefs(t, h.dir)
	h.created("ana", "app", v)
	h.stop()
	if _, known := knownLines(t, h.dir); len(known["applications/app.git refs/heads/main"]) != 0 {
		t.Fatal("it was noted")
	}
	h = open(t, h.dir)
	h.sound()
	if _, known := knownLines(t, h.dir); known["applications/app.git refs/heads/main"] == "" {
		t.Error("the start did not note it")
	}
	if view, ok, err := h.Application(ctx, "app"); !ok || err != nil || view.Phase != dm.Created {
		t.Errorf("the application is %+v, %v", view, err)
	}
}

// breakKnownRefs lets every later write of this process to the file fail: in the
// place of the open file stands one that is for reading only.
func breakKnownRefs(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "known-refs")
	reading, err := os.Open(path)
	check(t, err)
	defer reading.Close()
	files, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	broken := 0
	for _, f := range files {
		number, err := strconv.Atoi(f.Name())
		check(t, err)
		if to, _ := os.Readlink("/proc/self/fd/" + f.Name()); to != path || number == int(reading.Fd()) {
			continue
		}
		check(t, syscall.Dup3(int(reading.Fd()), number, syscall.O_CLOEXEC))
		broken++
	}
	if broken != 1 {
		t.Fatalf("%d open files are %s, want 1", broken, path)
	}
}
