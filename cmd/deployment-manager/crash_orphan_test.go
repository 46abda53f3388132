package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestOrphanKeepsTheNextServerWaiting holds a git process that has moved a ref
// and not ended, and kills its server. The next server must not read the record
// before the orphan has ended, and then it must carry out the change of which
// the client knows nothing.
func TestOrphanKeepsTheNextServerWaiting(t *testing.T) {
	t.Parallel()
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	w := newCrashWorld(t)
	slow, hold, held := filepath.Join(w.folder, "slow-git"), filepath.Join(w.folder, "hold"), filepath.Join(w.folder, "held")
	script := fmt.Sprintf(`#!/bin/sh
'%s' "$@"
code=$?
case "$*" in *update-ref*)
	if [ -e '%[2]s' ]; then touch '%[3]s'; fi
	while [ -e '%[2]s' ]; do sleep 0.02; done
esac
exit $code
`, git, hold, held)
	if err := os.WriteFile(slow, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(hold) }) // lets the orphan of a failed test go
	w.options = []string{"--git", slow}
	w.start()
	for _, err := range []error{w.publish("ana", "p-1.0.0", "one"), w.deploy("ana", "p-1.0.0"), w.create("ana", "app", "p-1.0.0", "north")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(hold, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { answered <- w.run("ana", "app", "start") }()
	awaitFile(t, held, "")
	w.server.kill(false)
	if err := <-answered; err == nil {
		t.Fatal("the start was acknowledged before git had ended")
	}
	w.died()

	next := startCrashServer(t, w.folder, w.options...)
	awaitFile(t, filepath.Join(w.folder, "server.log"), "waiting for it")
	select {
	case <-next.ready:
		t.Fatal("the next server did not wait for the orphan")
	default:
	}
	if err := os.Remove(hold); err != nil {
		t.Fatal(err)
	}
	w.server = next
	w.awaitReady()
	w.check()
	if got := w.app("app").now().Phase; got != "STARTED" {
		t.Errorf("the orphan moved the ref, and the application is %s", got)
	}
	w.finish()
}

// awaitFile waits until a file is there and has the text.
func awaitFile(t *testing.T, path, text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(3 * time.Millisecond) {
		data, err := os.ReadFile(path)
		if err == nil && bytes.Contains(data, []byte(text)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not get the text %q (%v)", filepath.Base(path), text, err)
		}
	}
}
