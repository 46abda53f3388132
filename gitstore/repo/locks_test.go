package repo

import (
	"sync"
	"testing"
)

// TestKeyLocks counts under one lock and looks for what stays of it.
func TestKeyLocks(t *testing.T) {
	t.Parallel()
	var locks keyLocks
	var wg sync.WaitGroup
	count := 0
	for range 8 {
		wg.Go(func() {
			for range 200 {
				release := locks.hold(Package("flow"))
				count++
				release()
			}
		})
	}
	wg.Wait()
	if count != 1600 || len(locks.held) != 0 {
		t.Errorf("counted %d with %d locks left, want 1600 and 0", count, len(locks.held))
	}
}
