package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pndaproject/deployment-manager/deploy/examples"
)

// crowd is a server with applications that are there already.
type crowd struct {
	*server
	others, owners int
	made           int // creates that were measured; makes their names new

	accepted, created []time.Duration
	perSecond         []float64
}

// applications measures creates on three servers that run side by side: one
// with one other application, one with many of many users, and one with as
// many of one single user.
func applications(ctx context.Context, b *bench) ([]line, error) {
	alone, many, hoarder := &crowd{others: 1, owners: b.sizes.owners}, &crowd{others: b.sizes.others, owners: b.sizes.owners}, &crowd{others: b.sizes.others, owners: 1}
	for name, c := range map[string]*crowd{"alone": alone, "many": many, "hoarder": hoarder} {
		var err error
		if c.server, err = b.serve(ctx, name); err != nil {
			return nil, err
		}
		defer c.stop()
	}
	for _, c := range []*crowd{alone, many, hoarder} {
		b.progress("  fills a server with %d applications of %s", c.others, users(c.owners))
		if err := c.fill(ctx, b.sizes.fillers); err != nil {
			return nil, err
		}
	}
	b.progress("  creates applications")
	for range b.sizes.creates {
		for _, c := range []*crowd{alone, many, hoarder} {
			if err := c.createOne(ctx); err != nil {
				return nil, err
			}
		}
	}
	for range b.sizes.bursts {
		for _, c := range []*crowd{alone, many, hoarder} {
			if err := c.createBurst(ctx, b.sizes); err != nil {
				return nil, err
			}
		}
	}
	list, err := many.list(ctx, many.manager+"/applications", b.sizes.listRequests, many.others)
	if err != nil {
		return nil, err
	}
	return append(creates(alone, many, hoarder),
		quick(fmt.Sprintf("GET /applications with %d, p50", many.others), list)), nil
}

func users(n int) string {
	if n == 1 {
		return "1 user"
	}
	return fmt.Sprintf("%d users", n)
}

// creates makes the lines about creates.
func creates(alone, many, hoarder *crowd) []line {
	others := fmt.Sprintf("%d others of %s, beside 1 other", many.others, users(many.owners))
	worst := fmt.Sprintf("%d others of the same user, beside 1 other", hoarder.others)
	return []line{
		slower("create until 202, p50, "+others, many.accepted, alone.accepted, 1.5),
		slower("create until CREATED, p50, "+others, many.created, alone.created, 1.5),
		rate("creates per second, "+others, many, alone, goal{atMost, 1.5, "×"}),
		plain(slower("create until 202, p50, "+worst, hoarder.accepted, alone.accepted, 0)),
		plain(slower("create until CREATED, p50, "+worst, hoarder.created, alone.created, 0)),
		rate("creates per second, "+worst, hoarder, alone, goal{unit: "×"}),
	}
}

// rate compares how many creates a second have; the figure is how many times
// slower c is.
func rate(what string, c, alone *crowd, g goal) line {
	mine, other := medianOf(c.perSecond), medianOf(alone.perSecond)
	return line{what: what, ours: significant(mine) + "/s", beside: significant(other) + "/s", value: other / mine, goal: g}
}

// fill publishes and deploys an example and makes the others from it.
func (c *crowd) fill(ctx context.Context, clients int) error {
	archive, err := examples.Archive(exampleID)
	if err != nil {
		return err
	}
	if err := c.upload(ctx, exampleID, bytes.NewReader(archive), int64(len(archive))); err != nil {
		return err
	}
	if err := c.deploy(ctx, exampleID); err != nil {
		return err
	}
	err = parallel(ctx, clients, c.others, func(ctx context.Context, i int) error {
		return c.put(ctx, fmt.Sprintf("other-%04d", i), c.owner(i))
	})
	if err != nil {
		return err
	}
	return parallel(ctx, clients, c.others, func(ctx context.Context, i int) error {
		return c.settle(ctx, c.url(fmt.Sprintf("other-%04d", i))+"/status", "CREATED")
	})
}

// exampleID is the package that the applications are made from.
const exampleID = "flow-report-1.0.0"

func (c *crowd) owner(i int) string { return fmt.Sprintf("user-%03d", i%c.owners) }

func (c *crowd) url(name string) string { return c.manager + "/applications/" + name }

func (c *crowd) put(ctx context.Context, name, owner string) error {
	_, err := c.sendText(ctx, http.MethodPut, c.url(name)+"?user.name="+owner, `{"package": "`+exampleID+`"}`, http.StatusAccepted)
	return err
}

// next is a name and an owner for a create.
func (c *crowd) next() (name, owner string) {
	c.made++
	return fmt.Sprintf("new-%04d", c.made), c.owner(c.made)
}

// createOne times one create and destroys it again, so that the number of
// others stays.
func (c *crowd) createOne(ctx context.Context) error {
	name, owner := c.next()
	begin := time.Now()
	if err := c.put(ctx, name, owner); err != nil {
		return err
	}
	accepted := time.Since(begin)
	if err := c.settle(ctx, c.url(name)+"/status", "CREATED"); err != nil {
		return err
	}
	c.accepted, c.created = append(c.accepted, accepted), append(c.created, time.Since(begin))
	return c.destroy(ctx, name, owner)
}

func (c *crowd) destroy(ctx context.Context, name, owner string) error {
	if _, err := c.sendText(ctx, http.MethodDelete, c.url(name)+"?user.name="+owner, "", http.StatusAccepted); err != nil {
		return err
	}
	return c.settle(ctx, c.url(name)+"/status", "NOTCREATED")
}

// createBurst times creates by several clients at once, each until CREATED.
func (c *crowd) createBurst(ctx context.Context, s sizes) error {
	names, owners := make([]string, s.burst), make([]string, s.burst)
	for i := range names {
		names[i], owners[i] = c.next()
	}
	begin := time.Now()
	err := parallel(ctx, s.burstOfClient, s.burst, func(ctx context.Context, i int) error {
		if err := c.put(ctx, names[i], owners[i]); err != nil {
			return err
		}
		return c.settle(ctx, c.url(names[i])+"/status", "CREATED")
	})
	c.perSecond = append(c.perSecond, float64(s.burst)/time.Since(begin).Seconds())
	return errors.Join(err, parallel(ctx, s.burstOfClient, s.burst, func(ctx context.Context, i int) error {
		return c.destroy(ctx, names[i], owners[i])
	}))
}

// list times requests of a list that must have n entries.
func (s *server) list(ctx context.Context, url string, requests, n int) ([]time.Duration, error) {
	var times []time.Duration
	for range requests {
		begin := time.Now()
		answer, err := s.sendText(ctx, http.MethodGet, url, "", http.StatusOK)
		if err != nil {
			return nil, err
		}
		times = append(times, time.Since(begin))
		var entries []json.RawMessage
		if err := json.Unmarshal(answer, &entries); err != nil || len(entries) != n {
			return nil, fmt.Errorf("%s: got %d entries, want %d (%v)", url, len(entries), n, err)
		}
	}
	return times, nil
}

// quick is the line of a list.
func quick(what string, times []time.Duration) line {
	p50 := median(times)
	return line{what: what, ours: show(p50), value: float64(p50) / float64(time.Millisecond), goal: goal{below, 20, " ms"}}
}
