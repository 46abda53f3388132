package gitstore

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Has implements dm.GitTransport.
func (s *Store) Has(r dm.Repository) error {
	_, err := s.served(r)
	return err
}

// Tip implements dm.GitTransport.
func (s *Store) Tip(ctx context.Context, r dm.Repository, who dm.Reader) (string, error) {
	if err := s.Has(r); err != nil {
		return "", err
	}
	_, main, err := s.workspaces.Bring(ctx, dm.UserName(r.Name), who)
	return main.String(), err
}

// served is the directory that answers for a repository as it is.
func (s *Store) served(r dm.Repository) (dir string, err error) {
	if err := s.service.Sound(r); err != nil {
		return "", err
	}
	if dir = s.data.Path(r); repo.Exists(dir) {
		return dir, nil
	}
	if r.Kind == dm.WorkspaceRepository {
		return s.data.Path(repo.Blank), nil
	}
	return "", dm.Errorf(dm.NotFound, "gitstore.Has", "there is no repository %s/%s.git", r.Kind, r.Name)
}

// UploadPack implements dm.GitTransport.
func (s *Store) UploadPack(ctx context.Context, r dm.Repository, round dm.UploadRound) error {
	dir, err := s.served(r)
	if err != nil {
		return err
	}
	if round.Advertise && round.Protocol == "version=2" { // it tells what git can do, and nothing of the repository
		return s.capabilities.Answer(round.Protocol, round.Out, func(out io.Writer) error {
			round.Out = out
			return s.git.UploadPack(ctx, dir, round)
		})
	}
	if r.Kind != dm.WorkspaceRepository {
		return s.git.UploadPack(ctx, dir, round)
	}
	user := dm.UserName(r.Name)
	var head []byte
	if !round.Advertise {
		in := bufio.NewReaderSize(round.In, wantsSize)
		if head, err = in.Peek(wantsSize); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		round.In = in
	}
	if round.Advertise || bytes.HasPrefix(head[min(len(head), len("0000")):], []byte("command=ls-refs")) {
		if dir, _, err = s.workspaces.Bring(ctx, user, round.Reader); err != nil {
			return err
		}
		return s.git.UploadPack(ctx, dir, round)
	}
	wants := bytes.Clone(head) // what is read on goes over it
	if err = s.git.UploadPack(ctx, dir, round); err == nil && !round.Reader.Other {
		s.fetched(user, wants)
	}
	return err
}

// wantsSize is how much of a request is looked at for what it wants, in bytes: the wants
// stand before all else, and of a workspace there are few.
const wantsSize = 4 << 10

// fetched notes what of a workspace was asked for and sent, and tells of each
// application that is news to its user.
func (s *Store) fetched(user dm.UserName, head []byte) {
	wants := map[plumbing.Hash]bool{} // HEAD and main are one
	for _, line := range bytes.SplitAfter(head, []byte("want "))[1:] {
		wants[plumbing.NewHash(string(line[:min(len(line), 40)]))] = true
	}
	for want := range wants {
		for _, news := range s.workspaces.Fetched(user, want) {
			e := s.index.Application(news.Application)
			if e == nil {
				continue
			}
			s.stream.Passing(dm.Event{
				Kind: dm.ApplicationEvent, ID: string(news.Application), State: e.Settled(), Owner: e.Current().Spec.Owner, Again: true,
				Stamp:       dm.Stamp{Verb: dm.FetchVerb, User: user, Via: "git", Time: s.now()},
				Information: fmt.Sprintf("deployment %d", news.Deployment),
			})
		}
	}
}
