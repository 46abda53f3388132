package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
)

// refs measures one durable move of a ref by the project's own function beside
// git update-ref with git's settings, which leave the ref to the kernel, and,
// for information, with core.fsync=all.
func refs(ctx context.Context, b *bench) ([]line, error) {
	folder, err := b.sub("refs")
	if err != nil {
		return nil, err
	}
	git, err := gitcmd.New(ctx, gitcmd.Config{})
	if err != nil {
		return nil, err
	}
	ours, err := newMover(ctx, filepath.Join(folder, "ours.git"))
	if err != nil {
		return nil, err
	}
	theirs, err := newMover(ctx, filepath.Join(folder, "theirs.git"))
	if err != nil {
		return nil, err
	}
	var durable, careless, careful []time.Duration
	for range b.sizes.moves {
		for _, side := range []struct {
			to   *[]time.Duration
			m    *mover
			move func(from, to string) error
		}{
			{&durable, ours, func(from, to string) error {
				return git.UpdateRefs(ctx, ours.repository, gitcmd.RefUpdate{Ref: "refs/heads/main", Old: from, New: to})
			}},
			{&careless, theirs, func(from, to string) error {
				_, err := command(ctx, "/", "git", "--git-dir="+theirs.repository, "update-ref", "refs/heads/main", to, from)
				return err
			}},
			{&careful, theirs, func(from, to string) error {
				_, err := command(ctx, "/", "git", "-c", "core.fsync=all", "--git-dir="+theirs.repository, "update-ref", "refs/heads/main", to, from)
				return err
			}},
		} {
			took, err := side.m.time(side.move)
			if err != nil {
				return nil, err
			}
			*side.to = append(*side.to, took)
		}
	}
	what := fmt.Sprintf("durable move of a ref, beside git update-ref (%d each)", b.sizes.moves)
	return []line{
		slower(what, durable, careless, 1.5),
		plain(slower("same, beside git -c core.fsync=all update-ref", durable, careful, 0)),
	}, nil
}

// mover moves main of a repository between two commits.
type mover struct {
	repository string
	ids        [2]string
	at         int
}

func newMover(ctx context.Context, repository string) (*mover, error) {
	m := &mover{repository: repository}
	if _, err := command(ctx, "/", "git", "init", "-q", "--bare", "--initial-branch=main", repository); err != nil {
		return nil, err
	}
	empty, err := command(ctx, "/", "git", "--git-dir="+repository, "hash-object", "-t", "tree", "-w", "/dev/null")
	if err != nil {
		return nil, err
	}
	for i, message := range []string{"one", "two"} {
		if m.ids[i], err = command(ctx, "/", "git", "--git-dir="+repository, "commit-tree", "-m", message, empty); err != nil {
			return nil, err
		}
	}
	_, err = command(ctx, "/", "git", "--git-dir="+repository, "update-ref", "refs/heads/main", m.ids[0])
	return m, err
}

func (m *mover) time(move func(from, to string) error) (time.Duration, error) {
	begin := time.Now()
	err := move(m.ids[m.at], m.ids[1-m.at])
	took := time.Since(begin)
	m.at = 1 - m.at
	return took, err
}
