//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rootVariable asks for the tests that need root, loop devices or ptrace: "1"
// skips what this machine can't do and says why, "require" fails there, as a
// run of continuous integration always does.
const rootVariable = "DM_TEST_ROOT"

// rootTest skips t unless such tests are asked for. needs says what is missing
// here, if anything.
func rootTest(t *testing.T, needs ...func() error) {
	t.Helper()
	asked := os.Getenv(rootVariable)
	if asked == "" {
		t.Skip("run by make test-root")
	}
	for _, need := range needs {
		switch err := need(); {
		case err == nil:
		case asked == "require", os.Getenv("CI") == "true":
			t.Fatalf("this machine cannot run the test, and nothing may be skipped here: %v", err)
		default:
			tell("skipped: %s: %v", t.Name(), err)
			t.SkipNow()
		}
	}
}

// tell prints a line that is seen without -v.
func tell(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func needRoot() error {
	if uid := os.Getuid(); uid != 0 {
		return fmt.Errorf("it has to mount file systems, which user %d may not", uid)
	}
	return nil
}

func needPrograms(names ...string) func() error {
	return func() error {
		for _, name := range names {
			if _, err := exec.LookPath(name); err != nil {
				return err
			}
		}
		return nil
	}
}

// disk is an ext4 file system in a file, whose power can be cut.
type disk struct {
	t     *testing.T
	image string
	dir   string // where it is mounted
}

// newDisk makes the file system and mounts it at dir, which it makes. The end
// of the test unmounts it in any case.
func newDisk(t *testing.T, dir string) *disk {
	t.Helper()
	d := &disk{t, filepath.Join(t.TempDir(), "disk"), dir}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 256<<20); err != nil {
		t.Fatal(err)
	}
	d.run("mkfs.ext4", "-q", "-F", d.image)
	t.Cleanup(func() { detach(t, dir) })
	d.mount()
	return d
}

func (d *disk) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// mount mounts the file system; after a cut that replays its journal.
func (d *disk) mount() { d.t.Helper(); d.run("mount", "-o", "loop", d.image, d.dir) }

// Of the kernel's FS_IOC_SHUTDOWN: the file system forgets everything that it
// has not written, its log included, and fails every later call.
const (
	ioctlShutdown      = 0x8004587d // _IOR('X', 125, __u32)
	shutdownNoLogFlush = 2
)

// cut cuts the power.
func (d *disk) cut() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.IoctlSetPointerInt(int(f.Fd()), ioctlShutdown, shutdownNoLogFlush)
}

// remount unmounts the file system after a cut and mounts it again. It must not
// be mounted twice, so it waits for the last process that uses it.
func (d *disk) remount() {
	d.t.Helper()
	if err := unmount(d.dir); err != nil {
		d.t.Fatalf("unmount %s: %v", d.dir, err)
	}
	d.mount()
}

// unmount waits until nobody uses the file system.
func unmount(dir string) error {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		err := unix.Unmount(dir, 0)
		if err != unix.EBUSY || time.Now().After(deadline) {
			return err
		}
	}
}

// detach takes a file system away at the end of a test, also from under
// processes that should not be there any more. The kernel frees the loop device
// with it.
func detach(t *testing.T, dir string) {
	err := unmount(dir)
	if err == nil || err == syscall.EINVAL { // it is not mounted
		return
	}
	t.Errorf("%s had to be unmounted by force: %v", dir, err)
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		t.Errorf("unmount %s: %v", dir, err)
	}
}

// fsck lets git check every repository of the record.
func (w *crashWorld) fsck() {
	w.t.Helper()
	for _, dir := range w.repositories() {
		w.git("--git-dir="+dir, "fsck", "--strict", "--full", "--no-dangling", "--no-progress")
	}
}

// packFiles lists the packs of all applications.
func (w *crashWorld) packFiles() []string {
	w.t.Helper()
	var all []string
	for _, dir := range w.repositories() {
		packs, err := filepath.Glob(filepath.Join(dir, "objects", "pack", "*"))
		if err != nil {
			w.t.Fatal(err)
		}
		switch filepath.Base(filepath.Dir(dir)) {
		case "packages", "users": // nor does a change write into users' repositories: those who ask do
		default:
			all = append(all, packs...)
		}
	}
	return all
}

// checkRefused wants that a refused change has left no packs: none at all where
// before tells what was there, and in packages none that no ref leads to (a
// refused version may leave its archive, which the next attempt takes up).
func (w *crashWorld) checkRefused(before []string) {
	w.t.Helper()
	if after := w.packFiles(); !slices.Equal(after, before) {
		w.t.Errorf("a refused change left packs: got %q, want %q", after, before)
	}
	for _, dir := range w.repositories() {
		if filepath.Base(filepath.Dir(dir)) != "packages" {
			continue
		}
		if lost := w.git("--git-dir="+dir, "fsck", "--unreachable", "--no-progress"); lost != "" {
			w.t.Errorf("a refused change left objects in %s that no ref leads to:\n%s", filepath.Base(dir), lost)
		}
	}
}

// repositories lists the folders of all repositories of the record.
func (w *crashWorld) repositories() []string {
	w.t.Helper()
	list, err := filepath.Glob(filepath.Join(w.folder, "data", "*", "*.git"))
	if err != nil {
		w.t.Fatal(err)
	}
	return slices.DeleteFunc(list, func(dir string) bool { return filepath.Base(filepath.Dir(dir)) == "tmp" })
}
