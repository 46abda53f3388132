package kube_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	dm "github.com/pndaproject/deployment-manager"
)

// TestRestart holds that a server which starts beside many applications, all as they
// shall be, knows them soon, in little memory, and writes nothing. How many they are
// says DM_TEST_APPLICATIONS.
func TestRestart(t *testing.T) {
	t.Parallel()
	many, err := strconv.Atoi(cmp.Or(os.Getenv("DM_TEST_APPLICATIONS"), "50"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, shared, nil)
	name := func(i int) dm.ApplicationName { return dm.ApplicationName(fmt.Sprintf("app-%d", i)) }
	var making errgroup.Group
	making.SetLimit(4)
	for i := range many {
		making.Go(func() error {
			of := string(name(i))
			return r.kube.Apply(t.Context(), r.set(name(i), job(of+"-a"), service(of+"-b"), configMap(of+"-c", "settings")))
		})
	}
	r.must(making.Wait())

	line := &wire{}
	c := r.newKube(r.wired(line))
	ctx, cancel := context.WithCancel(t.Context())
	watching := make(chan error, 1)
	before := heap()
	begin := time.Now()
	go func() { watching <- c.Watch(ctx, sort, func(dm.ApplicationName) {}) }()
	eventually(t, "all applications are known", func() error {
		for i := range many {
			state, err := c.Live(name(i), sort, r.team())
			if err != nil {
				return err
			}
			if !state.Present {
				return fmt.Errorf("%s is not there", name(i))
			}
			if drift := state.Drift("one"); len(drift) > 0 {
				t.Errorf("%s: %v", name(i), drift)
			}
		}
		return nil
	})
	t.Logf("%d applications of 3 objects were known after %v, in %d MiB, with %d requests", many, time.Since(begin), (heap()-before)>>20, line.requests())
	cancel()
	if err := <-watching; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(line.writes) > 0 {
		t.Errorf("it wrote: %q", line.writes)
	}
}

func (w *wire) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// heap is what is in use after what is not needed has gone.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapInuse)
}
