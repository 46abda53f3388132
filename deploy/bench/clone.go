package main

import (
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// clone measures the server's processor time for one git clone of a user's
// repository, beside the same files as PNDA leaves them: a repository with
// loose objects behind git http-backend.
func clone(ctx context.Context, b *bench) ([]line, error) {
	folder, err := b.sub("clone")
	if err != nil {
		return nil, err
	}
	s, err := b.serve(ctx, "clone-server")
	if err != nil {
		return nil, err
	}
	defer s.stop()
	if err := prepareUser(ctx, b, s, folder); err != nil {
		return nil, err
	}
	if err := leaveAsPNDA(ctx, s, folder); err != nil {
		return nil, err
	}
	backend, address, err := b.peer("backend", filepath.Join(folder, "pnda"))
	if err != nil {
		return nil, err
	}
	defer backend.stop()

	var ours, theirs []time.Duration
	oursBefore, theirsBefore := s.spent(), backend.spent()
	for range b.sizes.clones {
		for _, side := range []struct {
			to  *[]time.Duration
			url string
		}{{&ours, s.git + "/jupyter-pnda"}, {&theirs, address + "/jupyter-pnda/.git"}} {
			begin := time.Now()
			if err := cloneOnce(ctx, folder, side.url); err != nil {
				return nil, err
			}
			*side.to = append(*side.to, time.Since(begin))
		}
	}
	n := time.Duration(b.sizes.clones)
	oursCPU, theirsCPU := (s.spent()-oursBefore)/n, (backend.spent()-theirsBefore)/n
	what := fmt.Sprintf("processor time of a clone (2 versions, %s raw), beside loose objects", significant(float64(b.sizes.cloneContent)/megabyte)+" MB")
	return []line{
		{what: what, ours: show(oursCPU), beside: show(theirsCPU), value: ratio(theirsCPU, oursCPU), goal: goal{atLeast, 10, "×"}},
		plain(faster("same, time that git clone takes", ours, theirs, 0)),
	}, nil
}

// prepareUser gives the user pnda an application that was changed once.
func prepareUser(ctx context.Context, b *bench, s *server, folder string) error {
	for revision, id := range []string{"lesson-1.0.0", "lesson-1.1.0"} {
		path := filepath.Join(folder, id+".tar.gz")
		if err := archiveFile(path, archiveOf{id: id, kinds: notebooksOnly, raw: b.sizes.cloneContent, revision: revision, level: gzip.DefaultCompression}); err != nil {
			return err
		}
		if err := s.uploadFile(ctx, id, path); err != nil {
			return err
		}
		if err := s.deploy(ctx, id); err != nil {
			return err
		}
	}
	app := s.manager + "/applications/lesson"
	if _, err := s.sendText(ctx, "PUT", app+"?user.name=pnda", `{"package": "lesson-1.0.0"}`, 202); err != nil {
		return err
	}
	if err := s.settle(ctx, app+"/status", "CREATED"); err != nil {
		return err
	}
	if _, err := s.ask(ctx, "pnda"); err != nil { // or the first version would not be in the history
		return err
	}
	if _, err := s.change(ctx, "lesson", "pnda", `{"package": "lesson-1.1.0"}`); err != nil {
		return err
	}
	_, err := s.ask(ctx, "pnda")
	return err
}

// leaveAsPNDA replays the history of the user's repository the way PNDA's
// plugin writes one: git init, copy, git add, git commit, never packed.
func leaveAsPNDA(ctx context.Context, s *server, folder string) error {
	mine, theirs := filepath.Join(folder, "history"), filepath.Join(folder, "pnda", "jupyter-pnda")
	if _, err := command(ctx, folder, "git", "clone", "-q", s.git+"/jupyter-pnda", mine); err != nil {
		return err
	}
	commits, err := command(ctx, mine, "git", "log", "--first-parent", "--reverse", "--format=%H")
	if err != nil {
		return err
	}
	if n := len(strings.Fields(commits)); n < 3 {
		return fmt.Errorf("the user's repository has %d commits, want its first and one for each version", n)
	}
	if _, err := command(ctx, folder, "git", "init", "-q", theirs); err != nil {
		return err
	}
	for _, id := range strings.Fields(commits) {
		if _, err := command(ctx, mine, "git", "--work-tree="+theirs, "checkout", "-q", "-f", id, "--", "."); err != nil {
			return err
		}
		if err := commitAll(ctx, theirs, id); err != nil {
			return err
		}
	}
	return nil
}

// cloneOnce clones with the real client and removes the clone.
func cloneOnce(ctx context.Context, folder, url string) error {
	target := filepath.Join(folder, "target")
	if _, err := command(ctx, folder, "git", "clone", "-q", url, target); err != nil {
		return err
	}
	if notebooks, err := filepath.Glob(filepath.Join(target, "lesson", "*.ipynb")); err != nil || len(notebooks) == 0 {
		if notebooks, err = filepath.Glob(filepath.Join(target, "lesson", "*", "*.ipynb")); err != nil || len(notebooks) == 0 {
			return fmt.Errorf("the clone of %s has no notebooks", url)
		}
	}
	return os.RemoveAll(target)
}
