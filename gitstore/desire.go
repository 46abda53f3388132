package gitstore

import (
	"context"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// newContent is new content for an application: what was planned, and where the
// package's files come from.
type newContent struct {
	plan *dm.Plan
	from source
}

// pushedParent is the commit of a push that a change follows: it becomes a parent of
// the change's commit, so that a pull after the push is a fast-forward.
type pushedParent struct {
	commit plumbing.Hash
	copy   func(*pack.Writer) error // adds the commit, and what it leads to that the record does not have
}

// desire records an accepted change: it writes the objects, then moves main.
// From then on the change is a fact that a crash does not forget. pushed is nil
// unless a push proposed it.
func (s *Store) desire(ctx context.Context, tx *repo.Tx, e *index.Application, w wanted, stamp dm.Stamp, pushed *pushedParent) error {
	defer w.room.End()
	change := w.change
	app := change.Spec.Name
	out, err := tx.Objects()
	if err != nil {
		return err
	}
	change.Stamp, change.Before, change.Overtakes, change.Pushed = stamp, e.Main, plumbing.ZeroHash, plumbing.ZeroHash
	if w.fresh != nil {
		change.Components, err = s.writeContent(tx, change.Spec.Package, w.fresh)
	}
	if e.Working() {
		change.Overtakes = e.Main
	}
	if err == nil && pushed != nil {
		change.Pushed = pushed.commit
		err = pushed.copy(out)
	}
	if err == nil {
		change.Seq = tx.Seq()
		err = change.Encode(out)
	}
	if err != nil {
		return err
	}
	moves := []repo.Move{repo.Moved(repo.Main, e.Main, change.Commit, "desired-moved").Means(change.Event(change.Stamp))}
	if w.fresh != nil { // numberOwed has it written when it can't be written now
		moves = append(moves, repo.Derived(repo.Deployment(change.Deployment), plumbing.ZeroHash, change.Commit, "desired-numbered"))
	}
	if err := tx.Land(ctx, moves...); err != nil {
		return err
	}
	next := &index.Application{
		Main: change.Commit, Desired: change, Deployments: e.Deployments,
		ObservedTip: e.ObservedTip, Observed: e.Observed, ObservedSeq: e.ObservedSeq, Logs: e.Logs, Effective: e.Effective,
	}
	if w.fresh != nil {
		next.Deployments = change.Deployment
	}
	s.index.PutApp(app, next)
	s.wake(app)
	return nil
}

// writeContent brings the package's objects into the repository, and writes what
// is new in the components: what users get into a pack of its own, which can be
// made again from theirs, and the rest into that of tx. It returns the tree of all
// components.
func (s *Store) writeContent(tx *repo.Tx, ref dm.PackageRef, fresh *newContent) (none plumbing.Hash, err error) {
	own, err := tx.Objects()
	if err != nil {
		return none, err
	}
	dir, err := tx.Dir()
	if err != nil {
		return none, err
	}
	if fresh.from.dir != dir {
		if err := s.takeOver(tx, fresh.from, ref); err != nil {
			s.service.Suspect(repo.Package(ref.Name))
			return none, err
		}
	}
	users, err := tx.NewPack()
	if err != nil {
		return none, err
	}
	defer users.Abort()
	top := repo.NewTree()
	from := repo.Open(fresh.from.dir)
	for _, component := range fresh.plan.Components {
		into := own
		if component.Workspace {
			into = users
		}
		tree, err := form.AddComponent(into, from, fresh.from.tree, component)
		if err != nil {
			return none, err
		}
		top.Set(string(component.Type)+"/"+string(component.Name), filemode.Dir, repo.Known(tree))
	}
	if _, err = users.Commit(""); err != nil {
		return none, err
	}
	return top.Write(own)
}

// takeOver makes the files of a package part of an application's repository, and
// the tag and the commit of the version with them, so that each of the two
// repositories can be mended from the other.
func (s *Store) takeOver(tx *repo.Tx, from source, ref dm.PackageRef) error {
	o, err := repo.OpenOrigin(from.dir)
	if err != nil {
		return err
	}
	defer o.Close()
	names := map[plumbing.Hash]struct{}{}
	if err := o.Below(from.tree, names); err != nil {
		return err
	}
	if v, ok := s.version(ref); ok && v.Tree == from.tree {
		names[v.Tag], names[v.Commit] = struct{}{}, struct{}{}
	}
	return tx.Bring(o, names, "package "+ref.String())
}

// numberOwed is the move that writes the number of the newest deployment when it is
// missing, as when the disk was full just after main had moved.
func (s *Store) numberOwed(e *index.Application) (owed []repo.Move, err error) {
	if !e.Desired.Verb.MakesDeployment() {
		return nil, nil // it has made none
	}
	number := repo.Deployment(e.Desired.Deployment)
	h, err := repo.ReadRef(s.data.Path(repo.Application(e.Desired.Spec.Name)), number)
	if err == nil && h.IsZero() {
		owed = []repo.Move{repo.Derived(number, plumbing.ZeroHash, e.Desired.Commit, "observed-numbered")}
	}
	return owed, err
}
