package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroups = "/sys/fs/cgroup"

// unified tells whether the machine has control groups of version 2 only.
func unified() bool {
	var info unix.Statfs_t
	return unix.Statfs(cgroups, &info) == nil && info.Type == unix.CGROUP2_SUPER_MAGIC
}

// hierarchies are the folders that each hold a tree of control groups.
func hierarchies() ([]string, error) {
	if unified() {
		return []string{cgroups}, nil
	}
	entries, err := os.ReadDir(cgroups)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, entry := range entries {
		if entry.IsDir() { // a link is another name of one of them
			found = append(found, filepath.Join(cgroups, entry.Name()))
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there are no control groups in %s", cgroups)
	}
	return found, nil
}

// ableCgroups tells why this machine's control groups cannot be used.
func ableCgroups() error {
	folders, err := hierarchies()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := unix.Access(folder, unix.W_OK); err != nil {
			return fmt.Errorf("control groups in %s cannot be made: %w", folder, err)
		}
	}
	return nil
}

// errUnable is part of the errors by which a machine shows only late that it can't
// be a node.
var errUnable = errors.New("this machine cannot be a node")

// makeCgroups makes the group below which the kubelet makes those of its pods.
// restore takes back what that changed above it; the group must be gone.
func makeCgroups(name string) (restore func() error, err error) {
	restore = func() error { return nil }
	folders, err := hierarchies()
	if err != nil {
		return restore, err
	}
	for _, folder := range folders {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			return restore, err
		}
	}
	if !unified() {
		return restore, inheritCpus(name)
	}
	if restore, err = handOn(cgroups); err != nil {
		return restore, err
	}
	_, err = handOn(filepath.Join(cgroups, name))
	return restore, err
}

// handOn lets a group of version 2 hand its controllers to those below, which it
// does only when told, and not at all when the machine is a container whose root
// holds processes. restore takes back those that it did not hand on before.
func handOn(group string) (restore func() error, err error) {
	var added []string
	control := filepath.Join(group, "cgroup.subtree_control")
	restore = func() error {
		var faults []error
		for _, controller := range added {
			faults = append(faults, os.WriteFile(control, []byte("-"+controller), 0o644))
		}
		return errors.Join(faults...)
	}
	available, err := os.ReadFile(filepath.Join(group, "cgroup.controllers"))
	if err != nil {
		return restore, err
	}
	before, err := os.ReadFile(control)
	if err != nil {
		return restore, err
	}
	for _, controller := range strings.Fields(string(available)) {
		if slices.Contains(strings.Fields(string(before)), controller) {
			continue
		}
		if err := os.WriteFile(control, []byte("+"+controller), 0o644); err != nil {
			return restore, fmt.Errorf("%w: controller %s of control groups cannot be handed on: %w", errUnable, controller, err)
		}
		added = append(added, controller)
	}
	return restore, nil
}

// inheritCpus gives the group all processors: in version 1 it begins with none.
func inheritCpus(name string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		all, err := os.ReadFile(filepath.Join(cgroups, "cpuset", file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(cgroups, "cpuset", name, file), all, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// removeStaleCgroups removes what runs left that were killed. None runs now.
func removeStaleCgroups(prefix string) error {
	folders, err := hierarchies()
	if err != nil {
		return err
	}
	var faults []error
	for _, folder := range folders {
		stale, err := filepath.Glob(filepath.Join(folder, prefix+"*"))
		faults = append(faults, err)
		for _, path := range stale {
			faults = append(faults, removeCgroup(path))
		}
	}
	return errors.Join(faults...)
}

// removeCgroups removes the run's groups with all below them.
func removeCgroups(name string) error {
	folders, err := hierarchies()
	if err != nil {
		return err
	}
	var faults []error
	for _, folder := range folders {
		faults = append(faults, removeCgroup(filepath.Join(folder, name)))
	}
	return errors.Join(faults...)
}

// removeCgroup gives processes that were killed a minute to be gone; a
// group that has one cannot be removed.
func removeCgroup(path string) (err error) {
	deadline := time.Now().Add(time.Minute)
	for {
		err = removeTree(path)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// removeTree removes folders only, from below: files of the kernel go with them.
func removeTree(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var faults []error
	for _, entry := range entries {
		if entry.IsDir() {
			faults = append(faults, removeTree(filepath.Join(path, entry.Name())))
		}
	}
	return errors.Join(append(faults, unix.Rmdir(path))...)
}
