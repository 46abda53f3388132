package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
)

// diary keeps what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) write(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

// untilStopped is a part that works until it is told to stop.
func untilStopped(d *diary, name string) part {
	return part{name, func(ctx context.Context) error {
		<-ctx.Done()
		d.write(name + " ended")
		return nil
	}}
}

func TestStagesStopInOppositeOrder(t *testing.T) {
	t.Parallel()
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	err := runStages(ctx, [][]part{{untilStopped(&d, "worker")}, {untilStopped(&d, "door")}},
		func() { d.write("started"); cancel() }, func() { d.write("stopping") })
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"started", "stopping", "door ended", "worker ended"}; !slices.Equal(d.lines, want) {
		t.Errorf("want %q, got %q", want, d.lines)
	}
}

func TestPartThatEndsStopsTheOthers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"with an error", errors.New("the socket is gone"), "the socket is gone"},
		{"without one", nil, "door stopped unexpectedly"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var d diary
			short := part{"door", func(context.Context) error { return tt.err }}
			err := runStages(t.Context(), [][]part{{untilStopped(&d, "worker")}, {short}}, func() {}, func() {})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("want %q, got %v", tt.want, err)
			}
			if want := []string{"worker ended"}; !slices.Equal(d.lines, want) {
				t.Errorf("want %q, got %q", want, d.lines)
			}
		})
	}
}
