package repair

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// TestDiskIsTold: each way in which a write fails has its words, and none tells a
// path.
func TestDiskIsTold(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		nil:            "",
		syscall.ENOSPC: "the disk of the data folder is full", syscall.EDQUOT: "quota", syscall.EROFS: "read-only",
		syscall.EIO: "I/O error on the disk of the data folder", syscall.EMFILE: "too many open files",
		errors.New("else"): "the data folder is not writable",
	} {
		cause := err
		if err != nil {
			cause = errors.Join(&os.PathError{Op: "write", Path: "/a/path", Err: err})
		}
		d := &Probe{try: func() error { return cause }, start: func(f func()) { go f() }, clock: time.Now, patience: time.Minute}
		got := d.Ready(t.Context())
		if (got == nil) != (err == nil) || got != nil && (dm.KindOf(got) != dm.Unavailable || !strings.Contains(dm.Public(got), want) || strings.Contains(dm.Public(got), "/a/path")) {
			t.Errorf("%v: got %v, want %q", err, got, want)
		}
	}
}

// TestDiskIsLookedAtSeldom: many who ask at once and soon after cost one write; a
// later one looks again.
func TestDiskIsLookedAtSeldom(t *testing.T) {
	t.Parallel()
	var looks, seconds atomic.Int64
	d := &Probe{try: func() error { looks.Add(1); return nil }, start: func(f func()) { go f() }, patience: time.Minute,
		clock: func() time.Time { return time.Unix(1_000_000+seconds.Load(), 0) }}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := d.Ready(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := looks.Load(); got != 1 {
		t.Errorf("50 who asked at once cost %d writes, want 1", got)
	}
	seconds.Store(6)
	if err := d.Ready(t.Context()); err != nil || looks.Load() != 2 {
		t.Errorf("six seconds later: %v after %d writes, want 2", err, looks.Load())
	}
}

// TestDiskThatDoesNotAnswer holds up nobody, and is asked once.
func TestDiskThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	var looks atomic.Int64
	release := make(chan struct{})
	d := &Probe{try: func() error { looks.Add(1); <-release; return nil }, start: func(f func()) { go f() }, clock: time.Now, patience: 10 * time.Millisecond}
	for range 3 {
		if err := d.Ready(t.Context()); dm.KindOf(err) != dm.Unavailable || !strings.Contains(dm.Public(err), "does not respond") {
			t.Errorf("got %v", err)
		}
	}
	left, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Ready(left); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("who left got %v", err)
	}
	if got := looks.Load(); got != 1 {
		t.Errorf("%d writes hang, want 1", got)
	}
	close(release)
	for deadline := time.Now().Add(10 * time.Second); d.Ready(t.Context()) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("an answer at last is not taken")
		}
	}
}

// TestLookLeavesNothing, neither when it succeeds nor when it fails.
func TestLookLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := tryWrite(dir); err != nil {
		t.Error(err)
	}
	if err := tryWrite(filepath.Join(dir, "none")); err == nil {
		t.Error("a folder that is not there can be written")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Error(fmt.Sprint(left, err))
	}
}
