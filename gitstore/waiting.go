package gitstore

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// A change that can't be carried out now waits, for as long as it takes. Another
// may be accepted in its place; the one that waited then gets its outcome, that
// it was given up, in the same move of a ref as the one that overtook it.

// overtakenWork describes the changes that were overtaken, since a server that
// ended may have carried out some of each.
func (s *Store) overtakenWork(ctx context.Context, app dm.ApplicationName, e *index.Application) ([]dm.Work, error) {
	objects := repo.Open(s.data.Path(repo.Application(app)))
	commits, err := index.Overtaken(ctx, objects, e)
	if err != nil {
		return nil, err
	}
	var list []dm.Work
	for _, commit := range commits {
		c, err := form.DecodeChange(objects, commit.Hash)
		if err != nil {
			return nil, err
		}
		w, err := s.work(app, e, c)
		if err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	return list, nil
}
