package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tick is the unit of times in /proc, 1/100 s on every Linux.
const tick = 10 * time.Millisecond

// processStat is what bench reads of /proc/<pid>/stat.
type processStat struct {
	pid, parent int
	cpu         time.Duration // its own and that of the children it waited for
}

func readStat(path string) (processStat, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return processStat{}, err
	}
	// The name in parentheses may hold anything; the fields follow it.
	text := string(data)
	end := strings.LastIndexByte(text, ')')
	pid, _, _ := strings.Cut(text, " ")
	if end < 0 {
		return processStat{}, fmt.Errorf("%s cannot be read", path)
	}
	fields := strings.Fields(text[end+1:])
	if len(fields) < 15 {
		return processStat{}, fmt.Errorf("%s has too few fields", path)
	}
	number := func(text string) int {
		n, _ := strconv.Atoi(text) // the kernel writes numbers
		return n
	}
	ticks := 0
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		ticks += number(f)
	}
	return processStat{pid: number(pid), parent: number(fields[1]), cpu: time.Duration(ticks) * tick}, nil
}

// tree returns the process and all below it that are alive, the process first.
func tree(pid int) []processStat {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	children := map[int][]processStat{}
	var list []processStat
	for _, path := range paths {
		stat, err := readStat(path)
		if err != nil {
			continue // it ended meanwhile
		}
		children[stat.parent] = append(children[stat.parent], stat)
		if stat.pid == pid {
			list = append(list, stat)
		}
	}
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i].pid]...)
	}
	return list
}

// cpu is the processor time of a process and of all it ever started and waited
// for or that still run.
func cpu(pid int) (sum time.Duration) {
	for _, stat := range tree(pid) {
		sum += stat.cpu
	}
	return sum
}

// childrenCPU is the processor time of all processes that bench itself waited
// for.
func childrenCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &usage); err != nil {
		return 0 // it fails for a wrong first argument only
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// kilobytes reads a size such as VmHWM of /proc/<pid>/status.
func kilobytes(pid int, key string) int64 {
	text, _, _ := strings.Cut(field(fmt.Sprintf("/proc/%d/status", pid), key), " ")
	n, _ := strconv.ParseInt(text, 10, 64) // of a process that ended meanwhile: 0
	return n
}

// resetPeak makes VmHWM start again from what is resident now.
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// childrenPeak looks again and again at the processes below pid and returns
// the largest sum of their resident memory, in kilobytes, once ctx ends.
func childrenPeak(ctx context.Context, pid int) (peak int64) {
	for every := time.NewTicker(3 * time.Millisecond); ; {
		var sum int64
		for i, stat := range tree(pid) {
			if i > 0 {
				sum += kilobytes(stat.pid, "VmHWM")
			}
		}
		peak = max(peak, sum)
		select {
		case <-ctx.Done():
			every.Stop()
			return peak
		case <-every.C:
		}
	}
}

// watchChildren runs childrenPeak beside; the returned function ends it.
func watchChildren(ctx context.Context, pid int) func() int64 {
	ctx, stop := context.WithCancel(ctx)
	var peak int64
	var watching sync.WaitGroup
	watching.Go(func() { peak = childrenPeak(ctx, pid) })
	return func() int64 {
		stop()
		watching.Wait()
		return peak
	}
}
