package gitstore

import (
	"context"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// A change that can't be carried out now waits, for as long as it takes. Another
// may be accepted in its place; the one that waited then gets its outcome, that
// it was given up, in the same move of a ref as the one that overtook it.

// Waiting implements dm.WorkStore.
func (s *Store) Waiting(app dm.ApplicationName, at dm.Revision, why string) {
	release := s.data.Hold(repo.Application(app))
	defer release()
	e := s.index.app(app)
	if e == nil || !e.working() || at != "" && e.main.String() != string(at) || e.waiting == why {
		return
	}
	next := *e
	next.waiting = why
	s.index.putApp(app, &next)
}

// Leftovers implements dm.WorkStore.
func (s *Store) Leftovers() []dm.ApplicationName { return s.index.appNames((*appEntry).left) }

// overtakenWork describes the changes that were overtaken, since a server that
// ended may have carried out some of each.
func (s *Store) overtakenWork(ctx context.Context, app dm.ApplicationName, e *appEntry) ([]dm.Work, error) {
	objects := repo.Open(s.data.Path(repo.Application(app)))
	commits, err := overtaken(ctx, objects, e)
	if err != nil {
		return nil, err
	}
	var list []dm.Work
	for _, c := range commits {
		content, stamp, err := readContent(objects, c.Hash)
		if err != nil {
			return nil, err
		}
		w, err := s.work(app, e, content, stamp)
		if err != nil {
			return nil, err
		}
		list = append(list, w)
	}
	return list, nil
}
