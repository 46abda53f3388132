package gitstore

import (
	"context"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/upkeep"
)

// MaintainAll maintains every repository, however little there is to do.
func (s *Store) MaintainAll(ctx context.Context) error {
	return s.upkeep.MaintainFrom(ctx, upkeep.Worth{Refs: 1, Packs: 1})
}

// MoveRef moves a ref as every change does.
func (s *Store) MoveRef(ctx context.Context, r dm.Repository, u gitcmd.RefUpdate) error {
	release := s.data.Hold(r)
	defer release()
	return s.git.UpdateRefs(ctx, s.data.Path(r), u)
}

// ReadRef reads a ref as every change does.
func (s *Store) ReadRef(r dm.Repository, name string) (string, error) {
	release := s.data.Hold(r)
	defer release()
	h, err := repo.ReadRef(s.data.Path(r), name)
	if err != nil || h.IsZero() {
		return "", err
	}
	return h.String(), nil
}

// AddBlobs writes n objects that no ref leads to, in a pack of their own.
func (s *Store) AddBlobs(r dm.Repository, n int) (ids []string, err error) {
	release := s.data.Hold(r)
	defer release()
	w, err := s.data.NewPack(s.data.Path(r), nil)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	for i := range n {
		id, err := w.Add(plumbing.BlobObject, []byte(strconv.Itoa(i)))
		if err != nil {
			return nil, err
		}
		ids = append(ids, id.String())
	}
	_, err = w.Commit("")
	return ids, err
}

// ToldNow returns the events that follow after, without waiting for one.
func (s *Store) ToldNow(ctx context.Context, after uint64, most int) ([]dm.Event, error) {
	list, _, err := s.stream.Now(ctx, after, most)
	return list, err
}

// Decide judges the push of an application.json on top of the newest.
func Decide(s *Store, ctx context.Context, actor dm.Actor, spec dm.Spec) (dm.PushOutcome, error) {
	var old dm.Revision
	if main := (pushed{s}).Main(spec.Name); !main.IsZero() {
		old = repo.Revision(main)
	}
	return pushed{s}.Decide(ctx, actor, dm.PushedRef{Name: "refs/heads/main", Old: old}, spec)
}
