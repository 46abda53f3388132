package main

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"reflect"
	"strings"
	"testing"

	"github.com/pndaproject/deployment-manager/gitstore/pushtest"
)

// TestHarmlessPushes pushes what looks hostile and is accepted. The record says
// afterwards what the server knows, not what the push claims, and holds nothing
// that the push only carried along.
func TestHarmlessPushes(t *testing.T) {
	t.Parallel()
	b := startBesieged(t)
	fronts := []*front{{name: windPackage, user: "ana"}, {name: noonRun, user: "ana"}}
	changes := 0 // of the application
	for _, f := range fronts {
		for _, c := range pushtest.Harmless() {
			target := b.target(f)
			got, err := b.push(f.name, f.user, c.Body(target))
			if err == nil && c.Luck && !got.accepted(target.Ref) {
				continue
			}
			if err != nil || !got.accepted(target.Ref) {
				t.Errorf("%s, %s: %v, %s; want it to be accepted: %s", f.name, c.Name, err, got, c.Fine)
				continue
			}
			b.wantDiscreet(c, got)
			b.settle(f)
			if f.name == noonRun {
				changes++
			}
		}
		if _, err := b.try(f.name, "cat-file", "-e", pushtest.BlobOf(pushtest.Unnamed).ID()); err == nil {
			t.Errorf("%s keeps a blob that nothing names", f.name)
		}
	}
	b.wantTruth(changes)
	before := b.histories()
	b.verify()
	if after := b.histories(); !reflect.DeepEqual(after, before) {
		t.Errorf("after a restart the history is\n%s\nbefore it was\n%s", after, before)
	}
	b.wantTruth(changes)
	for _, f := range fronts {
		b.pushGood(f)
	}
}

// try is git when it may fail.
func (b *besieged) try(name string, args ...string) (string, error) {
	out, err := exec.Command("git", append([]string{"-c", "safe.directory=*", "--git-dir", b.repository(name)}, args...)...).Output()
	return string(out), err
}

// histories is what the API tells of the past and the present.
func (b *besieged) histories() string {
	b.t.Helper()
	var all strings.Builder
	for _, path := range []string{"/api/v1/applications/noon-run/history", "/api/v1/applications/noon-run", "/api/v1/packages/wind/history"} {
		all.WriteString(b.rest(http.StatusOK, http.MethodGet, "manager", path, "") + "\n")
	}
	return all.String()
}

// wantTruth wants the history to tell of a create, a start and n changes by ana,
// and of none of what a push claimed.
func (b *besieged) wantTruth(n int) {
	b.t.Helper()
	text := b.histories()
	for _, lie := range []string{`"forged`, `"root`, `"Mallory`, `"2001-01-01`, `"console`, `"other-9.9.9`, `"deployment":77`} {
		if strings.Contains(text, lie) {
			b.t.Errorf("the history tells %q:\n%s", lie, text)
		}
	}
	var past struct {
		Changes []struct {
			Action, User, Via string
			Deployment        int
		}
	}
	if err := json.Unmarshal([]byte(b.rest(http.StatusOK, http.MethodGet, "manager", "/api/v1/applications/noon-run/history", "")), &past); err != nil {
		b.t.Fatal(err)
	}
	if len(past.Changes) != n+2 {
		b.t.Fatalf("%d changes are told, want %d:\n%s", len(past.Changes), n+2, text)
	}
	for i, c := range past.Changes[:n] {
		if c.Action != "change" || c.User != "ana" || c.Via != "push" || c.Deployment != n+1-i {
			b.t.Errorf("change %d is told as %+v", i, c)
		}
	}
}
