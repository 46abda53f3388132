package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestKilledSweep kills the server when a sweep is recorded and its work is not
// begun, and when it has taken a workspace. In the end all empty workspaces are
// gone, whoever has something has it, and verify finds the record whole.
func TestKilledSweep(t *testing.T) {
	t.Parallel()
	w := newCrashWorld(t)
	// What is looked at is not swept meanwhile.
	sweeping := func(on bool) {
		if w.server != nil && w.server.running() {
			w.stop()
		}
		if w.options = nil; on {
			w.options = []string{"--sweep-after", "1s", "--maintenance", "1s"}
		}
		w.start()
	}
	sweeping(false)
	if err := errors.Join(w.publish("ana", "p-1.0.0", "one"), w.deploy("ana", "p-1.0.0"), w.create("ana", "app", "p-1.0.0", "north")); err != nil {
		t.Fatal(err)
	}
	for _, step := range []string{"sweep-recorded", "sweep-taken"} {
		for _, user := range []string{"u1", "u2"} {
			if err := w.create(user, "of-"+user, "p-1.0.0", "south"); err != nil {
				t.Fatal(err)
			}
			w.asks(user)
			if err := w.destroy(user, "of-"+user); err != nil {
				t.Fatal(err)
			}
			w.asks(user)
		}
		if err := os.WriteFile(filepath.Join(w.folder, killFile), []byte(step+" 1"), 0o600); err != nil {
			t.Fatal(err)
		}
		sweeping(true)
		w.server.awaitExit(t, "no sweep reaches the step "+step)
		w.died()
		sweeping(false)
		w.check()
	}
	sweeping(true)
	gone := func() bool {
		left, err := filepath.Glob(filepath.Join(w.folder, "data", "users", "u?.git"))
		if err != nil {
			t.Fatal(err)
		}
		return len(left) == 0
	}
	for deadline := time.Now().Add(20 * time.Second); !gone(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an empty workspace is not swept")
		}
	}
	sweeping(false)
	w.finish()
}

// running tells whether the server has not ended.
func (s *crashServer) running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}
