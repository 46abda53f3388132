package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestKilledMaintenance kills the server together with the git repack that it
// runs beside its work. Nobody may notice, and the half-made packs must go.
func TestKilledMaintenance(t *testing.T) {
	t.Parallel()
	rounds, seed := max(2, crashKills(t)/10), crashSeed(t)
	random := rand.New(rand.NewPCG(seed, 0))
	w := newCrashWorld(t)
	w.start()
	if err := errors.Join(w.publish("ana", "p-1.0.0", "one"), w.deploy("ana", "p-1.0.0"), w.create("ana", "app", "p-1.0.0", "north")); err != nil {
		t.Fatal(err)
	}
	w.addPacks(50)
	halfMade := 0
	for range rounds {
		delay := time.Duration(random.IntN(30)) * time.Millisecond
		var watching sync.WaitGroup
		watching.Go(func() { w.killRepack(delay) })
		w.untilGone()
		watching.Wait()
		files, err := filepath.Glob(filepath.Join(w.folder, "data", "applications", "app.git", "objects", "pack", ".tmp-*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) > 0 {
			halfMade++
		}
		w.died()
		w.start()
		w.check()
		w.addPacks(25) // in case the repack was done
	}
	w.finish()
	t.Logf("%d kills of a repack, %d of them left half-made packs; slowest start %v", rounds, halfMade, w.slowest.Round(time.Millisecond))
}

// addPacks makes small packs with the real git, as many changes would.
func (w *crashWorld) addPacks(n int) {
	w.t.Helper()
	dir := filepath.Join(w.folder, "data", "applications", "app.git")
	for range n {
		w.packs++
		blob := w.gitWith(fmt.Sprintf("blob %d\n", w.packs), "--git-dir="+dir, "hash-object", "-w", "--stdin")
		w.gitWith(blob, "--git-dir="+dir, "pack-objects", "-q", filepath.Join(dir, "objects", "pack", "pack"))
	}
	w.git("--git-dir="+dir, "prune-packed", "-q")
}

// killRepack kills the server some time after it has begun a repack, or when
// none is seen for long.
func (w *crashWorld) killRepack(delay time.Duration) {
	deadline := time.Now().Add(time.Minute)
	for !repacks(w.server.cmd.Process.Pid) {
		if time.Now().After(deadline) {
			w.t.Error("no repack was seen")
			break
		}
		time.Sleep(time.Millisecond)
	}
	<-time.After(delay)
	w.server.kill(true)
}

// untilGone starts and stops the application, which adds small packs, until
// the server was killed.
func (w *crashWorld) untilGone() {
	w.t.Helper()
	for {
		verb := map[string]string{"CREATED": "start", "STARTED": "stop"}[w.app("app").now().Phase]
		err := w.run("ana", "app", verb)
		var gone errGone
		if errors.As(err, &gone) {
			return
		}
		if err != nil {
			w.t.Error(err)
			return
		}
	}
}

// repacks tells whether a child of the process is git repack.
func repacks(pid int) bool {
	for _, child := range childrenOf(pid) {
		line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(child), "cmdline"))
		if err == nil && bytes.Contains(line, []byte("\x00repack\x00")) {
			return true
		}
	}
	return false
}
