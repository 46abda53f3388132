package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKilledFetch kills the server when it has the objects that tell of a fetch, and when
// refs/brought/head tells of it. Nobody's workspace is another one for it, and the server
// knows of the fetch when the ref does.
func TestKilledFetch(t *testing.T) {
	t.Parallel()
	w := newCrashWorld(t)
	w.start()
	if err := errors.Join(w.publish("ana", "p-1.0.0", "one"), w.deploy("ana", "p-1.0.0"), w.create("ana", "app", "p-1.0.0", "north")); err != nil {
		t.Fatal(err)
	}
	recorded := func() string {
		return strings.TrimSpace(w.git("--git-dir="+filepath.Join(w.folder, "data", "users", "ana.git"), "log", "-1",
			"--format=%(trailers:key=DM-Fetched-Time,valueonly,separator=)", "refs/brought/head"))
	}
	topic := map[string]string{"fetched-packed": "south", "fetched-moved": "east"}
	for _, step := range []string{"fetched-packed", "fetched-moved"} {
		// What is fetched is news, and a part of it was fetched before.
		if err := w.change("ana", "app", "p-1.0.0", topic[step], "ana ben"); err != nil {
			t.Fatal(err)
		}
		head, before := w.asks("ana"), recorded()
		if err := os.WriteFile(filepath.Join(w.folder, killFile), []byte(step+" 1"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.clonesAsServerDies("ana")
		w.server.awaitExit(t, "no fetch reaches the step "+step)
		w.died()
		if after := recorded(); (after != before) != (step == "fetched-moved") {
			t.Errorf("killed at %s: the fetch is recorded at %q, it was at %q", step, after, before)
		}
		w.start()
		if got := w.asks("ana"); got != head {
			t.Errorf("killed at %s: the head of ana is %s, it was %s", step, got, head)
		}
		w.check()
		w.checkClones()
		for deadline := time.Now().Add(20 * time.Second); recorded() == before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("after a kill at %s no fetch is recorded", step)
			}
		}
	}
	w.finish()
}

// clonesAsServerDies clones a workspace over HTTP. The answer may be whole when the server
// dies of it, or not.
func (w *crashWorld) clonesAsServerDies(user string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	clone := exec.CommandContext(ctx, "git", "clone", "-q", "http://"+w.server.addresses["git"]+"/jupyter-"+user, w.t.TempDir())
	clone.Env = isolated(w.folder)
	out, err := clone.CombinedOutput()
	w.t.Logf("the clone ended with %v %s", err, out)
}
