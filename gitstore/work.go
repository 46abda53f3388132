package gitstore

import (
	"cmp"
	"context"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// Work implements dm.WorkStore.
func (s *Store) Work(ctx context.Context, app dm.ApplicationName) (dm.Work, bool, error) {
	const op = "gitstore.Work"
	if err := s.service.Sound(repo.Application(app)); err != nil {
		return dm.Work{}, false, err
	}
	e := s.index.Application(app)
	if e == nil || !e.Working() && !e.Left() {
		return dm.Work{}, false, nil
	}
	w, err := s.work(app, e, e.Desired)
	if err != nil {
		s.service.Suspect(repo.Application(app))
	}
	if w.TakeBack = !e.Working(); err == nil && !w.TakeBack {
		w.Overtaken, err = s.overtakenWork(ctx, app, e)
	}
	return w, true, repo.Failed(op, err)
}

// WorkAt implements dm.WorkStore.
func (s *Store) WorkAt(ctx context.Context, app dm.ApplicationName, at dm.Revision) (dm.Work, error) {
	const op = "gitstore.WorkAt"
	r := repo.Application(app)
	if err := s.service.Sound(r); err != nil {
		return dm.Work{}, err
	}
	e := s.index.Application(app)
	if e == nil {
		return dm.Work{}, dm.Errorf(dm.NotFound, op, "no application %s", app)
	}
	objects := repo.Open(s.data.Path(r))
	c, err := form.DecodeChange(objects, plumbing.NewHash(string(at)))
	if err == nil {
		err = e.Number(ctx, objects, &c)
	}
	if err != nil {
		return dm.Work{}, repo.Failed(op, err)
	}
	w, err := s.work(app, e, c)
	return w, repo.Failed(op, err)
}

// work describes a change.
func (s *Store) work(app dm.ApplicationName, e *index.Application, c form.Change) (dm.Work, error) {
	objects := repo.Open(s.data.Path(repo.Application(app)))
	w := dm.Work{
		Spec: c.Spec, Change: c.Stamp, Desired: repo.Revision(c.Commit), Deployment: c.Deployment, Observed: e.Observed, Before: e.Settled(),
	}
	if c.Information != "" {
		w.Notes = []string{c.Information}
	}
	w.Open = treefs.New(objects, c.Components)
	var err error
	w.Components, err = form.Components(objects, c.Components)
	return w, err
}

// Observe implements dm.WorkStore.
func (s *Store) Observe(ctx context.Context, app dm.ApplicationName, outcome dm.Observation) error {
	const op = "gitstore.Observe"
	tx, err := s.data.Begin(repo.Application(app), "observed")
	if err != nil {
		return err
	}
	defer tx.End()
	e := s.index.Application(app)
	if e == nil || e.Main.String() != string(outcome.Desired) {
		return dm.Errorf(dm.Stale, op, "the application %s was changed concurrently", app)
	}
	if outcome.Time.IsZero() {
		outcome.Time = s.now()
	}
	next := *e
	switch outcome.Effective {
	case "":
		next.Effective, outcome.Deployment = form.Change{}, 0
	case outcome.Desired:
		next.Effective, outcome.Deployment = e.Desired, e.Desired.Deployment
	default:
		outcome.Deployment = e.Effective.Deployment
	}
	last, err := s.writeObserved(ctx, tx, e, outcome)
	if err != nil {
		return repo.Failed(op, err)
	}
	outcome.Logs = nil // they are read from where they are kept
	next.ObservedTip, next.Observed, next.ObservedSeq, next.Logs, next.Waiting = last.Commit, &outcome, tx.Seq(), last.Logs, ""
	next.Slim()
	s.index.PutApp(app, &next)
	return nil
}

// writeObserved writes the outcome of the newest change behind those of the
// changes that it overtook, and moves the ref once: all have one number.
func (s *Store) writeObserved(ctx context.Context, tx *repo.Tx, e *index.Application, outcome dm.Observation) (last form.Outcome, err error) {
	w, err := tx.Objects()
	if err != nil {
		return last, err
	}
	dir, err := tx.Dir()
	if err != nil {
		return last, err
	}
	overtaken, err := index.Overtaken(ctx, repo.Open(dir), e)
	if err != nil {
		return last, err
	}
	app := e.Desired.Spec.Name
	last = form.Outcome{
		Stamp: e.Desired.Stamp, Application: app, Package: e.Desired.Spec.Package, Observation: outcome, Before: e.ObservedTip, Logs: e.KeptLogs(),
	}
	for _, commit := range overtaken {
		c := form.ParseChange(commit)
		o := form.Outcome{
			Stamp: c.Stamp, Application: app, Package: c.Spec.Package, Observation: e.GivenUp(c.Commit, outcome.Time), Before: last.Before,
			Logs: last.Logs,
		}
		o.Seq = tx.Seq()
		if err := o.Encode(w); err != nil {
			return last, err
		}
		last.Before = o.Commit
	}
	last.Seq = tx.Seq()
	if last.Logs, err = form.AddLogs(w, repo.Open(dir), last.Logs, outcome.Logs); err == nil {
		err = last.Encode(w)
	}
	if err != nil {
		return last, err
	}
	owed, err := s.numberOwed(e)
	if err != nil {
		return last, err
	}
	settled := e.Desired.Event(last.Stamp)
	settled.State, settled.Information = outcome.Phase, cmp.Or(outcome.Health, outcome.Information)
	settled.Again = !e.Working() // the outcome of the change is known
	return last, tx.Land(ctx, append(owed, repo.Moved(repo.Observed, e.ObservedTip, last.Commit, "observed-moved").Means(settled))...)
}
