package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// descriptors sets how many files the server may have open beyond those that it
// has open now, and returns what gives it back the limit that it had.
func (b *besieged) descriptors(more int) (restore func()) {
	b.t.Helper()
	pid := b.cmd.Process.Pid
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		b.t.Fatal(err)
	}
	var before unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &before); err != nil {
		b.t.Fatal(err)
	}
	low := unix.Rlimit{Cur: uint64(len(open) + more), Max: before.Max}
	if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &low, nil); err != nil {
		b.t.Fatal(err)
	}
	return func() {
		b.t.Helper()
		if err := unix.Prlimit(pid, unix.RLIMIT_NOFILE, &before, nil); err != nil {
			b.t.Fatal(err)
		}
	}
}

// TestCreatesWaitForDescriptors takes the server's descriptors away while it
// creates applications. What it accepted waits and is created when there are
// descriptors again, and nothing is set aside; what it could not accept it has
// refused. What goes on meanwhile is read from the log: a server without
// descriptors answers nobody.
func TestCreatesWaitForDescriptors(t *testing.T) {
	t.Parallel()
	b := startBesieged(t)
	told := func(app string, messages ...string) bool {
		text, err := os.ReadFile(filepath.Join(b.folder, "server.log"))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			for _, m := range messages {
				if strings.Contains(line, `"msg":"`+m+`"`) && strings.Contains(line, `"app":"`+app+`"`) {
					return true
				}
			}
		}
		return false
	}
	var accepted []string
	waits := false
	for n := 0; n < 60 && !waits; n++ {
		app := fmt.Sprint("run-", n)
		restore := b.descriptors(2 + n%12)
		code, answer, err := send(http.MethodPut, "http://"+b.addresses["manager"]+"/applications/"+app+"?user.name=ben", `{"package":"flow-1.0.0"}`)
		if err == nil && code == http.StatusAccepted {
			accepted = append(accepted, app)
			err = poll(func() (bool, string) {
				waits = told(app, "change will be tried again", "pending change cannot be read", "outcome cannot be recorded")
				return waits || told(app, "change carried out"), app + " waits or is created"
			})
		} else if err == nil && code != http.StatusServiceUnavailable {
			err = fmt.Errorf("status %d: %s", code, answer)
		}
		restore()
		if err != nil && code != 0 {
			t.Errorf("%s: %v", app, err)
		}
	}
	if !waits {
		t.Error("no create had to wait: the shortage was none")
	}
	for _, app := range accepted {
		b.await("/applications/"+app+"/status", "CREATED")
	}
	for _, kind := range []string{"packages", "applications", "users"} {
		if set, err := os.ReadDir(filepath.Join(b.folder, "data", "damaged", kind)); err != nil || len(set) > 0 {
			t.Errorf("%d %s set aside, %v", len(set), kind, err)
		}
	}
	t.Logf("%d creates accepted", len(accepted))
}
