package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// twin is one of two servers that are given the same content in two ways.
type twin struct {
	*runningServer
	t      *testing.T
	folder string
	mu     sync.Mutex
	events []string // kind of callback, id, state and information
	told   chan struct{}
}

// startTwin starts a server whose callbacks are kept.
func startTwin(t *testing.T, options ...string) *twin {
	t.Helper()
	w := &twin{t: t, folder: t.TempDir(), told: make(chan struct{}, 64)}
	callbacks := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			Data []struct{ ID, State, Information string }
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("callback: %v", err)
		}
		w.mu.Lock()
		for _, e := range body.Data {
			w.events = append(w.events, fmt.Sprintf("%s %s %s %q", r.URL.Path, e.ID, e.State, e.Information))
		}
		w.mu.Unlock()
		w.told <- struct{}{}
	}))
	t.Cleanup(callbacks.Close)
	options = append(options, "--auth", "insecure-pnda", "--package-callback", callbacks.URL+"/package")
	var err error
	if w.runningServer, err = launch(w.folder, filepath.Join(w.folder, "data"), isolated(w.folder, "GORACE="+os.Getenv("GORACE")), options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.end(syscall.SIGTERM); err != nil {
			t.Errorf("the server ended: %v", err)
		}
	})
	return w
}

// developer is a repository of somebody who publishes.
type developer struct {
	t   *testing.T
	dir string
}

func newDeveloper(t *testing.T) *developer {
	d := &developer{t, t.TempDir()}
	d.git("init", "-q", "-b", "main")
	return d
}

// try runs git and returns what it said.
func (d *developer) try(args ...string) (stdout, stderr string, err error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = d.dir
	cmd.Env = isolated(d.dir,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=core.protectNTFS", "GIT_CONFIG_VALUE_0=false",
		"GIT_AUTHOR_NAME=root", "GIT_AUTHOR_EMAIL=root@pnda", "GIT_COMMITTER_NAME=root", "GIT_COMMITTER_EMAIL=root@pnda")
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run()
	return out.String(), said.String(), err
}

func (d *developer) git(args ...string) string {
	d.t.Helper()
	out, said, err := d.try(args...)
	if err != nil {
		d.t.Fatalf("git %v: %v\n%s", args, err, said)
	}
	return out
}

// commit makes the files the whole content of a new commit. A content that
// begins with "->" makes a symbolic link.
func (d *developer) commit(files map[string]string) {
	d.t.Helper()
	d.git("read-tree", "--empty")
	for _, path := range slices.Sorted(maps.Keys(files)) {
		target, link := strings.CutPrefix(files[path], "->")
		mode := "100644"
		if link {
			mode = "120000"
		}
		blob := filepath.Join(d.t.TempDir(), "blob")
		if err := os.WriteFile(blob, []byte(target), 0o600); err != nil {
			d.t.Fatal(err)
		}
		id := strings.TrimSpace(d.git("hash-object", "-w", blob))
		d.git("update-index", "--add", "--cacheinfo", mode+","+id+","+path)
	}
	d.git("commit", "-q", "--allow-empty", "-m", "content")
}

func (w *twin) push(d *developer, ref string) (said string, err error) {
	_, said, err = d.try("push", "-o", "accept-faults", "http://ana:any@"+w.addresses["git"]+"/packages/wind.git", "HEAD:"+ref)
	return said, err
}

func (w *twin) upload(archive []byte, version string) (status int, answer string) {
	w.t.Helper()
	status, answer, err := send(http.MethodPut, "http://"+w.addresses["packages"]+"/packages/wind-"+version+".tar.gz?user.name=ana", string(archive))
	if err != nil {
		w.t.Fatal(err)
	}
	return status, answer
}

func (w *twin) download(version string) []byte {
	w.t.Helper()
	response, err := http.Get("http://" + w.addresses["packages"] + "/packages/wind-" + version + ".tar.gz?user.name=ana")
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		w.t.Fatalf("download of %s: %s %v", version, response.Status, err)
	}
	return data
}

// waitForEvents waits until n events have come.
func (w *twin) waitForEvents(n int) []string {
	w.t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		w.mu.Lock()
		events := slices.Clone(w.events)
		w.mu.Unlock()
		if len(events) >= n {
			return events
		}
		select {
		case <-w.told:
		case <-deadline:
			w.t.Fatalf("%d events, want %d: %q", len(events), n, events)
		}
	}
}

// passing are the parts of a record that tell of this server and this moment.
// What follows of the archive of an upload being kept is compared by itself.
var passing = regexp.MustCompile(`(?m)^DM-Archive: .*\n|^(DM-Via|DM-Time|DM-Request-Id): .*$|^(author|committer|tagger) (.*) \d+ \+0000$|^(object|parent) .*$`)

// record is every ref of the package with what its objects hold, and how many
// archives it keeps.
func (w *twin) record() (text string, archives int) {
	w.t.Helper()
	dir := filepath.Join(w.folder, "data", "packages", "wind.git")
	d := &developer{w.t, w.folder}
	var b strings.Builder
	for _, ref := range strings.Fields(d.git("--git-dir", dir, "for-each-ref", "--format=%(refname)")) {
		if strings.HasPrefix(ref, "refs/archives/") {
			archives++
			continue
		}
		for _, of := range []string{ref, ref + "^{}"} {
			kind := strings.TrimSpace(d.git("--git-dir", dir, "cat-file", "-t", of))
			text := ""
			if kind != "blob" {
				text = passing.ReplaceAllString(d.git("--git-dir", dir, "cat-file", kind, of), "$1$2$3$4")
			}
			fmt.Fprintf(&b, "%s %s\n%s\n", of, kind, text)
		}
	}
	return b.String(), archives
}

// numbers is a file of n lines.
func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%d,%d\n", i, i*i)
	}
	return b.String()
}

// TestPushEqualsUpload gives one server pushes and another uploads of the same
// content: records, archives, listings and events are the same, but that an archive
// that nobody uploaded is made for those who ask for it and not kept.
func TestPushEqualsUpload(t *testing.T) {
	t.Parallel()
	pushed, uploaded := startTwin(t), startTwin(t)
	d := newDeveloper(t)
	contents := []map[string]string{
		{"jupyter/report/notebook.ipynb": "{}", "jupyter/report/properties.json": `{"topic":"wind"}`},
		{"jupyter/report/notebook.ipynb": "{ }", "jupyter/report/a file (1).csv": numbers(20_000), "é/" + strings.Repeat("long/", 20) + "x": ""},
		// The push brings some of these as differences from others, and some twice.
		{"a/copy.csv": numbers(20_000), "jupyter/report/a file (1).csv": numbers(20_000) + "more\n", "b.csv": numbers(19_000), "z": "{ }", "zz": "{ }"},
	}
	for i, files := range contents {
		version := fmt.Sprintf("1.%d.0", i)
		d.commit(files)
		if said, err := pushed.push(d, "refs/tags/v"+version); err != nil {
			t.Fatalf("push: %v\n%s", err, said)
		}
		archive := pushed.download(version)
		if status, answer := uploaded.upload(archive, version); status != http.StatusOK {
			t.Fatalf("upload: %d %s", status, answer)
		}
		if !bytes.Equal(archive, uploaded.download(version)) {
			t.Errorf("%s downloads with other bytes", version)
		}
		// Each door takes what the other has published for the same.
		if said, err := uploaded.push(d, "refs/tags/v"+version); err != nil || !strings.Contains(said, "already exists with the same files") {
			t.Errorf("push of what was uploaded: %v\n%s", err, said)
		}
		if status, answer := pushed.upload(archive, version); status != http.StatusOK {
			t.Errorf("upload of what was pushed: %d %s", status, answer)
		}
	}
	got, made := pushed.record()
	want, kept := uploaded.record()
	if got != want || !strings.Contains(got, "DM-Archive-Sha256") {
		t.Errorf("the record of pushes is\n%s\nthat of uploads is\n%s", got, want)
	}
	if made != 0 || kept != len(contents) {
		t.Errorf("%d archives of pushes and %d of uploads are kept, want none and all %d", made, kept, len(contents))
	}
	if got, want := pushed.waitForEvents(3), uploaded.waitForEvents(3); !slices.Equal(got, want) {
		t.Errorf("pushes tell %q, uploads %q", got, want)
	}
}

// TestPushRefusedAsUpload gives both doors content that a package may not have:
// the findings are the same, and nothing stays. Left out is what git's own check
// refuses first and in its own words, such as GIT~1.
func TestPushRefusedAsUpload(t *testing.T) {
	t.Parallel()
	options := []string{"--limits-file", "64KiB", "--limits-unpacked", "256KiB", "--limits-entries", "40"}
	pushed, uploaded := startTwin(t, options...), startTwin(t, options...)
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprintf("f%02d", i)] = "x"
	}
	large := map[string]string{}
	for i := range 6 {
		large[fmt.Sprintf("f%02d", i)] = strings.Repeat(fmt.Sprint(i), 60<<10)
	}
	cases := map[string]map[string]string{
		"a link":             {"jupyter/a": "->/etc/passwd"},
		"several faults":     {"a\\b": "x", "deep/link": "->..", "c\x01d": "y", "ok": "z"},
		"only case differs":  {"Readme": "a", "readme": "b"},
		"git's own names":    {"sub/.gitmodules": "", ".gitattributes ": "z", "GITMOD~1": "x"},
		"a part too long":    {strings.Repeat("n", 300): "x"},
		"too deep":           {strings.Repeat("d/", 40) + "x": "x"},
		"a file too large":   {"big": strings.Repeat("b", 70<<10)},
		"too many entries":   many,
		"too large unpacked": large,
	}
	// A push that is too large is refused while it arrives, before files have names.
	arriving := map[string]string{
		"a file too large":   "remote: a file or other object of the push has 71680 bytes, at most 65536 are allowed",
		"too large unpacked": "remote: the push has more than 262144 bytes when unpacked",
	}
	for name, files := range cases {
		d := newDeveloper(t)
		d.commit(files)
		archive := d.git("archive", "--format=tar.gz", "--prefix=wind-1.0.0/", "HEAD")
		status, answer := uploaded.upload([]byte(archive), "1.0.0")
		said, err := pushed.push(d, "refs/tags/v1.0.0")
		if err == nil || status < 400 || status >= 500 {
			t.Errorf("%s: accepted: upload %d %s, push %v %s", name, status, answer, err, said)
			continue
		}
		var body struct{ Information string }
		if err := json.Unmarshal([]byte(answer), &body); err != nil {
			t.Fatal(err)
		}
		if want, ok := arriving[name]; ok {
			if !strings.Contains(said, want) {
				t.Errorf("%s: the push says\n%q\nwant %q in it", name, said, want)
			}
			continue
		}
		// How tar is told to follow links is of no use to who pushes.
		information, _, _ := strings.Cut(body.Information, "; tar -h ")
		if got := pushFindings(said); !sameRefusal(got, information) {
			t.Errorf("%s: the push says\n%q\nthe upload\n%q", name, got, body.Information)
		}
	}
	for _, w := range []*twin{pushed, uploaded} {
		for _, sub := range []string{"packages", "tmp"} {
			if left, err := os.ReadDir(filepath.Join(w.folder, "data", sub)); err != nil || len(left) != 0 {
				t.Errorf("left in %s: %v %v", sub, left, err)
			}
		}
	}
}

// pushFindings joins the lines of a refused push to the sentence of the API.
func pushFindings(said string) string {
	message, findings := "", []string{}
	for line := range strings.Lines(said) {
		text, ok := strings.CutPrefix(strings.TrimRight(line, " \n"), "remote: ")
		switch {
		case !ok || strings.HasPrefix(text, "hint: "):
		case strings.HasPrefix(text, "  "):
			findings = append(findings, strings.TrimSpace(text))
		default:
			_, message, _ = strings.Cut(text, ": ")
		}
	}
	if len(findings) > 0 {
		message += ": " + strings.Join(findings, "; ")
	}
	return message
}

// sameRefusal compares sentences whose findings may come in another order: an
// archive lists files as its maker wrote them, a tree in byte order.
func sameRefusal(a, b string) bool {
	parts := func(s string) []string {
		head, rest, _ := strings.Cut(s, ": ")
		list := append([]string{head}, strings.Split(rest, "; ")...)
		slices.Sort(list)
		return list
	}
	return slices.Equal(parts(a), parts(b))
}
