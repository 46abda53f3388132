package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// weigh looks at the disk before anybody asked, and at the first two who do.
func (c *class) weigh(ctx context.Context) ([]line, error) {
	people := filepath.Join(c.data, "users")
	folders, err := filepath.Glob(filepath.Join(people, "*"))
	if err != nil {
		return nil, err
	}
	none, _, err := weight(people)
	if err != nil {
		return nil, err
	}
	lines := []line{{what: fmt.Sprintf("%d users who never asked: bytes in users/", c.sizes.audience),
		ours: fmt.Sprintf("%d in %d folders", none, len(folders)), value: float64(none), goal: goal{atMost, 0, ""}}}
	if _, err := command(ctx, c.folder, "git", "clone", "-q", "--bare", "--template=", c.url(c.user(0)), "template"); err != nil {
		return lines, err
	}
	if _, err := c.ask(ctx, c.user(1)); err != nil {
		return lines, err
	}
	(&rival{child: c.child}).settleDown(ctx) // it notes who fetched
	for i, what := range []string{"a user who fetched once", "a user who asked for the head once"} {
		repository := filepath.Join(people, c.user(i)+".git")
		own, linked, err := weight(repository)
		if err != nil {
			return lines, err
		}
		plain, err := plainWeight(ctx, repository, filepath.Join(c.folder, "plain-"+c.user(i)))
		if err != nil {
			return lines, err
		}
		lines = append(lines, line{
			what: what + ": files of their own, without hard-linked packs, beside plain git's one pack of the same objects",
			ours: fmt.Sprintf("%s, and %s linked", kilo(own), kilo(linked)), beside: kilo(plain),
			value: float64(own-plain) / 1000, goal: goal{atMost, 4, " kB"},
		})
	}
	return lines, nil
}

func kilo(n int64) string { return significant(float64(n)/1000) + " kB" }

// weight sums the sizes of files, apart of those that have several names.
func weight(folder string) (own, linked int64, err error) {
	err = filepath.Walk(folder, func(_ string, info fs.FileInfo, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // nobody ever asked
		case err != nil || !info.Mode().IsRegular():
		case names(info) > 1:
			linked += info.Size()
		default:
			own += info.Size()
		}
		return err
	})
	return own, linked, err
}

func names(info fs.FileInfo) uint64 { return uint64(info.Sys().(*syscall.Stat_t).Nlink) }

// plainWeight has plain git keep what main and the branches of a repository lead to
// in one pack, without the objects that are in packs with several names.
func plainWeight(ctx context.Context, repository, plain string) (n int64, err error) {
	if _, err := command(ctx, "/", "git", "clone", "-q", "--bare", "--no-hardlinks", "--template=", repository, plain); err != nil {
		return 0, err
	}
	packs := func(folder, end string) []string {
		paths, _ := filepath.Glob(filepath.Join(folder, "objects", "pack", "*"+end)) // the pattern is good
		return paths
	}
	for _, path := range packs(plain, ".keep") {
		err = errors.Join(err, os.Remove(path))
	}
	for _, path := range packs(repository, ".pack") {
		if info, failed := os.Stat(path); failed != nil || names(info) > 1 {
			keep := filepath.Join(plain, "objects", "pack", strings.TrimSuffix(filepath.Base(path), ".pack")+".keep")
			err = errors.Join(err, failed, os.WriteFile(keep, nil, 0o600))
		}
	}
	if err != nil {
		return 0, err
	}
	if _, err := command(ctx, plain, "git", "repack", "-adfq"); err != nil {
		return 0, err
	}
	if n, _, err = weight(plain); err != nil {
		return 0, err
	}
	for _, keep := range packs(plain, ".keep") {
		all, err := filepath.Glob(strings.TrimSuffix(keep, "keep") + "*")
		if err != nil {
			return 0, err
		}
		for _, path := range all {
			info, err := os.Stat(path)
			if err != nil {
				return 0, err
			}
			n -= info.Size()
		}
	}
	return n, nil
}

// together is what the repositories of all users take of the disk.
func (c *class) together() (line, error) {
	n, err := onDisk(filepath.Join(c.data, "users"))
	return line{
		what: fmt.Sprintf("%d users who fetched at most twice: blocks on disk of each, a file with several names once for all", c.sizes.audience),
		ours: kilo(n / int64(c.sizes.audience)),
	}, err
}

// askedOften measures what stays of many changes in the repository of a user who
// fetches each of them.
func askedOften(ctx context.Context, b *bench) ([]line, error) {
	const name, id = "ondemand-changes", "lesson-1.0.0"
	s, err := b.serve(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { s.stop() }()
	b.progress("  fetches each of %d changes", b.sizes.changes)
	path := filepath.Join(b.folder, "ondemand.tar.gz")
	a := archiveOf{id: id, kinds: lessons, raw: b.sizes.changeContent, level: gzip.DefaultCompression}
	if err := errors.Join(archiveFile(path, a), s.uploadFile(ctx, id, path), s.deploy(ctx, id), s.create(ctx, "lesson", "pnda", id)); err != nil {
		return nil, err
	}
	clone := filepath.Join(b.folder, "ondemand-clone")
	if _, err := command(ctx, b.folder, "git", "clone", "-q", "--no-checkout", s.git+"/jupyter-pnda", clone); err != nil {
		return nil, err
	}
	repository := filepath.Join(s.data, "users", "pnda.git")
	var few int64
	for n := range b.sizes.changes {
		if n == b.sizes.fewChanges {
			if s, err = s.maintained(ctx, b, name); err != nil {
				return nil, err
			}
			if few, err = onDisk(repository); err != nil {
				return nil, err
			}
		}
		if _, err := s.change(ctx, "lesson", "pnda", topic(n)); err != nil {
			return nil, err
		}
		if _, err := fetchNew(ctx, clone, s.git+"/jupyter-pnda", "+refs/heads/*:refs/remotes/origin/*"); err != nil {
			return nil, err
		}
	}
	before, err := onDisk(repository)
	if err != nil {
		return nil, err
	}
	if s, err = s.maintained(ctx, b, name); err != nil {
		return nil, err
	}
	many, err := onDisk(repository)
	if err != nil {
		return nil, err
	}
	if _, err := command(ctx, b.folder, "git", "clone", "-q", "--bare", "--no-local", "--template=", repository, "ondemand-plain.git"); err != nil {
		return nil, err
	}
	if _, err := command(ctx, filepath.Join(b.folder, "ondemand-plain.git"), "git", "repack", "-adfq"); err != nil {
		return nil, err
	}
	plain, err := onDisk(filepath.Join(b.folder, "ondemand-plain.git"))
	if err != nil {
		return nil, err
	}
	return []line{{
		what: fmt.Sprintf("%d changes, each fetched: the user's repository on disk after maintenance, beside after %d", b.sizes.changes, b.sizes.fewChanges),
		ours: kilo(many) + ", before maintenance " + kilo(before), beside: kilo(few) + "; plain git has the same in " + kilo(plain),
		value: float64(many) / float64(few), goal: goal{atMost, 1.2, "×"},
	}}, nil
}

// maintained starts the server again and again: for one pass of maintenance, and then
// as it is by default.
func (s *server) maintained(ctx context.Context, b *bench, name string) (*server, error) {
	s.stop()
	tending, err := b.serve(ctx, name, "--maintenance", "1s")
	if err != nil {
		return s, err
	}
	for done := false; !done; time.Sleep(20 * time.Millisecond) {
		told, err := tending.sendText(ctx, http.MethodGet, tending.manager+"/metrics", "", http.StatusOK)
		if err != nil {
			return tending, err
		}
		done = bytes.Contains(told, []byte("dm_maintenance_last_success_timestamp_seconds 1"))
	}
	tending.stop()
	again, err := b.serve(ctx, name)
	if err != nil {
		return tending, err
	}
	return again, nil
}
