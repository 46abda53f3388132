package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// crashFollower polls the events of a server that is killed again and again, and
// of each next one from where it was.
type crashFollower struct {
	w     *crashWorld
	after uint64
	seen  map[uint64]string // number → name of the object that carries it
}

// follow polls until the server is gone, or nothing has come for a second.
func (f *crashFollower) follow() {
	for {
		status, answer, err := f.w.send(http.MethodGet, "manager", fmt.Sprintf("/api/v1/events?limit=7&wait=1&after=%d&user.name=ana", f.after), "", "")
		if err != nil {
			return
		}
		if status != http.StatusOK {
			f.w.t.Errorf("events after %d: status %d: %s", f.after, status, answer)
			return
		}
		for line := range strings.Lines(answer) {
			var e struct {
				Seq         uint64
				Action, New string
			}
			if json.Unmarshal([]byte(line), &e) != nil { // of an answer that was cut off
				return
			}
			if e.Seq <= f.after {
				f.w.t.Errorf("event %d came after %d", e.Seq, f.after)
			}
			f.after, f.seen[e.Seq] = e.Seq, e.New
		}
		if answer == "" {
			return
		}
	}
}

// check reads on to the end and wants exactly the events that the record has:
// none was missed over the kills, and none told that is not there.
func (f *crashFollower) check() {
	f.w.t.Helper()
	f.follow()
	want := f.w.recordedEvents()
	missing := 0
	for _, seq := range slices.Sorted(maps.Keys(want)) {
		if got, ok := f.seen[seq]; !ok {
			missing++
			f.w.t.Errorf("event %d, %s, was missed", seq, want[seq])
		} else if got != want[seq] {
			f.w.t.Errorf("event %d tells of %q, the record has %q", seq, got, want[seq])
		}
	}
	for seq := range f.seen {
		if _, ok := want[seq]; !ok {
			f.w.t.Errorf("event %d, %s, is not in the record", seq, f.seen[seq])
		}
	}
	f.w.t.Logf("%d events up to number %d, %d missing; %d numbers were given up", len(f.seen), f.after, missing, int(f.after)-len(f.seen))
}

// recordedEvents reads the record with git: the number of every transition, and
// the object that its ref was moved to, "" for a withdrawal.
func (w *crashWorld) recordedEvents() map[uint64]string {
	w.t.Helper()
	events := map[uint64]string{}
	note := func(text, object string) {
		if seq, err := strconv.ParseUint(strings.TrimSpace(text), 10, 64); err == nil {
			events[seq] = object
		}
	}
	repositories, err := filepath.Glob(filepath.Join(w.folder, "data", "[ap]*", "*.git"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, dir := range repositories {
		uploads := map[string][]string{} // of a version: tags of withdrawals around it, in their order
		stands := map[string]bool{}
		for line := range strings.Lines(w.git("--git-dir="+dir, "for-each-ref", "--sort=version:refname", "--format=%(objectname) %(refname)")) {
			object, ref, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch {
			case strings.HasPrefix(ref, "refs/observed/"), strings.HasPrefix(ref, "refs/deployed/"), ref == "refs/heads/main" && strings.Contains(dir, "/applications/"):
				// The newest of several commits with one number comes first.
				newest := ""
				for line := range strings.Lines(w.git("--git-dir="+dir, "log", "--first-parent", "--format=%H %(trailers:key=DM-Seq,valueonly,separator=)", ref)) {
					commit, seq, _ := strings.Cut(strings.TrimSpace(line), " ")
					if seq != newest {
						note(seq, commit)
					}
					newest = seq
				}
			case strings.HasPrefix(ref, "refs/tags/"):
				stands[object] = true
				uploads[object] = append(uploads[object], "")
			case strings.HasPrefix(ref, "refs/superseded/"):
				upload, withdrawal := object, ""
				if target := w.tagged(dir, object); target != "" {
					upload, withdrawal = target, object
				}
				uploads[upload] = append(uploads[upload], withdrawal)
			}
		}
		for upload, ends := range uploads {
			note(w.seqOf(dir, upload), upload)
			// A kill may have come between the name under superseded and the tag's end.
			if last := ends[len(ends)-1]; !stands[upload] && last != "" {
				note(w.seqOf(dir, last), "")
			}
		}
	}
	return events
}

// tagged is the tag that a tag is around, "" when it is around something else.
func (w *crashWorld) tagged(dir, tag string) string {
	text := w.git("--git-dir="+dir, "cat-file", "tag", tag)
	head, rest, _ := strings.Cut(text, "\n")
	if !strings.HasPrefix(rest, "type tag\n") {
		return ""
	}
	return strings.TrimPrefix(head, "object ")
}

// seqOf is the trailer DM-Seq of a tag.
func (w *crashWorld) seqOf(dir, tag string) string {
	_, text, _ := strings.Cut(w.git("--git-dir="+dir, "cat-file", "tag", tag), "\nDM-Seq: ")
	seq, _, _ := strings.Cut(text, "\n")
	return seq
}
