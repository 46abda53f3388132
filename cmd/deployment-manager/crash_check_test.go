package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// check compares everything that the server shows, after it has settled by
// itself, with the model.
func (w *crashWorld) check() {
	w.t.Helper()
	for app, c := range w.apps {
		if err := w.settle(app); err != nil {
			w.t.Fatal(err)
		}
		got, _, err := w.look(app)
		if err != nil {
			w.t.Fatal(err)
		}
		got.given = w.given(app)
		if err := c.observe(got, appState.public); err != nil {
			w.t.Errorf("application %s: %v", app, err)
		}
	}
	w.checkPackages()
	w.checkMains()
	w.checkLists()
	w.checkWorkspaces()
	w.checkLeftovers()
	if w.t.Failed() {
		w.t.FailNow()
	}
}

// checkLeftovers wants no file of a killed server. The server is at work, and
// may repack a repository after the last change: what it makes then goes by
// itself, and what was left stays.
func (w *crashWorld) checkLeftovers() {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		left, err := leftovers(filepath.Join(w.folder, "data"))
		if err == nil && len(left) == 0 {
			return
		}
		if err != nil || time.Now().After(deadline) {
			w.t.Errorf("the server left %q behind (%v)", left, err)
			return
		}
	}
}

// given is the highest number of a deployment of app. Only refs tell it: two
// failed changes look alike to a client of the API.
func (w *crashWorld) given(app string) int {
	w.t.Helper()
	dir := filepath.Join(w.folder, "data", "applications", app+".git")
	if _, err := os.Stat(dir); err != nil {
		return 0
	}
	highest := 0
	for ref := range strings.Lines(w.git("--git-dir="+dir, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/deployments")) {
		n, err := strconv.Atoi(strings.TrimSpace(ref))
		if err != nil {
			w.t.Fatalf("application %s: %v", app, err)
		}
		highest = max(highest, n)
	}
	return highest
}

// checkPackages downloads every archive.
func (w *crashWorld) checkPackages() {
	w.t.Helper()
	for file, c := range w.files {
		status, body, err := w.send(http.MethodGet, "packages", "/packages/"+file, "ana", "")
		if err != nil {
			w.t.Fatal(err)
		}
		got := "status " + http.StatusText(status)
		switch status {
		case http.StatusNotFound:
			got = ""
		case http.StatusOK:
			got = digestOf([]byte(body))
		}
		digests := func(mark string) string {
			if mark == "" {
				return ""
			}
			return digestOf(crashArchive(strings.TrimSuffix(file, ".tar.gz"), mark))
		}
		if err := c.observe(got, digests); err != nil {
			w.t.Errorf("archive %s: %v", file, err)
		}
	}
}

func digestOf(data []byte) string { sum := sha256.Sum256(data); return hex.EncodeToString(sum[:]) }

// checkMains wants main of a package to show the newest upload where a kill
// leaves that open.
func (w *crashWorld) checkMains() {
	w.t.Helper()
	for name, c := range w.newest {
		if len(c.possible) == 1 {
			continue
		}
		if next := c.possible[1]; w.files[next.file].now() == next.mark {
			c.possible = c.possible[1:]
		} else {
			c.possible = c.possible[:1]
		}
		w.checkMain(name)
	}
}

// checkMain wants main of a package at the newest upload: at once, but where a
// full disk could not take the move, whose second look comes after a second.
func (w *crashWorld) checkMain(name string) {
	w.t.Helper()
	want := w.newest[name].now()
	if want.mark == "" {
		return
	}
	const notebook = "refs/heads/main:jupyter/report/report.ipynb"
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		got := w.git("--git-dir="+filepath.Join(w.folder, "data", "packages", name+".git"), "show", notebook)
		if got == string(crashNotebook(want.mark, "${component_topic}")) {
			return
		}
		if !w.full || time.Now().After(deadline) {
			w.t.Errorf("main of the package %s shows %s, want %q", name, got, want)
			return
		}
	}
}

// finish checks everything once more, and what is too slow to be checked after
// each kill: the history of packages, clones, and the program's own verify.
func (w *crashWorld) finish() {
	w.t.Helper()
	w.check()
	for name := range w.newest {
		w.checkMain(name)
	}
	for name, n := range w.replaced {
		refs := w.git("--git-dir="+filepath.Join(w.folder, "data", "packages", name+".git"), "for-each-ref", "refs/superseded")
		if got := strings.Count(refs, "\n"); got < n {
			w.t.Errorf("the package %s keeps %d earlier versions, want at least %d", name, got, n)
		}
	}
	w.checkClones()
	if w.follower != nil {
		w.follower.check()
	}
	w.stop()
	w.verify()
	w.finished = !w.t.Failed()
}

// checkLists compares the three listings, which tell of things that the model
// does not know as well.
func (w *crashWorld) checkLists() {
	w.t.Helper()
	var published []struct {
		Versions []struct{ File string } `json:"latest_versions"`
	}
	w.get("packages", "/packages", &published)
	var files []string
	for _, p := range published {
		for _, v := range p.Versions {
			files = append(files, v.File)
		}
	}
	compareNames(w.t, "archives", files, w.files, func(mark string) bool { return mark != "" })
	var ids []string
	w.get("manager", "/packages", &ids)
	for id, c := range w.deployed {
		if err := c.observe(fmt.Sprint(slices.Contains(ids, id)), func(mark string) string { return fmt.Sprint(mark != "") }); err != nil {
			w.t.Errorf("package %s is deployed: %v", id, err)
		}
	}
	compareNames(w.t, "deployed packages", ids, w.deployed, func(mark string) bool { return mark != "" })
	var apps []string
	w.get("manager", "/applications", &apps)
	compareNames(w.t, "applications", apps, w.apps, appState.delivered)
}

func compareNames[S comparable](t *testing.T, what string, got []string, cells map[string]*cell[S], there func(S) bool) {
	t.Helper()
	var want []string
	for name, c := range cells {
		if there(c.now()) {
			want = append(want, name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func (w *crashWorld) get(port, path string, into any) {
	w.t.Helper()
	status, answer, err := w.send(http.MethodGet, port, path, "ana", "")
	if err != nil || status != http.StatusOK {
		w.t.Fatalf("GET %s: status %d, %v: %s", path, status, err, answer)
	}
	if err := json.Unmarshal([]byte(answer), into); err != nil {
		w.t.Fatal(err)
	}
}

// checkWorkspaces compares every user's repository with what the applications
// deliver: the notebook, filled, and no folder that nobody delivers.
func (w *crashWorld) checkWorkspaces() {
	w.t.Helper()
	want := map[string]map[string]string{} // user → path → blob
	for app, c := range w.apps {
		s := c.now()
		for user := range strings.FieldsSeq(s.Audience) {
			if want[user] == nil {
				want[user] = map[string]string{}
			}
			if s.delivered() {
				want[user][app+"/report.ipynb"] = blobName(crashNotebook(s.marker, s.Topic))
			}
		}
	}
	for user, notebooks := range want {
		if len(notebooks) > 0 {
			w.asks(user)
		}
	}
	repositories, err := filepath.Glob(filepath.Join(w.folder, "data", "users", "*.git"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, dir := range repositories {
		user := strings.TrimSuffix(filepath.Base(dir), ".git")
		w.asks(user)
		got := map[string]string{}
		for line := range strings.Lines(w.git("--git-dir="+dir, "ls-tree", "-r", "refs/heads/main")) {
			fields := strings.Fields(line) // mode type name path
			if strings.HasSuffix(fields[3], "/report.ipynb") {
				got[fields[3]] = fields[2]
			}
		}
		if !maps.Equal(got, want[user]) {
			w.t.Errorf("workspace of %s: got %v, want %v", user, got, want[user])
		}
		delete(want, user)
	}
	for user, notebooks := range want {
		if len(notebooks) > 0 {
			w.t.Errorf("%s has no workspace, want %v", user, notebooks)
		}
	}
}

// asks has a user ask for their workspace, and returns the commit that it is at.
func (w *crashWorld) asks(user string) string {
	w.t.Helper()
	status, head, err := w.send(http.MethodGet, "git", "/jupyter-"+user+"/head", "", "")
	if err != nil || status != http.StatusOK {
		w.t.Errorf("the head of %s: status %d, %v: %s", user, status, err, head)
	}
	return strings.TrimSpace(head)
}

// askOn has users ask, as their servers start one after the other, until the server is
// gone.
func (w *crashWorld) askOn() {
	for i := 0; ; i++ {
		status, answer, err := w.send(http.MethodGet, "git", "/jupyter-"+[]string{"ana", "ben", "cyd"}[i%3]+"/head", "", "")
		switch {
		case err != nil:
			return
		case status != http.StatusOK && !w.failing.Load():
			w.t.Errorf("a head: status %d: %s", status, answer)
			return
		}
		<-time.After(3 * time.Millisecond)
	}
}

// git runs the real git program.
func (w *crashWorld) git(args ...string) string {
	w.t.Helper()
	return w.gitWith("", args...)
}

// gitWith is git with an input.
func (w *crashWorld) gitWith(input string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "safe.directory=*"}, args...)...)
	cmd.Env = isolated(w.folder)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(input), &errs
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// checkClones clones the workspace of every user over HTTP and wants the same
// commit as in the record.
func (w *crashWorld) checkClones() {
	w.t.Helper()
	repositories, err := filepath.Glob(filepath.Join(w.folder, "data", "users", "*.git"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, dir := range repositories {
		clone := w.t.TempDir()
		w.git("clone", "-q", "http://"+w.server.addresses["git"]+"/jupyter-"+strings.TrimSuffix(filepath.Base(dir), ".git"), clone)
		if got, want := w.git("-C", clone, "rev-parse", "HEAD"), w.git("--git-dir="+dir, "rev-parse", "refs/heads/main"); got != want {
			w.t.Errorf("clone of %s: got %s, want %s", dir, got, want)
		}
	}
}
