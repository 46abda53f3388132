//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
)

// The power of powerDisks disks is cut side by side, so often in all.
const (
	powerCuts  = 50
	powerDisks = 2
)

// TestRootPowerCuts cuts the power of the disk that holds the record at random
// moments under clients that make changes of every sort, and also while a
// server starts. A real file system replays its journal afterwards and has lost
// all that was not made durable. The next server must start without help and
// show every change that was acknowledged, and git must find every repository
// whole even before that.
func TestRootPowerCuts(t *testing.T) {
	rootTest(t, needRoot, needPrograms("mkfs.ext4", "mount"))
	t.Parallel()
	seed := crashSeed(t)
	for i := range powerDisks {
		t.Run(fmt.Sprint("disk", i+1), func(t *testing.T) {
			t.Parallel()
			cutRandomly(t, powerCuts/powerDisks, seed+uint64(i))
		})
	}
}

func cutRandomly(t *testing.T, cuts int, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	w := newCrashWorld(t)
	d := newDisk(t, filepath.Join(w.folder, "data"))
	clients := newCrashClients(w, seed)
	pushers := make([]*crashPusher, len(clients))
	for i, c := range clients {
		pushers[i] = newCrashPusher(w, fmt.Sprint("client", i))
		if i%2 == 1 {
			c.doors = []crashDoor{pushers[i]}
		}
	}
	starting, begin := 0, time.Now()
	for cut := range cuts {
		delay := time.Duration(random.IntN(120)) * time.Millisecond
		if cut%8 == 7 {
			starting++
			w.server = startCrashServer(t, w.folder, w.options...)
			<-time.After(delay)
			w.powerCut(d, random)
			w.server.awaitExit(t, "the power was cut")
		} else {
			w.start()
			w.check()
			w.load(clients, random.IntN(2*len(clients)), delay, func() { w.powerCut(d, random) })
			w.died()
		}
		d.remount()
		w.failing.Store(false)
		w.fsck()
	}
	w.start()
	w.finish()
	w.fsck()
	done, died, pushed := 0, 0, 0
	for i, c := range clients {
		done, died, pushed = done+c.done, died+c.died, pushed+pushers[i].accepted
	}
	tell("power cuts: %d, %d of them during a start: 0 acknowledged changes lost (goal 0) of %d, %d of them pushes; %d broken off; slowest start %v; %v, seed %d",
		cuts, starting, done, pushed, died, w.slowest.Round(time.Millisecond), time.Since(begin).Round(time.Second), seed)
}

// powerCut cuts the power, and ends the server a little later: what it
// acknowledges in between counts.
func (w *crashWorld) powerCut(d *disk, random *rand.Rand) {
	w.failing.Store(true)
	if err := d.cut(); err != nil {
		w.t.Errorf("cut the power: %v", err)
	}
	<-time.After(time.Duration(random.IntN(20)) * time.Millisecond)
	w.server.kill(true)
	if w.t.Failed() {
		w.t.FailNow()
	}
}
