package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
)

// rival is one of the servers that answer the same requests in turns.
type rival struct {
	*child
	name string
	url  string // of the folder with the repositories

	times   []time.Duration
	used    time.Duration // processor time
	refused int
}

// burst is how many clients make how many operations, again and again.
type burst struct{ clients, operations, rounds int }

// rivals are ours, which comes first, and the peers.
type rivals struct {
	list  []*rival
	first error // why an operation was refused
	mu    sync.Mutex
}

// peersOf starts gitkit and nginx on a folder with repositories each, which may
// be the same. A machine without nginx is told why it is left out.
func (b *bench) peersOf(ctx context.Context, gitkit, nginx string) (list []*rival, skipped []line, err error) {
	child, url, err := b.peer("gitkit", gitkit)
	if err != nil {
		return nil, nil, err
	}
	list = append(list, &rival{child: child, name: "gitkit", url: url})
	if err = b.findOrFetch(ctx); err == nil {
		if child, url, err = b.peer("nginx", nginx); err == nil {
			list = append(list, &rival{child: child, name: "nginx", url: url})
		}
	}
	if err != nil {
		reason, _, _ := strings.Cut(err.Error(), "\n")
		skipped = []line{{what: "nginx, fcgiwrap and git http-backend", beside: "skipped: " + reason}}
	}
	return list, skipped, nil
}

func stopAll(list []*rival) {
	for _, r := range list {
		r.stop()
	}
}

// contest gives each rival the burst in turns. An operation that fails is
// counted, and the others go on.
func (rs *rivals) contest(ctx context.Context, l burst, do func(ctx context.Context, r *rival, i int) error) error {
	for _, r := range rs.list {
		r.times, r.used, r.refused = nil, 0, 0
	}
	for round := range l.rounds {
		for _, r := range rs.list {
			before := r.spent()
			err := parallel(ctx, l.clients, l.operations, func(ctx context.Context, i int) error {
				begin := time.Now()
				err := do(ctx, r, round*l.operations+i)
				rs.record(r, time.Since(begin), err)
				return ctx.Err()
			})
			if err != nil {
				return context.Cause(ctx) // the same for all: the run's time is over
			}
			r.settleDown(ctx)
			r.used += r.spent() - before
		}
	}
	return nil
}

func (rs *rivals) record(r *rival, took time.Duration, err error) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if err != nil {
		r.refused++
		if rs.first == nil {
			rs.first = fmt.Errorf("%s: %w", r.name, err)
		}
		return
	}
	r.times = append(r.times, took)
}

// settleDown waits until a server has done what it does after its answers.
func (r *rival) settleDown(ctx context.Context) {
	for last := time.Duration(-1); ctx.Err() == nil && r.spent()-last > time.Millisecond; time.Sleep(30 * time.Millisecond) {
		last = r.spent()
	}
}

// perOperation is the processor time of one.
func (r *rival) perOperation() time.Duration {
	if len(r.times) == 0 {
		return 0
	}
	return r.used / time.Duration(len(r.times))
}

// cell shows a rival's figures.
func (r *rival) cell() string {
	if len(r.times) == 0 {
		return fmt.Sprintf("all %d refused", r.refused)
	}
	spent := show(r.perOperation())
	if r.account == nil && r.name == "nginx" {
		spent = "unknown" // fcgiwrap forgets the time of its children
	}
	text := spent + ", p50 " + show(median(r.times))
	if r.refused > 0 {
		text += fmt.Sprintf(", %d of %d refused", r.refused, r.refused+len(r.times))
	}
	return text
}

// line compares processor times; the figure is ours by gitkit's. Where ours
// refused one that it should have answered no goal is met.
func (rs *rivals) line(what string, g goal) line {
	ours, peers := rs.list[0], rs.list[1:]
	var beside []string
	for _, r := range peers {
		beside = append(beside, r.name+" "+r.cell())
	}
	value := ratio(ours.perOperation(), peers[0].perOperation())
	if ours.refused > 0 {
		value = math.Inf(1)
	}
	return line{what: what, ours: ours.cell(), beside: strings.Join(beside, "; "), value: value, goal: g}
}

// told returns the first refusal of the contest, once.
func (rs *rivals) told() error {
	err := rs.first
	rs.first = nil
	return err
}

// atOnce names a burst.
func (l burst) atOnce(what string) string { return fmt.Sprintf("%s, %d at once", what, l.clients) }
