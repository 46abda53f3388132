package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// account is a control group of Linux. It counts the processor time of a
// process and of everything below it, also of processes that nobody waited
// for: fcgiwrap forgets what its children used, and git leaves gc behind.
type account struct{ folder string }

// accountsFolder is where groups can be made, "" where the machine does not
// allow it; as a rule only root may.
func accountsFolder() string {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return ""
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	var below string
	for line := range strings.Lines(string(own)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			below = path
		}
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[2] == "cgroup2" {
			if folder := filepath.Join(fields[1], below); tryAccount(folder) == nil {
				return folder
			}
		}
	}
	return ""
}

// tryAccount runs a program in a group, because making the group alone proves
// too little.
func tryAccount(folder string) error {
	a, err := openAccount(folder)
	if err != nil {
		return err
	}
	command := exec.Command("true")
	enter, err := a.enter(command)
	if err != nil {
		return errors.Join(err, a.close())
	}
	err = errors.Join(command.Run(), enter.Close())
	if _, unread := a.spent(); unread != nil {
		err = errors.Join(err, unread)
	}
	return errors.Join(err, a.close())
}

func openAccount(folder string) (*account, error) {
	made, err := os.MkdirTemp(folder, "deployment-manager-bench-")
	return &account{made}, err
}

// enter lets a command start in the group; what it returns is closed once the
// command runs.
func (a *account) enter(command *exec.Cmd) (*os.File, error) {
	folder, err := os.Open(a.folder)
	if err != nil {
		return nil, err
	}
	if command.SysProcAttr == nil {
		command.SysProcAttr = &syscall.SysProcAttr{}
	}
	command.SysProcAttr.UseCgroupFD, command.SysProcAttr.CgroupFD = true, int(folder.Fd())
	return folder, nil
}

func (a *account) spent() (time.Duration, error) {
	data, err := os.ReadFile(filepath.Join(a.folder, "cpu.stat"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "usage_usec "); ok {
			n, err := strconv.ParseInt(text, 10, 64)
			return time.Duration(n) * time.Microsecond, err
		}
	}
	return 0, errors.New(a.folder + " counts no time")
}

// close ends what still runs in the group and removes it.
func (a *account) close() error {
	_ = os.WriteFile(filepath.Join(a.folder, "cgroup.kill"), []byte("1"), 0) // what goes on keeps the folder
	var err error
	for range 200 {
		// The kernel takes a moment to forget the last process.
		if err = os.Remove(a.folder); !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}
