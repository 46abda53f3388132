//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fullDisk is a file system in memory whose size says how much is free.
type fullDisk struct {
	t   *testing.T
	dir string
}

func newFullDisk(t *testing.T, dir string) *fullDisk {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Fatalf("mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { detach(t, dir) })
	return &fullDisk{t, dir}
}

// leave makes the file system so large that free pages of 4 KiB are left.
func (d *fullDisk) leave(free int) {
	d.t.Helper()
	var stat unix.Statfs_t
	if err := unix.Statfs(d.dir, &stat); err != nil {
		d.t.Fatal(err)
	}
	d.resize(int64(stat.Blocks-stat.Bfree+uint64(free)) * stat.Bsize)
}

// space gives the file system all its room back.
func (d *fullDisk) space() { d.t.Helper(); d.resize(64 << 20) }

func (d *fullDisk) resize(size int64) {
	d.t.Helper()
	if err := unix.Mount("tmpfs", d.dir, "tmpfs", unix.MS_REMOUNT, fmt.Sprintf("size=%d", size)); err != nil {
		d.t.Fatalf("resize the tmpfs to %d bytes: %v", size, err)
	}
}

// TestRootFullDisk lets every sort of change meet a disk that is full after the
// first page, the second, and so on until it has room for the change. A change
// that finds no room must be refused and leave everything as it was, one that
// was accepted must be carried out when there is room again, and the server must
// go on without a restart.
func TestRootFullDisk(t *testing.T) {
	rootTest(t, needRoot)
	t.Parallel()
	for _, drive := range faultDrives {
		t.Run(drive.name, func(t *testing.T) {
			t.Parallel()
			w := newCrashWorld(t)
			w.full = true
			fillUp(t, w, newFullDisk(t, filepath.Join(w.folder, "data")), drive)
		})
	}
}

// fillUp lets one change meet less and less of a full disk.
func fillUp(t *testing.T, w *crashWorld, disk *fullDisk, drive faultDrive) {
	t.Helper()
	const acceptedAtLast, mostPages = 8, 4000
	w.start()
	p := newCrashPusher(w, "client")
	begin, refused, accepted := time.Now(), 0, 0
	f := drive.ready(p, 0)
	for free := 0; accepted < acceptedAtLast; free += 1 + free/16 {
		before := w.packFiles()
		disk.leave(free)
		err := f.whileWorking(disk.space, func() error { return drive.act(f) })
		disk.space()
		var gone errGone
		switch {
		case errors.As(err, &gone):
			t.Fatalf("%d pages free: the server is gone: %v", free, err)
		case err != nil && !clearRefusal(err):
			t.Fatalf("%d pages free: no clear refusal: %v", free, err)
		case err != nil:
			refused, accepted = refused+1, 0
		default:
			accepted++
		}
		w.check()
		w.fsck()
		if err != nil {
			w.checkRefused(before)
		}
		if free > mostPages || t.Failed() {
			t.Fatalf("stopped at %d pages free", free)
		}
		if err == nil {
			f = drive.ready(p, free+1)
		}
	}
	if refused < 3 {
		t.Errorf("%d changes met the full disk, want at least 3", refused)
	}
	w.finish()
	tell("full disk: %s: %d refused and unchanged, then accepted; 0 corrupt (goal 0); no restart; %v",
		drive.name, refused, time.Since(begin).Round(time.Second))
}

// TestRootStartOnFullDisk starts the server where it has derived refs to write
// and no room for them. It may refuse to start, but a full disk is no damage:
// no repository may be set aside, and with room everything must be back.
func TestRootStartOnFullDisk(t *testing.T) {
	rootTest(t, needRoot)
	t.Parallel()
	w := newCrashWorld(t)
	disk := newFullDisk(t, filepath.Join(w.folder, "data"))
	w.start()
	for _, err := range []error{
		w.publish("ana", "p-1.0.0", "first"), w.publish("ana", "p-1.1.0", "second"), w.deploy("ana", "p-1.0.0"),
		w.create("ana", "app", "p-1.0.0", "one"), w.change("ana", "app", "p-1.0.0", "two", "ana ben"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w.stop()
	started, refused := 0, 0
	for free := range 24 {
		data := filepath.Join(w.folder, "data")
		w.git("--git-dir="+filepath.Join(data, "applications", "app.git"), "update-ref", "-d", "refs/deployments/2")
		w.git("--git-dir="+filepath.Join(data, "packages", "p.git"), "update-ref", "refs/heads/main", "refs/tags/1.0.0^{commit}")
		disk.leave(free)
		w.server = startCrashServer(t, w.folder, w.options...)
		<-w.server.ready
		if w.server.addresses != nil {
			started++
			w.stop()
		} else {
			refused++
		}
		disk.space()
		w.start()
		w.check()
		w.checkMain("p")
		w.stop()
		if t.Failed() {
			t.Fatalf("after a start with %d pages free", free)
		}
	}
	w.start()
	disk.leave(0)
	w.probed(503, "the disk of the data folder is full")
	disk.space()
	w.probed(200, "")
	w.stop()
	w.verify()
	if started == 0 {
		t.Error("the server never started on a full disk")
	}
	tell("start on a full disk: %d started, %d refused to; 0 repositories set aside (goal 0)", started, refused)
}

// probed polls until the server says so; an answer may be some seconds old.
func (w *crashWorld) probed(want int, says string) {
	w.t.Helper()
	if err := poll(func() (bool, string) {
		status, body, err := send("GET", "http://"+w.server.addresses["manager"]+"/readyz", "")
		return err == nil && status == want && strings.Contains(body, says), fmt.Sprintf("/readyz to be %d: %d %s %v", want, status, body, err)
	}); err != nil {
		w.t.Error(err)
	}
}
