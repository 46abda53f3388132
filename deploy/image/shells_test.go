package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pndaproject/deployment-manager/deploy/image/debian"
)

// withShells runs the command $3 in the folder $1 as its whole system, with the
// folder $2 for temporary files.
const withShells = `set -eu
system=$1 work=$2; shift 2
mount --bind "$system" "$system"
cd "$system"
mkdir -p proc dev tmp root old
mount --rbind /dev dev
mount -t proc proc proc
mount --bind "$work" tmp
pivot_root . old
cd /
umount -l old
exec "$@"`

// TestShells runs the tests of the script that brings notebooks with every shell
// that they know, as Debian has them. Where the script's own package is tested,
// those that the machine has must do.
func TestShells(t *testing.T) {
	needNamespaces(t)
	root := fetched(t, debian.Options{Packages: []string{"bash", "busybox", "coreutils", "dash", "git", "ksh93u+m", "libc-bin", "mksh", "mount", "util-linux", "yash"}, Progress: os.Stderr})
	work, system := t.TempDir(), filepath.Join(t.TempDir(), "system")
	must(t, "cp", "-a", root, system)
	put(t, filepath.Join(system, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")
	build := exec.Command("go", "test", "-c", "-o", filepath.Join(work, "sync.test"), "./plugins/jupyter/sync")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.Chmod(work, 0o1777); err != nil {
		t.Fatal(err)
	}
	run := exec.CommandContext(t.Context(), "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "sh", "-c", withShells, "sh", system, work,
		"/tmp/sync.test", "-test.v", "-test.run=^TestShell", "-test.timeout=5m")
	run.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/root", "DM_TEST_SHELLS=all"}
	out, err := run.CombinedOutput()
	if passed := bytes.Count(out, []byte("--- PASS: TestShell")); err != nil || passed < 50 || bytes.Contains(out, []byte("--- SKIP")) {
		t.Errorf("%d tests passed, %v; want all of more than 50:\n%s", passed, err, out)
	}
}
