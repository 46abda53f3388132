package main

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ondemand measures what a change costs that users' repositories follow only when
// their users ask, and what it costs each who asks.
func ondemand(ctx context.Context, b *bench) (lines []line, err error) {
	for _, part := range []func(context.Context, *bench) ([]line, error){inClass, besideFew, askedOften} {
		got, err := part(ctx, b)
		if lines = append(lines, got...); err != nil {
			return lines, err
		}
	}
	return lines, nil
}

// class is a server with one application, lesson, for many users.
type class struct {
	*server
	*bench
	folder  string
	changes int // makes each another
}

func inClass(ctx context.Context, b *bench) (lines []line, err error) {
	c := &class{bench: b}
	if c.folder, err = b.sub("ondemand-files"); err != nil {
		return nil, err
	}
	if c.server, err = b.serve(ctx, "ondemand", "--groups", "{publisher: [ana]}"); err != nil {
		return nil, err
	}
	defer c.stop()
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		says string
		run  func(context.Context) ([]line, error)
	}{
		{"changes what many users get", c.update}, {"weighs repositories", c.weigh}, {"fetches what is new", c.first},
		{"has all users fetch", c.all}, {"asks for a head", c.head},
	} {
		b.progress("  %s", part.says)
		got, err := part.run(ctx)
		if lines = append(lines, got...); err != nil {
			return lines, err
		}
	}
	return lines, nil
}

func (c *class) user(i int) string { return fmt.Sprintf("u%04d", i+1) }

func (c *class) url(user string) string { return c.git + "/jupyter-" + user }

// prepare publishes two versions, keeps their files for plain git, and makes the
// application. Its users are named after that.
func (c *class) prepare(ctx context.Context) error {
	for revision := range 2 {
		id := fmt.Sprintf("lesson-1.%d.0", revision)
		path := filepath.Join(c.folder, id+".tar.gz")
		a := archiveOf{id: id, kinds: lessons, raw: c.sizes.cloneContent, revision: revision, level: gzip.DefaultCompression}
		if err := errors.Join(archiveFile(path, a), c.uploadFile(ctx, id, path), c.deploy(ctx, id)); err != nil {
			return err
		}
		if _, err := command(ctx, c.folder, "tar", "-xzf", path); err != nil {
			return err
		}
	}
	if err := c.create(ctx, "lesson", "ana", "lesson-1.0.0"); err != nil {
		return err
	}
	var all []string
	for i := range c.sizes.audience {
		all = append(all, fmt.Sprintf("%q", "user:"+c.user(i)))
	}
	_, err := c.change(ctx, "lesson", "ana", `{"audience": [`+strings.Join(all, ",")+`]}`)
	return err
}

func (s *server) create(ctx context.Context, app, owner, id string) error {
	url := s.manager + "/applications/" + app
	if _, err := s.sendText(ctx, http.MethodPut, url+"?user.name="+owner, `{"package": "`+id+`"}`, http.StatusAccepted); err != nil {
		return err
	}
	return s.settle(ctx, url+"/status", "CREATED")
}

// next changes an application to the other version, with one notebook that no
// version had before.
func (c *class) next(ctx context.Context, app, owner string) (time.Duration, error) {
	c.changes++
	return c.change(ctx, app, owner, fmt.Sprintf(`{"package": "lesson-1.%d.0", `, c.changes%2)+topic(c.changes)[1:])
}

// update takes turns with plain git, which brings one user up each time.
func (c *class) update(ctx context.Context) ([]line, error) {
	files := func(revision int) string {
		return filepath.Join(c.folder, fmt.Sprintf("lesson-1.%d.0", revision), "jupyter", "report")
	}
	first := filepath.Join(c.folder, "first")
	if _, err := command(ctx, c.folder, "git", "init", "-q", first); err != nil {
		return nil, err
	}
	if _, err := command(ctx, first, "cp", "-a", files(0), "lesson"); err != nil {
		return nil, err
	}
	if err := commitAll(ctx, first, "first version"); err != nil {
		return nil, err
	}
	var ours, byGit []time.Duration
	for i := range c.sizes.byGit {
		took, err := c.next(ctx, "lesson", "ana")
		if err != nil {
			return nil, err
		}
		ours = append(ours, took)
		theirs := filepath.Join(c.folder, c.user(i)+".git")
		if _, err := command(ctx, c.folder, "git", "clone", "-q", "--bare", "--no-hardlinks", first, theirs); err != nil {
			return nil, err
		}
		if took, err = gitUpdate(ctx, theirs, files(1)); err != nil {
			return nil, err
		}
		byGit = append(byGit, took)
	}
	took, loop := median(ours), median(byGit)*time.Duration(c.sizes.audience)
	what := fmt.Sprintf("an update to %d users, from PUT to CREATED", c.sizes.audience)
	return []line{
		{what: what, ours: show(took), value: took.Seconds(), goal: goal{atMost, 0.2, " s"}},
		{what: fmt.Sprintf("same, beside clone, copy, commit and push for each (p50 of %d × %d)", c.sizes.byGit, c.sizes.audience),
			ours: show(took), beside: show(loop), value: ratio(loop, took), goal: goal{atLeast, 1000, "×"}},
	}, nil
}

// gitUpdate brings one user's repository up with plain git.
func gitUpdate(ctx context.Context, repository, files string) (time.Duration, error) {
	work := repository + ".work"
	defer os.RemoveAll(work)
	begin := time.Now()
	if _, err := command(ctx, "/", "git", "clone", "-q", repository, work); err != nil {
		return 0, err
	}
	if _, err := command(ctx, work, "cp", "-a", files+"/.", "lesson"); err != nil {
		return 0, err
	}
	if err := commitAll(ctx, work, "second version"); err != nil {
		return 0, err
	}
	_, err := command(ctx, work, "git", "push", "-q")
	return time.Since(begin), err
}

// atOnceClients is how many of a class's git fetch run at a time.
const atOnceClients = 64

// all has every user of the class ask for the first time, and then, after an update,
// fetch with git of their own into a repository that has what was before.
func (c *class) all(ctx context.Context) ([]line, error) {
	begin := time.Now()
	err := parallel(ctx, atOnceClients, c.sizes.audience, func(ctx context.Context, i int) error {
		_, err := c.ask(ctx, c.user(i))
		return err
	})
	if err != nil {
		return nil, err
	}
	lines := []line{{what: fmt.Sprintf("%d users ask for the first time, %d at once (GET /head)", c.sizes.audience, atOnceClients), ours: show(time.Since(begin))}}
	template := filepath.Join(c.folder, "template")
	if _, err := command(ctx, template, "git", "fetch", "-q", c.url(c.user(0)), "+refs/heads/*:refs/heads/*"); err != nil {
		return lines, err
	}
	clone := func(i int) string { return filepath.Join(c.folder, "all", c.user(i)) }
	err = parallel(ctx, 4, c.sizes.audience, func(ctx context.Context, i int) error {
		_, err := command(ctx, "/", "git", "clone", "-q", "--bare", "--shared", "--template=", template, clone(i))
		return err
	})
	if err != nil {
		return lines, err
	}
	old, err := c.ask(ctx, c.user(0))
	if err != nil {
		return lines, err
	}
	if _, err := c.next(ctx, "lesson", "ana"); err != nil {
		return lines, err
	}
	(&rival{child: c.child}).settleDown(ctx)
	rs, r := &rivals{}, &rival{child: c.child, name: "ours"}
	begin, before := time.Now(), c.spent()
	err = parallel(ctx, atOnceClients, c.sizes.audience, func(ctx context.Context, i int) error {
		begin := time.Now()
		err := gitFetch(ctx, clone(i), c.url(c.user(i)), "+refs/heads/main:refs/heads/main")
		rs.record(r, time.Since(begin), err)
		return ctx.Err()
	})
	if err != nil {
		return lines, err
	}
	took := time.Since(begin)
	r.settleDown(ctx)
	spent := c.spent() - before
	for i := range c.sizes.audience {
		want, err := c.ask(ctx, c.user(i))
		if err != nil {
			return lines, err
		}
		got, _ := os.ReadFile(filepath.Join(clone(i), "FETCH_HEAD")) // none of a fetch that was refused
		if len(got) > 0 && (want == old || !strings.HasPrefix(string(got), want)) {
			rs.record(r, 0, fmt.Errorf("%s fetched %.40q, want %s, after %s", c.user(i), got, want, old))
		}
	}
	if refused := rs.told(); refused != nil {
		c.progress("    %v", refused)
	}
	together, err := c.together()
	return append(lines, line{
		what:  fmt.Sprintf("%d users fetch after an update, %d clients of git at once: errors", c.sizes.audience, atOnceClients),
		ours:  fmt.Sprintf("%d in %s, p50 %s, %s of the server's processor time each", r.refused, show(took), show(median(r.times)), show(spent/time.Duration(c.sizes.audience))),
		value: float64(r.refused), goal: goal{atMost, 0, ""},
	}, together), err
}

// head asks over one connection whether anything is new, as a user's pod does.
func (c *class) head(ctx context.Context) ([]line, error) {
	user := c.user(0)
	tip, err := c.ask(ctx, user)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url(user)+"/head", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("If-None-Match", `"`+tip+`"`)
	var times []time.Duration
	before := c.spent()
	for range c.sizes.heads {
		begin := time.Now()
		answer, err := c.client.Do(request)
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		if err = errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != http.StatusNotModified {
			return nil, fmt.Errorf("GET /head of what is there: got %s (%w)", answer.Status, err)
		}
		times = append(times, time.Since(begin))
	}
	each := float64(c.spent()-before) / float64(c.sizes.heads) / float64(time.Millisecond)
	return []line{{
		what: fmt.Sprintf("GET /head, 304, %d over one connection: processor time of the server, and p50 of the wall's", c.sizes.heads),
		ours: fmt.Sprintf("%.1f µs, %.1f µs", each*1000, float64(median(times))/float64(time.Microsecond)), value: each, goal: goal{atMost, 0.1, " ms"},
	}}, nil
}
