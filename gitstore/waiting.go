package gitstore

import (
	"context"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
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

// overtaken returns the commits of main before its tip that have no outcome,
// oldest first.
func overtaken(ctx context.Context, objects *repo.Objects, e *appEntry) ([]*object.Commit, error) {
	answered := plumbing.ZeroHash
	if e.observed != nil {
		answered = plumbing.NewHash(string(e.observed.Desired))
	}
	if e.main == answered {
		return nil, nil
	}
	list, _, err := form.Chain(ctx, objects, e.main, answered)
	if err != nil {
		return nil, err
	}
	return list[:len(list)-1], nil
}

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

// givenUp is the outcome of a change that another overtook: it changed nothing.
func (e *appEntry) givenUp(change plumbing.Hash, at time.Time) dm.Observation {
	o := dm.Observation{
		Desired: dm.Revision(change.String()), Phase: e.settled(), Time: at,
		Information: "given up while it waited: " + string(e.last.Verb) + " came in its place",
	}
	if e.observed != nil {
		o.Effective, o.Deployment, o.Records = e.observed.Effective, e.observed.Deployment, e.observed.Records
	}
	return o
}
