package gitstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Entries of the tree on an application's main.
const (
	specFile       = "application.json"
	packageTree    = "package"
	componentsTree = "components"
)

// delivered is new content for an application: what was planned, and where the
// package's files come from.
type delivered struct {
	plan *dm.Plan
	from source
}

// proposed is the commit of a push that a change follows: it becomes a parent of
// the change's commit, so that a pull after the push is a fast-forward.
type proposed struct {
	commit plumbing.Hash
	copy   func(*pack.Writer) error // adds the commit, and what it leads to that the record does not have
}

// desire records an accepted change: it writes the objects, then moves main.
// From then on the change is a fact that a crash does not forget. pushed is nil
// unless a push proposed it.
func (s *Store) desire(ctx context.Context, tx *repo.Tx, e *appEntry, w wanted, stamp dm.Stamp, pushed *proposed) error {
	defer w.room.end()
	content := w.content
	app := content.spec.Name
	out, err := tx.Objects()
	if err != nil {
		return err
	}
	top := repo.NewTree()
	if w.fresh != nil {
		err = s.writeContent(tx, top, content, w.fresh)
	} else {
		err = s.keepContent(top, content)
	}
	if err == nil && pushed != nil {
		err = pushed.copy(out)
	}
	if err == nil {
		err = content.seal(out, top, e, pushed, stamp)
	}
	if err != nil {
		return err
	}
	moves := []repo.Move{repo.Moved(repo.Main, e.main, content.commit, "desired-moved")}
	if w.fresh != nil { // numberOwed has it written when it can't be written now
		moves = append(moves, repo.Derived(repo.Deployment(content.deployment), plumbing.ZeroHash, content.commit, "desired-numbered"))
	}
	if err := tx.Land(ctx, moves...); err != nil {
		return err
	}
	next := &appEntry{
		main: content.commit, desired: content, last: stamp, deployments: e.deployments,
		observedTip: e.observedTip, observed: e.observed, effective: e.effective,
	}
	if w.fresh != nil {
		next.deployments = content.deployment
	}
	s.index.putApp(app, next)
	s.emit(dm.Event{Kind: dm.ApplicationEvent, ID: string(app), State: next.phase(), Stamp: stamp})
	s.wake(app)
	return nil
}

// writeContent brings the package's objects into the repository, and writes what
// is new in the components: what users get into a pack of its own, which can be
// made again from theirs, and the rest into that of tx.
func (s *Store) writeContent(tx *repo.Tx, top *repo.Tree, content contentEntry, fresh *delivered) error {
	own, err := tx.Objects()
	if err != nil {
		return err
	}
	dir, err := tx.Dir()
	if err != nil {
		return err
	}
	if fresh.from.dir != dir {
		if err := s.takeOver(tx, fresh.from, content.spec.Package); err != nil {
			return err
		}
	}
	top.Set(packageTree, filemode.Dir, repo.Known(fresh.from.tree))
	users, err := tx.NewPack()
	if err != nil {
		return err
	}
	defer users.Abort()
	from := repo.Open(fresh.from.dir)
	for _, component := range fresh.plan.Components {
		into := own
		if component.Workspace {
			into = users
		}
		tree, err := writeComponent(into, from, fresh.from.tree, component)
		if err != nil {
			return err
		}
		top.Set(componentsTree+"/"+string(component.Type)+"/"+string(component.Name), filemode.Dir, repo.Known(tree))
	}
	_, err = users.Commit("")
	return err
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
	if v, ok := s.version(ref); ok && v.tree == from.tree {
		names[v.tag], names[v.commit] = struct{}{}, struct{}{}
	}
	return tx.Bring(o, names, "package "+ref.String())
}

// writeComponent writes the trees of one component into w, and those of its files
// that are not as the package has them.
func writeComponent(w *pack.Writer, from *repo.Objects, packageTree plumbing.Hash, c dm.Component) (plumbing.Hash, error) {
	b := repo.NewTree()
	for _, f := range c.Files {
		hash, err := writeFile(w, from, packageTree, f)
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("%s/%s/%s: %w", c.Type, c.Name, f.Path, err)
		}
		b.Set(f.Path, repo.Mode(f.Executable), repo.Known(hash))
	}
	return b.Write(w)
}

func writeFile(w *pack.Writer, from *repo.Objects, packageTree plumbing.Hash, f dm.File) (plumbing.Hash, error) {
	if f.Source == "" {
		return w.Add(plumbing.BlobObject, f.Content)
	}
	e, err := from.Entry(packageTree, f.Source)
	return hashOf(e), err
}

func hashOf(e *object.TreeEntry) plumbing.Hash {
	if e == nil {
		return plumbing.ZeroHash
	}
	return e.Hash
}

// keepContent puts the trees of the content in effect at the top.
func (s *Store) keepContent(top *repo.Tree, content contentEntry) error {
	t, err := repo.Open(s.data.Path(repo.Application(content.spec.Name))).Tree(content.tree)
	if err != nil {
		return err
	}
	top.SetAll(t)
	return nil
}

// seal writes application.json, the trees and the commit.
func (content *contentEntry) seal(w *pack.Writer, top *repo.Tree, e *appEntry, pushed *proposed, stamp dm.Stamp) error {
	file, err := applicationFile(content.spec)
	if err != nil {
		return err
	}
	blob, err := w.Add(plumbing.BlobObject, file)
	if err != nil {
		return err
	}
	top.Set(specFile, filemode.Regular, repo.Known(blob))
	content.size = len(file)
	if content.tree, err = top.Write(w); err != nil {
		return err
	}
	lines := append(stampTrailers(stamp), trailers{
		{trailerPackage, content.spec.Package.String()}, {trailerDeployment, strconv.Itoa(content.deployment)},
		{trailerInformation, strings.Join(content.notes, "; ")},
	}...)
	if e.working() {
		lines = append(lines, [2]string{trailerOvertakes, e.main.String()})
	}
	parents := []plumbing.Hash{e.main}
	if pushed != nil {
		if e.main.IsZero() {
			if parents[0], err = addBeginning(w); err != nil {
				return err
			}
		}
		parents = append(parents, pushed.commit)
		lines = append(lines, [2]string{trailerPushed, pushed.commit.String()})
	}
	message := lines.message(changeSubject(content.spec, stamp.Verb))
	content.commit, err = addCommit(w, personSignature(stamp.User, stamp.Time), content.tree, message, parents...)
	return err
}

// changeSubject is the first line of a change's commit, and what a push is told.
func changeSubject(spec dm.Spec, verb dm.Verb) string {
	words := strings.ToUpper(string(verb[:1])) + string(verb[1:])
	if verb == dm.Rollback {
		words = "Roll back"
	}
	subject := words + " " + string(spec.Name)
	switch verb {
	case dm.Create:
		subject += " from " + spec.Package.String()
	case dm.Change, dm.Rollback:
		subject += " to " + spec.Package.String()
	}
	return subject
}

// numberOwed is the move that writes the number of the newest deployment when it is
// missing, as when the disk was full just after main had moved.
func (s *Store) numberOwed(e *appEntry) (owed []repo.Move, err error) {
	if !e.last.Verb.MakesDeployment() {
		return nil, nil // it has made none
	}
	number := repo.Deployment(e.desired.deployment)
	h, err := repo.ReadRef(s.data.Path(repo.Application(e.desired.spec.Name)), number)
	if err == nil && h.IsZero() {
		owed = []repo.Move{repo.Derived(number, plumbing.ZeroHash, e.desired.commit, "observed-numbered")}
	}
	return owed, err
}
