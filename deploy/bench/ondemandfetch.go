package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// first measures a git fetch right after a change, which brings the repository up,
// beside one of another user's like change for whom that was done just before.
func (c *class) first(ctx context.Context) ([]line, error) {
	var alone, asked []time.Duration
	for i := range 2 {
		app, user := fmt.Sprintf("solo-%d", i), fmt.Sprintf("solo-%d", i)
		if err := c.create(ctx, app, user, "lesson-1.0.0"); err != nil {
			return nil, err
		}
		if _, err := command(ctx, c.folder, "git", "clone", "-q", "--no-checkout", c.url(user), user); err != nil {
			return nil, err
		}
	}
	for round := range c.sizes.fetchRounds {
		c.changes++
		for i := range 2 {
			if _, err := c.change(ctx, fmt.Sprintf("solo-%d", i), fmt.Sprintf("solo-%d", i), topic(c.changes)); err != nil {
				return nil, err
			}
		}
		if _, err := c.ask(ctx, fmt.Sprintf("solo-%d", round%2)); err != nil {
			return nil, err
		}
		for turn := range 2 { // who comes first alternates as well, half as often
			i := (turn + round/2) % 2
			took, err := fetchNew(ctx, filepath.Join(c.folder, fmt.Sprintf("solo-%d", i)))
			if err != nil {
				return nil, err
			}
			if i == round%2 {
				asked = append(asked, took)
			} else {
				alone = append(alone, took)
			}
		}
	}
	return []line{slower(fmt.Sprintf("first fetch after an update (%d rounds), beside one that was asked for at /head before", c.sizes.fetchRounds), alone, asked, 1.3)}, nil
}

// fetchNew times a git fetch, which must bring something, into a clone.
func fetchNew(ctx context.Context, clone string, more ...string) (time.Duration, error) {
	record := filepath.Join(clone, ".git", "FETCH_HEAD")
	before, _ := os.ReadFile(record) // none before the first
	begin := time.Now()
	if err := gitFetch(ctx, clone, more...); err != nil {
		return 0, err
	}
	took := time.Since(begin)
	after, err := os.ReadFile(record)
	if err == nil && bytes.Equal(after, before) {
		err = fmt.Errorf("a fetch into %s brought nothing", clone)
	}
	return took, err
}

// gitFetch fetches as a pod does: without git's own maintenance afterwards.
func gitFetch(ctx context.Context, clone string, more ...string) error {
	_, err := command(ctx, clone, "git", append([]string{"-c", "maintenance.auto=false", "fetch", "-q"}, more...)...)
	return err
}

// besideFew measures what more applications make of a user's first fetch after a
// change of one.
func besideFew(ctx context.Context, b *bench) (lines []line, err error) {
	c := &crowd{others: b.sizes.manyApps, owners: 1, until: time.Now().Add(90 * time.Second)}
	if err := c.start(ctx, b, "ondemand-apps"); err != nil {
		return nil, err
	}
	defer c.stop()
	folder, err := b.sub("ondemand-clones")
	if err != nil {
		return nil, err
	}
	for i := range b.sizes.fewApps {
		if err := c.create(ctx, fmt.Sprintf("few-%d", i), "few", exampleID); err != nil {
			return nil, err
		}
	}
	sides := []struct{ app, user string }{{"other-00000", c.owner(0)}, {"few-0", "few"}}
	var clones [2]time.Duration
	for i, side := range sides {
		begin := time.Now()
		if _, err := command(ctx, folder, "git", "clone", "-q", "--no-checkout", c.git+"/jupyter-"+side.user, side.user); err != nil {
			return nil, err
		}
		clones[i] = time.Since(begin)
	}
	what := fmt.Sprintf("a user with %d applications, beside one with %d: ", c.others, b.sizes.fewApps)
	lines = append(lines, line{what: what + "the first clone", ours: show(clones[0]), beside: show(clones[1]), value: ratio(clones[0], clones[1]), goal: goal{unit: "×"}})
	changes := 0
	for _, way := range []struct {
		what string
		args []string
	}{{"of all branches", nil}, {"of main, as a pod does", []string{"--no-tags", "origin", "main"}}} {
		b.progress("  fetches %s, with %d applications and with %d", way.what, c.others, b.sizes.fewApps)
		var took [2][]time.Duration
		for round := range b.sizes.fetchRounds {
			changes++
			for _, side := range sides {
				if _, err := c.change(ctx, side.app, side.user, topic(changes)); err != nil {
					return lines, err
				}
			}
			for turn := range sides {
				i := (turn + round) % 2
				t, err := fetchNew(ctx, filepath.Join(folder, sides[i].user), way.args...)
				if err != nil {
					return lines, err
				}
				took[i] = append(took[i], t)
			}
		}
		lines = append(lines, slower(what+"first fetch after a change of one, "+way.what, took[0], took[1], 1.5))
	}
	return lines, nil
}
