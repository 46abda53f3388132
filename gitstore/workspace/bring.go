package workspace

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// user is what is known of one who has a repository. It is immutable.
type user struct {
	brought form.Brought // as refs/brought/head has it; without marks for one of an earlier server
	main    plumbing.Hash
	seq     uint64 // main is what the record up to this event makes, at least brought.Seq

	// Who asked last in other groups than those of the last mark, and got nothing by it.
	asked    []string
	answered uint64 // with the record up to this event; 0 for nobody
}

// current tells whether main is what somebody in the groups gets, when the newest
// outcome is so.
func (x *user) current(groups []string, newest uint64) bool {
	if last := x.mark(); slices.Equal(groups, last.Groups) {
		return x.seq >= newest && len(last.Without) == 0
	}
	return x.answered > 0 && x.answered >= newest && slices.Equal(groups, x.asked)
}

func (x *user) mark() form.Mark { return x.brought.Last() }

// groups are those of a user as the one who asks now makes them known: a name alone
// adds to what a sign-in told, and takes nothing from it.
func groups(who dm.Reader, last form.Mark) (list []string, proved bool) {
	list = slices.Clone(who.Groups)
	if !who.Proved && last.Proved {
		list = append(list, last.Groups...)
	}
	slices.Sort(list)
	return slices.Compact(list), who.Proved || last.Proved
}

// Bring brings the workspace of u to what the record gives the one who asks, and
// returns the commit that its main is at and the directory that answers for it. The
// blank one answers for who has nothing, and for a name that nobody named.
func (ws *Workspaces) Bring(ctx context.Context, u dm.UserName, who dm.Reader) (dir string, main plumbing.Hash, err error) {
	newest := ws.Index.NewestOutcome()
	if x, ok := ws.users.Load(u); ok {
		x := x.(*user)
		if list, proved := groups(who, x.mark()); proved == x.mark().Proved && x.current(list, newest) {
			return ws.Data.Path(repo.Workspace(u)), x.main, nil
		}
	}
	main, err = ws.bring(ctx, u, who)
	if err != nil {
		return "", plumbing.ZeroHash, repo.Failed("workspace.Bring", ws.unable(u, err))
	}
	if main.IsZero() {
		return ws.blankDir(), ws.blank.main, nil
	}
	return ws.Data.Path(repo.Workspace(u)), main, nil
}

// unable has the workspace looked at that could not be brought up, and makes its
// user's 503 of the reason: whatever it is, it may be gone when they ask again.
func (ws *Workspaces) unable(u dm.UserName, err error) error {
	if dm.KindOf(err) == dm.Conflict || errors.Is(err, context.Canceled) {
		return err
	}
	if r := repo.Workspace(u); (repo.Proof(err) != nil || repo.Gone(err)) && repo.Exists(ws.Data.Path(r)) {
		ws.Service.Suspect(r)
	}
	ws.Log.Error("a workspace could not be brought up", "user", u, "err", err)
	return dm.Errorf(dm.Unavailable, "workspace.Bring", "the workspace of %s cannot be brought up to date at the moment", u).WithHint("try again").Because(err)
}

// chain is one bringing up of one workspace.
type chain struct {
	*State
	*drawing
	was   plumbing.Hash // main before
	next  form.Brought
	fresh bool // there is no repository yet
}

// drawing keeps what a chain writes in memory until it is known that it is written.
type drawing struct {
	objects []drawn
	given   []*step
}

type drawn struct {
	kind    plumbing.ObjectType
	content []byte
}

// Add implements repo.Adder.
func (d *drawing) Add(t plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	d.objects = append(d.objects, drawn{t, bytes.Clone(content)})
	return plumbing.ComputeHash(t, content), nil
}

func (d *drawing) needs(s *step) { d.given = append(d.given, s) }

// bring is Bring where something may have changed. main is zero for who has nothing.
func (ws *Workspaces) bring(ctx context.Context, u dm.UserName, who dm.Reader) (main plumbing.Hash, err error) {
	seq, err := ws.settled(ctx)
	if err != nil {
		return main, err
	}
	tx, err := ws.Data.Begin(repo.Workspace(u), "workspace")
	if err != nil {
		return main, err
	}
	defer tx.End()
	c, x, err := ws.begin(u, tx.Fresh())
	if err != nil {
		return main, err
	}
	if c.fresh && len(x.brought.Marks) == 0 && !who.Proved && !who.Known && !ws.named(u) {
		return main, nil
	}
	changed, err := ws.goOn(c, x, u, who, max(seq, x.seq))
	switch {
	case err != nil:
		return main, err
	case c.fresh && c.main == ws.blank.main:
		return main, nil
	case c.main == c.was && len(x.brought.Marks) > 0 && !(changed && who.Proved):
		// A mark that changes nothing waits for one that does, unless a sign-in tells it.
		y := *x
		if !changed {
			y.seq = max(seq, x.seq)
		} else if len(ws.away()) == 0 {
			y.asked, _ = groups(who, x.mark())
			y.answered = max(seq, x.seq)
		}
		ws.users.Store(u, &y)
		return c.main, nil
	}
	_, swept := ws.sweeps.of(u) // who had one counts all the time
	if c.fresh && !swept {
		if err := ws.Room(1); err != nil {
			return main, err
		}
	}
	if err := ws.land(ctx, tx, c, u); err != nil {
		return main, err
	}
	if c.fresh && !swept {
		ws.people.add()
	}
	ws.users.Store(u, &user{brought: c.next, main: c.main, seq: c.next.Seq})
	return c.main, nil
}

// named tells whether an application names the user among those whom it is for.
func (ws *Workspaces) named(u dm.UserName) bool {
	return len(ws.Index.Names(func(e *index.Application) bool {
		return !e.Effective.Commit.IsZero() && slices.Contains(e.Effective.Spec.Receivers(), dm.UserSubject(u))
	})) > 0
}

// begin reads where a workspace is, or where the one of a newcomer begins: at the
// blank one, or as it was when it was lost.
func (ws *Workspaces) begin(u dm.UserName, fresh bool) (*chain, *user, error) {
	c := &chain{drawing: &drawing{}, fresh: fresh}
	if fresh {
		if _, err := os.Stat(filepath.Dir(ws.Data.Path(repo.Workspace(u)))); err != nil {
			return nil, nil, err
		}
		b, ok := ws.earlier(u)
		if ok {
			if st, err := readMain(repo.Open(ws.blankDir()), b.Began); err == nil {
				if b.Fetched > 0 {
					ws.fetched.last.LoadOrStore(u, fetch{b.Fetched, b.FetchedAt})
				}
				c.State, c.was, c.next = st, b.Began, b
				err := c.replay(c, ws, u, b)
				return c, &user{brought: b, seq: b.Seq}, err
			}
			ws.Log.Error("a workspace that was lost begins anew, because its chain began with commits that are gone", "user", u)
		}
		c.State, c.was = ws.blank.clone(), ws.blank.main
		c.next.Began = ws.blank.main
		return c, &user{}, nil
	}
	dir := ws.Data.Path(repo.Workspace(u))
	heads, err := repo.ReadRefs(dir)
	if err != nil {
		return nil, nil, err
	}
	if c.State, err = Read(dir, heads); err != nil {
		return nil, nil, err
	}
	x := &user{main: c.main}
	if known, ok := ws.users.Load(u); ok {
		x = known.(*user)
	} else if x.brought, err = readBrought(dir, heads); err != nil {
		return nil, nil, err
	} else {
		x.seq = x.brought.Seq
	}
	c.was, c.next = c.main, x.brought
	if len(x.brought.Marks) == 0 {
		c.next.Began = c.main
	}
	return c, x, nil
}

// readBrought reads refs/brought/head; a workspace of an earlier server has none.
func readBrought(dir string, heads repo.Refs) (b form.Brought, err error) {
	if heads[repo.Brought].IsZero() {
		return b, nil
	}
	b, err = decodeBrought(dir, heads[repo.Brought])
	if err == nil && b.Main != heads[repo.Main] {
		err = repo.Broken(repo.Brought, "it brought main to %s, which is at %s", b.Main, heads[repo.Main])
	}
	return b, err
}

func decodeBrought(dir string, h plumbing.Hash) (b form.Brought, err error) {
	commit, err := repo.Open(dir).Commit(h)
	if err != nil {
		return b, err
	}
	return form.DecodeBrought(commit)
}

// earlier is how a workspace stood that is not there any more: a sweep has kept it, or
// what was set aside can still be read so far.
func (ws *Workspaces) earlier(u dm.UserName) (b form.Brought, ok bool) {
	w, _ := ws.sweeps.of(u)
	swept := w.Brought()
	r := repo.Workspace(u)
	dir := filepath.Join(ws.Service.DamagedDirOf(r.Kind), repo.EncodeName(r.Name)+".git")
	head, err := repo.ReadRef(dir, repo.Brought)
	if err == nil && !head.IsZero() {
		b, err = decodeBrought(dir, head)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		ws.Log.Warn("a damaged workspace does not say where it began", "user", u, "err", err)
	}
	if len(b.Marks) == 0 || b.Seq < swept.Seq { // the newer counts
		b = swept
	}
	return b, len(b.Marks) > 0
}

// goOn takes the chain from where x is to seq. A mark is made where the one who asks
// is in other groups, or other applications are out of service than at the last one.
// changed tells of a difference that only a mark would keep.
func (ws *Workspaces) goOn(c *chain, x *user, u dm.UserName, who dm.Reader, seq uint64) (changed bool, err error) {
	last := c.next.Last()
	list, proved := groups(who, last)
	away := ws.away()
	if len(c.next.Marks) > 0 {
		// Who left a group gets nothing that came since: it is as if they had told it then.
		stay := slices.DeleteFunc(slices.Clone(last.Groups), func(g string) bool { return !slices.Contains(list, g) })
		lost := slices.ContainsFunc(away, func(a dm.ApplicationName) bool { return !slices.Contains(last.Without, a) })
		if lost || len(stay) < len(last.Groups) {
			last = form.Mark{Seq: x.seq, Groups: stay, Proved: last.Proved, Without: last.Without}
			if lost {
				last.Without = away
			}
			if err := c.mark(ws, u, last); err != nil {
				return true, err
			}
			changed = true
		}
		if err := c.follow(c, ws, u, last, x.seq, seq); err != nil {
			return true, err
		}
	}
	if len(c.next.Marks) == 0 || proved != last.Proved || !slices.Equal(list, last.Groups) || !slices.Equal(away, last.Without) {
		changed = true
		if err := c.mark(ws, u, form.Mark{Seq: seq, Groups: list, Proved: proved, Without: away}); err != nil {
			return true, err
		}
	}
	c.next.Seq = seq
	if !slices.Equal(away, ws.away()) { // what went away meanwhile was passed over, and no mark says so
		return true, dm.Errorf(dm.Unavailable, "workspace.Bring", "an application went out of service")
	}
	return changed, nil
}

// mark adds a mark and looks at all that is in effect there.
func (c *chain) mark(p past, u dm.UserName, m form.Mark) error {
	c.next.Marks = append(slices.Clone(c.next.Marks), m)
	return c.look(c, p, u, m)
}

// land writes what a chain has become. All refs move at once.
func (ws *Workspaces) land(ctx context.Context, tx *repo.Tx, c *chain, u dm.UserName) error {
	if c.fresh {
		if err := ws.linkBlank(tx); err != nil {
			return err
		}
	}
	w, err := tx.Objects()
	if err != nil {
		return err
	}
	if err := ws.give(tx, w, c.given); err != nil {
		return err
	}
	c.next.Main, c.next.Tree, c.next.Time = c.State.main, c.tree, ws.Clock().UTC()
	c.next.Fetched, c.next.FetchedAt = ws.fetched.of(u)
	if err := c.next.Encode(c); err != nil {
		return err
	}
	if err := c.write(w); err != nil {
		return err
	}
	refs := c.refs()
	refs[repo.Brought] = c.next.Commit
	return tx.Land(context.WithoutCancel(ctx), repo.Together(refs, "workspace-moved")...) // what was done for it is not thrown away
}

// write adds what was drawn to a pack.
func (d *drawing) write(w *pack.Writer) error {
	for _, o := range d.objects {
		if _, err := w.Add(o.kind, o.content); err != nil {
			return err
		}
	}
	return nil
}
