package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// namespaces are what the second process has of its own.
const namespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// The node, as all in its world know it.
const (
	Name       = "node-1"
	Address    = "10.200.0.1"
	podNetwork = "10.244.0.0/24"
	Folder     = "/var/lib/node" // of everything that the node's programs write
)

// kernelSettings are what a kubelet wants of the kernel, which is the whole
// machine's. It reads them from files that are put over the kernel's, finds all
// well and changes nothing.
var kernelSettings = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// furnish turns the namespaces into a machine: a root folder in memory with
// Debian's programs and the few folders of the machine that are shown, and a network
// with the node's address.
func (w World) furnish(more func(World) error) error {
	working, err := os.Getwd()
	if err != nil {
		return err
	}
	root := filepath.Join(w.Folder, "root")
	for _, step := range []func() error{
		func() error { return syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "") },
		func() error { return furnishRoot(root, w.Debian) },
		func() error { return furnishKernel(root) },
		func() error { return w.show(root) },
		func() error {
			if more == nil {
				return nil
			}
			return more(w)
		},
		func() error { return enterRoot(root) },
		func() error { return os.Chdir(working) },
		func() error { return os.Setenv("PATH", w.Components+":/usr/sbin:/usr/bin") },
		func() error { return os.Setenv("HOME", "/root") },
		func() error { return os.Setenv("TMPDIR", "/tmp") },
		// The machine's way out is none from here, and curl would take it to the node.
		func() error {
			var faults []error
			for _, scheme := range []string{"http", "https", "all"} {
				faults = append(faults, os.Unsetenv(scheme+"_proxy"), os.Unsetenv(strings.ToUpper(scheme)+"_PROXY"))
			}
			return errors.Join(faults...)
		},
		func() error { return syscall.Sethostname([]byte(Name)) },
		furnishNetwork,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("making the node: %w", err)
		}
	}
	return nil
}

// show lets the node see what it needs of the machine, each folder at its own place;
// it writes its logs, and its containers where they shall be on a disk.
func (w World) show(root string) error {
	for _, folder := range append([]string{w.Checkout, w.Components}, w.Show...) {
		if err := bind(folder, root+folder, true); err != nil {
			return err
		}
	}
	if w.Store != "" {
		if err := bind(w.Store, filepath.Join(root, Folder, "containerd"), false); err != nil {
			return err
		}
	}
	return bind(w.Logs(), filepath.Join(root, Folder, "logs"), false)
}

// furnishRoot makes a root folder of Debian's files, with what packages expect
// of the system around them.
func furnishRoot(root, debian string) error {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount("tmpfs", root, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	if err := bind(filepath.Join(debian, "usr"), filepath.Join(root, "usr"), true); err != nil {
		return err
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+name, filepath.Join(root, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"etc", "root", "run", "var/log", "old", Folder} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			return err
		}
	}
	if err := os.Mkdir(filepath.Join(root, "tmp"), 0o777); err != nil {
		return err
	}
	files := map[string]string{"etc/hosts": "127.0.0.1 localhost\n", "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.Symlink("../run", filepath.Join(root, "var/run"))
}

// furnishKernel mounts what the kernel shows of this process's namespaces.
func furnishKernel(root string) error {
	for _, folder := range []string{"dev", "proc", "sys"} {
		if err := os.Mkdir(filepath.Join(root, folder), 0o755); err != nil {
			return err
		}
	}
	if err := syscall.Mount("/dev", root+"/dev", "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return err
	}
	if err := syscall.Mount("proc", root+"/proc", "proc", 0, ""); err != nil {
		return err
	}
	if err := syscall.Mount("sysfs", root+"/sys", "sysfs", 0, ""); err != nil {
		return err
	}
	if err := syscall.Mount(cgroups, root+cgroups, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return err
	}
	for name, value := range kernelSettings {
		file := filepath.Join(root, Folder, "kernel", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := syscall.Mount(file, filepath.Join(root, "proc/sys", name), "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("over the kernel's %s: %w", name, err)
		}
	}
	return nil
}

// bind shows the folder at another place.
func bind(folder, at string, readOnly bool) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	if err := syscall.Mount(folder, at, "", syscall.MS_BIND|syscall.MS_REC, ""); err != nil {
		return fmt.Errorf("showing %s at %s: %w", folder, at, err)
	}
	if !readOnly {
		return nil
	}
	return syscall.Mount("", at, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}

// enterRoot makes the folder this process's root and leaves the machine's.
func enterRoot(root string) error {
	if err := syscall.PivotRoot(root, filepath.Join(root, "old")); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	return errors.Join(syscall.Unmount("/old", syscall.MNT_DETACH), os.Remove("/old"))
}

// furnishNetwork gives the namespace the node's address. A bridge is the one
// kind of interface that every kernel here has and that needs no other end.
func furnishNetwork() error {
	for _, line := range []string{
		"link set lo up",
		"link add node0 type bridge",
		"addr add " + Address + "/24 dev node0",
		"link set node0 up",
		"route add default dev node0",
	} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", line, err, out)
		}
	}
	return nil
}
