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
	until          time.Time // when filling ends early; zero means never
	made           int       // creates that were measured; makes their names new

	accepted, created []time.Duration
	perSecond         []float64
}

// applications measures creates on two servers that take turns: one with one
// other application and one with many of many users; then, for information,
// beside one with as many of one single user.
func applications(ctx context.Context, b *bench) ([]line, error) {
	alone := &crowd{others: 1, owners: b.sizes.owners}
	many := &crowd{others: b.sizes.others, owners: b.sizes.owners}
	if err := alone.start(ctx, b, "alone"); err != nil {
		return nil, err
	}
	defer alone.stop()
	if err := many.start(ctx, b, "many"); err != nil {
		return nil, err
	}
	defer many.stop()
	begin := time.Now()
	if err := takeTurns(ctx, b, alone, many); err != nil {
		return nil, err
	}
	turns := time.Since(begin)
	lines := creates(fmt.Sprintf("%d others of %s, beside 1 other", many.others, users(many.owners)), many, alone, 1.5)
	list, err := many.list(ctx, many.manager+"/applications", b.sizes.listRequests, many.others)
	if err != nil {
		return lines, err
	}
	lines = append(lines, quick(fmt.Sprintf("GET /applications with %d, p50", many.others), list, 20))
	worst, err := oneUser(ctx, b, alone, turns)
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		worst, err = noTime, nil // it is for information, and all else is there
	}
	return append(lines, worst...), err
}

var noTime = []line{{what: "creates beside others of the same user", ours: "no time left"}}

// oneUser fills a server with applications of one user. Each makes the next
// one slower, so this ends early where the run's time would not do: it keeps
// three times what the turns of the other servers took.
func oneUser(ctx context.Context, b *bench, alone *crowd, turns time.Duration) ([]line, error) {
	hoarder := &crowd{others: b.sizes.hoard, owners: 1}
	if end, ok := ctx.Deadline(); ok {
		hoarder.until = end.Add(-3 * turns)
	}
	if err := hoarder.start(ctx, b, "hoarder"); err != nil {
		return nil, err
	}
	defer hoarder.stop()
	if hoarder.others == 0 {
		return noTime, nil
	}
	alone.forget()
	if err := takeTurns(ctx, b, alone, hoarder); err != nil {
		return nil, err
	}
	lines := creates(fmt.Sprintf("%d others of the same user, beside 1 other", hoarder.others), hoarder, alone, 0)
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	return lines, nil
}

// takeTurns creates applications, alternately on each server.
func takeTurns(ctx context.Context, b *bench, servers ...*crowd) error {
	b.progress("  creates applications")
	for range b.sizes.creates {
		for _, c := range servers {
			if err := c.createOne(ctx); err != nil {
				return err
			}
		}
	}
	for range b.sizes.bursts {
		for _, c := range servers {
			if err := c.createBurst(ctx, b.sizes); err != nil {
				return err
			}
		}
	}
	return nil
}

func users(n int) string {
	if n == 1 {
		return "1 user"
	}
	return fmt.Sprintf("%d users", n)
}

// creates makes the lines about creates on c beside those on alone.
func creates(where string, c, alone *crowd, bound float64) []line {
	return []line{
		slower("create until 202, p50, "+where, c.accepted, alone.accepted, bound),
		slower("create until CREATED, p50, "+where, c.created, alone.created, bound),
		rate("creates per second, "+where, c, alone, goal{atMost, bound, "×"}),
	}
}

// rate compares how many creates a second have; the figure is how many times
// slower c is.
func rate(what string, c, alone *crowd, g goal) line {
	mine, other := medianOf(c.perSecond), medianOf(alone.perSecond)
	return line{what: what, ours: significant(mine) + "/s", beside: significant(other) + "/s", value: other / mine, goal: g}
}

// start starts the server and fills it.
func (c *crowd) start(ctx context.Context, b *bench, name string) (err error) {
	if c.server, err = b.serve(ctx, name); err != nil {
		return err
	}
	b.progress("  fills a server with %d applications of %s", c.others, users(c.owners))
	if err = c.fill(ctx, b.sizes.fillers, 0); err != nil {
		c.stop()
	}
	return err
}

// forget starts the measurement again.
func (c *crowd) forget() { c.accepted, c.created, c.perSecond = nil, nil, nil }

// fill makes the others from an example, the first ones of which may be there
// already.
func (c *crowd) fill(ctx context.Context, clients, there int) error {
	if there == 0 {
		if err := c.publishExample(ctx); err != nil {
			return err
		}
	}
	for from := there; from < c.others; from += fillBatch {
		if !c.until.IsZero() && time.Now().After(c.until) {
			c.others = from
			break
		}
		if err := c.fillFrom(ctx, clients, from, min(from+fillBatch, c.others)); err != nil {
			return err
		}
	}
	return nil
}

// fillFrom asks for some applications and then waits for them one after the
// other, because many that ask again and again would take the server's time.
func (c *crowd) fillFrom(ctx context.Context, clients, from, to int) error {
	name := func(i int) string { return fmt.Sprintf("other-%05d", i) }
	err := parallel(ctx, clients, to-from, func(ctx context.Context, i int) error {
		return c.put(ctx, name(from+i), c.owner(from+i))
	})
	for i := from; i < to && err == nil; i++ {
		err = c.settle(ctx, c.url(name(i))+"/status", "CREATED")
	}
	return err
}

// publishExample uploads and deploys what the applications are made from.
func (c *crowd) publishExample(ctx context.Context) error {
	archive, err := examples.Archive(exampleID)
	if err != nil {
		return err
	}
	if err := c.upload(ctx, exampleID, bytes.NewReader(archive), int64(len(archive))); err != nil {
		return err
	}
	return c.deploy(ctx, exampleID)
}

// fillBatch is after how many creates the clock is looked at.
const fillBatch = 100

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

// quick is the line of a list that has to come within so many milliseconds.
func quick(what string, times []time.Duration, bound float64) line {
	p50 := median(times)
	return line{what: what, ours: show(p50), value: float64(p50) / float64(time.Millisecond), goal: goal{below, bound, " ms"}}
}
