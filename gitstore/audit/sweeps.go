package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// verifySweeps proves the record of sweeps, and that each workspace which came back
// since goes on where it ended.
func (a *Record) verifySweeps(ctx context.Context, problem func(string)) error {
	say := func(format string, args ...any) { problem(dm.OneLine(fmt.Sprintf(format, args...))) }
	taken := map[dm.UserName]form.Swept{}
	heads, err := repo.ReadRefs(a.Data.Path(repo.Sweeps))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		say("%s: %v", repo.Sweeps.Kind, err)
	}
	lost, err := a.Service.Contradicted(ctx, repo.Sweeps, repo.Open(a.Data.Path(repo.Sweeps)), heads)
	if err != nil {
		say("%s: %v", repo.Sweeps.Kind, err)
	}
	for _, f := range lost {
		say("%s: %s: %s", repo.Sweeps.Kind, f.Ref, f.Why)
	}
	if repo.Exists(a.Data.Path(repo.Sweeps)) {
		taken = a.verifySweepCommits(ctx, say)
	}
	for _, u := range slices.Sorted(maps.Keys(taken)) {
		dir := a.Data.Path(repo.Workspace(u))
		if len(taken[u].Marks) == 0 || !repo.Exists(dir) {
			continue
		}
		main, err := repo.ReadRef(dir, repo.Main)
		if err != nil {
			continue // it is told with the workspace
		}
		if _, met, err := form.Chain(ctx, repo.Open(dir), main, plumbing.NewHash(taken[u].Main)); err == nil && !met {
			say("users/%s: it came back after a sweep without its history", u)
		}
	}
	return ctx.Err()
}

// verifySweepCommits proves the commits of sweeps and returns the newest sweep of
// each user.
func (a *Record) verifySweepCommits(ctx context.Context, say func(string, ...any)) map[dm.UserName]form.Swept {
	dir := a.Data.Path(repo.Sweeps)
	taken := map[dm.UserName]form.Swept{}
	lines, err := a.Data.Git.Fsck(ctx, dir, true)
	if err != nil {
		say("sweeps: fsck could not run: %v", err)
	}
	for _, line := range lines {
		say("sweeps: fsck: %s", line)
	}
	heads, err := repo.ReadRefs(dir)
	if err != nil || len(heads) != 1 || heads[repo.Main].IsZero() {
		say("sweeps: it must have the ref %s and no other (%v)", repo.Main, err)
		return taken
	}
	objects := repo.Open(dir)
	commits, _, err := form.Chain(ctx, objects, heads[repo.Main], plumbing.ZeroHash)
	if err != nil {
		say("sweeps: %v", err)
	}
	for _, c := range commits {
		sweep, err := form.DecodeSweep(objects, c)
		again := sweep
		if err == nil {
			err = again.Encode(repo.NamesOnly{})
		}
		switch {
		case err != nil:
			say("sweeps: commit %s: %v", c.Hash, err)
		case sweep.Rule == "" || again.Commit != c.Hash:
			say("sweeps: commit %s is not one that the server writes", c.Hash)
		}
		for _, w := range sweep.Taken {
			taken[w.User] = w
		}
	}
	return taken
}
