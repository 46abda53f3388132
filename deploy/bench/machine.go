package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// machine says on what and when the figures were taken.
func machine(folder string) string {
	git, err := exec.Command("git", "version").Output()
	if err != nil {
		git = []byte("git is missing")
	}
	return fmt.Sprintf("%s: %d cores (%s), %s, %s/%s, %s, data on %s, load average %s at the start",
		time.Now().UTC().Format("2006-01-02 15:04 MST"), runtime.NumCPU(), processor(), runtime.Version(),
		runtime.GOOS, runtime.GOARCH, strings.TrimSpace(string(git)), fileSystem(folder), load())
}

// processor is the model's name as Linux tells it.
func processor() string {
	if name := field("/proc/cpuinfo", "model name"); name != "" {
		return name
	}
	return "unknown processor"
}

// field returns the first "key: value" of a file of /proc.
func field(path, key string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), ":")
		if ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func load() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(string(data), " ")
	return first
}

// fileSystem is the type of the mount that holds folder: the one with the
// longest path above it.
func fileSystem(folder string) string {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return "an unknown file system"
	}
	kind, longest := "an unknown file system", -1
	for line := range strings.Lines(string(mounts)) {
		parts := strings.Fields(line)
		if len(parts) < 3 || len(parts[1]) < longest {
			continue
		}
		if below, err := filepath.Rel(parts[1], folder); err == nil && below != ".." && !strings.HasPrefix(below, "../") {
			kind, longest = parts[2], len(parts[1])
		}
	}
	return kind
}
