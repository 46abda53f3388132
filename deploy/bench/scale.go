package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// scale fills a server with very many applications, lists them and starts the
// server again on them. It goes on with the data folder that the section
// applications left, when that was measured before.
func scale(ctx context.Context, b *bench) ([]line, error) {
	c := &crowd{others: b.sizes.scale, owners: max(1, b.sizes.scale/b.sizes.scaleEach)}
	var err error
	if c.server, err = b.serve(ctx, "many"); err != nil {
		return nil, err
	}
	defer func() { c.stop() }()
	there, err := c.count(ctx)
	if err != nil {
		return nil, err
	}
	b.progress("  fills a server with %d applications of %s, from %d on", c.others, users(c.owners), there)
	begin, before := time.Now(), c.spent()
	if err := c.fill(ctx, b.sizes.fillers, there); err != nil {
		return nil, err
	}
	each := (c.spent() - before) / time.Duration(max(1, c.others-there))
	perSecond := float64(c.others-there) / time.Since(begin).Seconds()
	lines := []line{{
		what: fmt.Sprintf("creates by %d clients, from %d applications to %d", b.sizes.fillers, there, c.others),
		ours: significant(perSecond) + "/s, " + show(each) + " of processor time each", value: 1000 / perSecond, goal: goal{unit: " ms each"},
	}}
	list, err := c.list(ctx, c.manager+"/applications", b.sizes.listRequests, c.others)
	if err != nil {
		return lines, err
	}
	lines = append(lines, quick(fmt.Sprintf("GET /applications with %d, p50", c.others), list, 50))
	starts, err := c.restart(ctx, b)
	if err != nil {
		return lines, err
	}
	p50 := median(starts)
	return append(lines, line{
		what: fmt.Sprintf("start until ready with %d applications of %s", c.others, users(c.owners)),
		ours: show(p50), beside: fmt.Sprintf("%d MiB resident", kilobytes(c.pid(), "VmRSS")>>10),
		value: p50.Seconds(), goal: goal{below, 10, " s"},
	}), nil
}

// count is how many applications there are.
func (c *crowd) count(ctx context.Context) (int, error) {
	answer, err := c.sendText(ctx, http.MethodGet, c.manager+"/applications", "", http.StatusOK)
	if err != nil {
		return 0, err
	}
	var entries []json.RawMessage
	err = json.Unmarshal(answer, &entries)
	return len(entries), err
}

// restart times starts of the server on what it has, and leaves it running.
func (c *crowd) restart(ctx context.Context, b *bench) ([]time.Duration, error) {
	var starts []time.Duration
	for range b.sizes.starts {
		b.progress("  starts the server again")
		c.stop()
		begin := time.Now()
		again, err := b.serve(ctx, "many")
		if err != nil {
			return starts, err
		}
		c.server = again
		starts = append(starts, time.Since(begin))
		if n, err := c.count(ctx); err != nil || n != c.others {
			return starts, fmt.Errorf("after a start there are %d applications, want %d (%w)", n, c.others, err)
		}
	}
	return starts, nil
}
