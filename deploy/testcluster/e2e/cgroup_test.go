package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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

// makeCgroups makes the group below which the kubelet makes those of its pods.
func makeCgroups(name string) error {
	folders, err := hierarchies()
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if err := os.Mkdir(filepath.Join(folder, name), 0o755); err != nil {
			return err
		}
	}
	if !unified() {
		return inheritCpus(name)
	}
	// A group of version 2 hands its controllers to those below only when told.
	available, err := os.ReadFile(filepath.Join(cgroups, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, folder := range []string{cgroups, filepath.Join(cgroups, name)} {
		for _, controller := range strings.Fields(string(available)) {
			if err := os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
				return fmt.Errorf("controller %s of control groups: %w", controller, err)
			}
		}
	}
	return nil
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
func removeStaleCgroups() error {
	folders, err := hierarchies()
	if err != nil {
		return err
	}
	var faults []error
	for _, folder := range folders {
		stale, err := filepath.Glob(filepath.Join(folder, folderPrefix+"*"))
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

// removeCgroup gives processes that were killed some seconds to be gone; a
// group that has one cannot be removed.
func removeCgroup(path string) (err error) {
	deadline := time.Now().Add(10 * time.Second)
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
