package repo

import (
	"context"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/events"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// Tx is the one way to write a repository: it has the lock, takes objects, and
// lands by moving one ref durably. Nothing is written before the first object, and
// what did not land leaves no trace. After a landing it can begin with another.
type Tx struct {
	Keep string // the text of a .keep file for the pack of Objects; "" for none

	folder  *Folder
	name    string // begins the names of its steps
	r       dm.Repository
	release func()

	dir   string            // where objects go; "" until there is one
	fresh *Aside            // the repository to be; nil when there is one
	pack  *pack.Writer      // see Objects
	there *pack.Reader      // what has looks at; nil when that may be too old
	clear func(failed bool) // ends the note of what was there before

	number *events.Number // of what it will tell; nil until somebody asks
	landed *dm.Event
}

// Begin locks a repository for changes called name. The caller ends the Tx.
// Kind Unavailable: it is out of service.
func (f *Folder) Begin(r dm.Repository, name string) (*Tx, error) {
	t := &Tx{folder: f, name: name, r: r, release: f.Hold(r)}
	if err := f.Sound(r); err != nil {
		t.End()
		return nil, err
	}
	return t, nil
}

// Dir is the directory that holds the objects until they land: that of the
// repository, or of a new one that is built aside.
func (t *Tx) Dir() (string, error) {
	if t.dir != "" {
		return t.dir, nil
	}
	if target := t.folder.Path(t.r); Exists(target) {
		end, err := t.folder.intend(t.r)
		if err != nil {
			return "", err
		}
		t.dir, t.clear = target, end
		return target, nil
	}
	if err := t.folder.MustBeThere(t.r); err != nil {
		return "", err
	}
	a, err := t.folder.NewAside()
	if err != nil {
		return "", err
	}
	t.dir, t.fresh = a.Dir, a
	return t.dir, nil
}

// Fresh tells whether there is no repository yet.
func (t *Tx) Fresh() bool { return !Exists(t.folder.Path(t.r)) }

// Objects is the pack that becomes durable when the Tx lands.
func (t *Tx) Objects() (*pack.Writer, error) {
	if t.pack != nil {
		return t.pack, nil
	}
	w, err := t.NewPack()
	if err == nil {
		t.pack = w
	}
	return w, err
}

// NewPack begins another pack, which the caller commits before the Tx lands, or
// aborts.
func (t *Tx) NewPack() (*pack.Writer, error) {
	dir, err := t.Dir()
	if err != nil {
		return nil, err
	}
	return t.folder.NewPack(dir, t.has)
}

// has tells whether a pack of the repository holds an object, which then is not
// written again. Whether a ref leads to it does not matter: what removes objects
// waits for the lock, and then finds that one does.
func (t *Tx) has(h plumbing.Hash) bool {
	if t.there == nil {
		t.there = t.folder.There(t.dir)
	}
	return t.there.Has(h)
}

// Link brings in a pack of another repository, kept if it is kept there.
func (t *Tx) Link(path string) error {
	dir, err := t.Dir()
	if err != nil {
		return err
	}
	t.there = nil
	return pack.Link(path, PackDir(dir))
}

// Adopt brings in packs of a repository that was built aside before there was a
// lock, or that repository itself where there is none yet.
func (t *Tx) Adopt(a *Aside, packs ...pack.Pack) error {
	if t.dir == "" && t.Fresh() {
		if err := t.folder.MustBeThere(t.r); err != nil {
			return err
		}
		t.dir, t.fresh = a.Dir, a
		return nil
	}
	for _, p := range packs {
		if p.IsZero() {
			continue
		}
		if err := t.Link(pack.Path(PackDir(a.Dir), p.Name)); err != nil {
			return err
		}
	}
	t.folder.Step(t.name + "-linked")
	return nil
}

// Seq is the number in the server-wide sequence of the event that this Tx will
// tell, for the trailers of the objects that record it.
func (t *Tx) Seq() uint64 {
	if t.number == nil {
		t.number = t.folder.Told.Reserve()
	}
	return t.number.Seq()
}

// Land makes the objects durable and then moves refs, in this order: those that
// must stand before, the one that makes the change a fact, and those that follow
// from it. Where git failed the repository is read again, because a ref may have
// moved all the same. The event of a move that was made is told by End, when its
// caller has noted what is true now.
func (t *Tx) Land(ctx context.Context, moves ...Move) error {
	if _, err := t.Dir(); err != nil {
		return err
	}
	if err := t.seal(); err != nil {
		return err
	}
	err := t.move(ctx, moves)
	if err != nil {
		t.folder.Doubt(ctx, t.r)
	}
	t.note(moves, err != nil)
	if err != nil {
		return err
	}
	t.close(false)
	t.folder.tidy(t.r)
	return nil
}

// seal makes the objects durable.
func (t *Tx) seal() error {
	if t.pack == nil {
		return nil
	}
	p, err := t.pack.Commit(t.Keep)
	if err == nil && !p.IsZero() {
		t.folder.Step(t.name + "-packed")
	}
	return err
}

// note keeps the event of the fact for End. Where moving it failed, what the ref
// is counts; one that can't be read counts as not moved, and nobody was told that
// it was.
func (t *Tx) note(moves []Move, failed bool) {
	for _, m := range moves {
		if m.event == nil {
			continue
		}
		if failed {
			if h, err := ReadRef(t.folder.Path(t.r), m.ref); err != nil || h != m.new {
				return
			}
		}
		e := *m.event
		e.Ref, e.Old, e.New = m.ref, Revision(m.old), Revision(m.new)
		t.landed = &e
	}
}

// Revision is an object's name in the words of package dm, "" for none.
func Revision(h plumbing.Hash) dm.Revision {
	if h.IsZero() {
		return ""
	}
	return dm.Revision(h.String())
}

func (t *Tx) move(ctx context.Context, moves []Move) error {
	all := Refs{}
	for _, m := range moves {
		all[m.ref] = m.new
	}
	if t.fresh != nil {
		return t.fresh.install(t.folder.Path(t.r), all)
	}
	if len(moves) > 0 && moves[0].order == together {
		err := moveTogether(ctx, t.dir, all)
		if err == nil {
			t.folder.Step(moves[0].step)
		}
		return err
	}
	var before []gitcmd.RefUpdate
	step := ""
	for _, m := range moves {
		if m.order == beforeFact {
			before, step = append(before, Update(m.ref, m.old, m.new)), m.step
		}
	}
	if err := t.folder.MoveRefs(ctx, t.dir, before...); err != nil {
		return err
	}
	if step != "" {
		t.folder.Step(step)
	}
	for _, m := range moves {
		if m.order == fact {
			if err := t.folder.MoveRefs(ctx, t.dir, Update(m.ref, m.old, m.new)); err != nil {
				return err
			}
			t.folder.Step(m.step)
		}
	}
	for _, m := range moves {
		if m.order == afterFact {
			t.derive(context.WithoutCancel(ctx), m)
		}
	}
	return nil
}

// derive moves a ref that follows from others; what can't be moved now is made
// up for by a later look.
func (t *Tx) derive(ctx context.Context, m Move) {
	if m.old != m.new {
		if err := t.folder.MoveRefs(ctx, t.dir, Update(m.ref, m.old, m.new)); err != nil {
			t.folder.Log.Error("a derived ref could not be moved", "kind", t.r.Kind, "name", t.r.Name, "ref", m.ref, "err", err)
			t.folder.Late(t.r)
		}
	}
	t.folder.Step(m.step)
}

// End discards, tells what landed, and gives the lock back.
func (t *Tx) End() {
	t.close(true)
	switch {
	case t.landed != nil:
		t.number.LandIn(t.r, *t.landed)
	case t.number != nil:
		t.number.GiveUp()
	}
	t.release()
}

func (t *Tx) close(failed bool) {
	if t.pack != nil {
		t.pack.Abort()
	}
	if t.clear != nil {
		t.clear(failed)
	}
	if t.fresh != nil {
		if err := t.fresh.Discard(); err != nil {
			t.folder.Log.Warn("a temporary repository could not be removed", "kind", t.r.Kind, "name", t.r.Name, "err", err)
		}
	}
	t.dir, t.fresh, t.pack, t.there, t.clear, t.Keep = "", nil, nil, nil, nil, ""
}

// Move is one ref's part in a change: from old, where zero means that there is
// none, to new, where zero deletes it.
type Move struct {
	ref      string
	old, new plumbing.Hash
	order    order
	step     string
	event    *dm.Event // what the fact means to others; nil for nothing
}

type order int

const (
	fact order = iota
	beforeFact
	afterFact
	together
)

// Moved is the move that makes a change a fact. step is called after it.
func Moved(ref string, old, new plumbing.Hash, step string) Move {
	return Move{ref: ref, old: old, new: new, order: fact, step: step}
}

// Means returns m with what it means to others, under the number of Tx.Seq.
func (m Move) Means(e dm.Event) Move {
	m.event = &e
	return m
}

// Before is a move that must be durable before the fact. step is called after
// the last of them.
func Before(ref string, old, new plumbing.Hash, step string) Move {
	return Move{ref: ref, old: old, new: new, order: beforeFact, step: step}
}

// Together are moves that are made all at once, in repositories whose refs are moved in
// no other way. step is called after them.
func Together(refs Refs, step string) (moves []Move) {
	for ref, h := range refs {
		moves = append(moves, Move{ref: ref, new: h, order: together, step: step})
	}
	return moves
}

// Derived is a move that follows from the fact.
func Derived(ref string, old, new plumbing.Hash, step string) Move {
	return Move{ref: ref, old: old, new: new, order: afterFact, step: step}
}

// Update is a compare-and-set of one ref; a zero old means that the ref must
// not exist, a zero new deletes it.
func Update(ref string, old, new plumbing.Hash) gitcmd.RefUpdate {
	u := gitcmd.RefUpdate{Ref: ref}
	if !old.IsZero() {
		u.Old = old.String()
	}
	if !new.IsZero() {
		u.New = new.String()
	}
	return u
}
