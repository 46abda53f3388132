package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashFollower polls the events of a server that is killed again and again, and
// of each next one from where it was. It is PNDA's receiver of callbacks too, one
// that fails now and then.
type crashFollower struct {
	w     *crashWorld
	after uint64
	seen  map[uint64]string // number → name of the object that carries it
	due   []string          // what the receiver is to be told for it

	mu    sync.Mutex
	calls int
	told  map[string]bool
}

// receive answers a callback.
func (f *crashFollower) receive(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Data []struct {
			ID, State string
			Timestamp int64
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls++; f.calls%4 == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err == nil && len(body.Data) == 1 {
		f.told[fmt.Sprint(body.Data[0].ID, " ", body.Data[0].State, " ", body.Data[0].Timestamp)] = true
	}
}

// untold are the callbacks that have not come.
func (f *crashFollower) untold() (list []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, call := range f.due {
		if !f.told[call] {
			list = append(list, call)
		}
	}
	return list
}

func newCrashFollower() *crashFollower {
	return &crashFollower{seen: map[uint64]string{}, told: map[string]bool{}}
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
				Seq            uint64
				ID, State, New string
				Time           time.Time
				Again          bool
			}
			if json.Unmarshal([]byte(line), &e) != nil { // of an answer that was cut off
				return
			}
			if e.Seq <= f.after {
				f.w.t.Errorf("event %d came after %d", e.Seq, f.after)
			}
			f.after, f.seen[e.Seq] = e.Seq, e.New
			if !e.Again {
				f.due = append(f.due, fmt.Sprint(e.ID, " ", e.State, " ", e.Time.UnixMilli()))
			}
		}
		if answer == "" {
			return
		}
	}
}

// check reads on to the end and wants exactly the events that the record has:
// none was missed over the kills, and none told that is not there. And each has
// come as a callback.
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
	for deadline := time.Now().Add(30 * time.Second); len(f.untold()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.w.t.Errorf("no callback came for %q", f.untold())
			break
		}
	}
	f.mu.Lock()
	calls := f.calls
	f.mu.Unlock()
	f.w.t.Logf("%d callbacks, of which each fourth failed, for %d states", calls, len(f.due))
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

// TestStopEndsFollowers: who follows events does not hold up a stop, and is told by
// the end of the answer to come again.
func TestStopEndsFollowers(t *testing.T) {
	t.Parallel()
	w := newCrashWorld(t)
	w.start()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+w.server.addresses["manager"]+"/api/v1/events?user.name=ana", nil)
	must(t, err)
	r.Header.Set("Accept", "text/event-stream")
	stream, err := http.DefaultClient.Do(r)
	must(t, err)
	defer stream.Body.Close()
	must(t, w.publish("ana", "p-1.0.0", "first"))
	begin := time.Now()
	w.stop()
	if took := time.Since(begin); took >= requestGrace {
		t.Errorf("the stop took %s", took)
	}
	text, err := io.ReadAll(stream.Body)
	if err != nil || !strings.Contains(string(text), `"id":"p-1.0.0"`) {
		t.Errorf("the stream ended with %v: %s", err, text)
	}
	w.finished = true
}
