package workspace

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// State is what a workspace holds at some point of its chain.
type State struct {
	main    plumbing.Hash
	tree    plumbing.Hash // of main
	Entries []object.TreeEntry
	apps    map[dm.ApplicationName]plumbing.Hash // tips of refs/heads/apps/<app>
}

// Folder is the tree that main has for an application.
func (st *State) Folder(app dm.ApplicationName) plumbing.Hash {
	for _, e := range st.Entries {
		if e.Name == string(app) && e.Mode == filemode.Dir {
			return e.Hash
		}
	}
	return plumbing.ZeroHash
}

// Read reads the state of the workspace in dir, whose refs are heads.
func Read(dir string, heads repo.Refs) (*State, error) {
	if heads[repo.Main].IsZero() {
		return nil, repo.Broken(repo.Main, "it is missing")
	}
	st, err := readMain(repo.Open(dir), heads[repo.Main])
	if err != nil {
		return nil, err
	}
	for ref, h := range heads {
		if app, ok := strings.CutPrefix(ref, repo.AppBranchPrefix); ok {
			st.apps[dm.ApplicationName(app)] = h
		}
	}
	return st, nil
}

func readMain(objects *repo.Objects, main plumbing.Hash) (*State, error) {
	c, err := objects.Commit(main)
	if err != nil {
		return nil, err
	}
	t, err := objects.Tree(c.TreeHash)
	if err != nil {
		return nil, err
	}
	return &State{main: main, tree: c.TreeHash, Entries: t.Entries, apps: map[dm.ApplicationName]plumbing.Hash{}}, nil
}

// refs are those of a workspace in this state.
func (st *State) refs() repo.Refs {
	all := repo.Refs{repo.Main: st.main}
	for app, tip := range st.apps {
		all[repo.App(app)] = tip
	}
	return all
}

// take writes into w what brings the folder of an application to what a step says, and
// goes on from there; gone takes the folder away. Nothing is written when it is so.
func (st *State) take(w repo.Adder, s *step, gone bool) (changed bool, err error) {
	folder, d := plumbing.ZeroHash, s.Delivery
	if d.Removed = gone; !gone {
		if folder, err = s.folder(w); err != nil {
			return false, err
		}
	}
	if st.Folder(s.Application) == folder {
		return false, nil
	}
	entry := object.TreeEntry{Name: string(s.Application), Mode: filemode.Dir, Hash: folder}
	var branch []object.TreeEntry
	entries := slices.DeleteFunc(slices.Clone(st.Entries), func(e object.TreeEntry) bool { return e.Name == entry.Name })
	if !gone {
		branch, entries = append(branch, entry), append(entries, entry)
	}
	if err = s.commit(w, &d, branch, st.apps[s.Application]); err != nil {
		return false, err
	}
	st.apps[s.Application] = d.Commit
	if err = s.commit(w, &d, entries, st.main); err != nil {
		return false, err
	}
	st.main, st.tree, st.Entries = d.Commit, d.Tree, entries
	return true, nil
}

// commit writes a tree of entries and the commit on it.
func (*step) commit(w repo.Adder, d *form.Delivery, entries []object.TreeEntry, before plumbing.Hash) (err error) {
	top := repo.NewTree()
	for _, e := range entries {
		top.Set(e.Name, e.Mode, repo.Known(e.Hash))
	}
	if d.Tree, err = top.Write(w); err != nil {
		return err
	}
	d.Before = before
	return d.Encode(w)
}

// folder is the tree of the application's folder: the component's own tree, or
// one that has a sub-folder for each component.
func (s *step) folder(w repo.Adder) (plumbing.Hash, error) {
	if whole, ok := s.parts[""]; ok {
		return whole, nil
	}
	b := repo.NewTree()
	for sub, tree := range s.parts {
		b.Set(sub, filemode.Dir, repo.Known(tree))
	}
	return b.Write(w)
}

// past is the record: all that a chain is made from.
type past interface {
	// changedSince are the applications that have steps above seq, in byte order.
	changedSince(seq uint64) []dm.ApplicationName
	// reaching are those that may have something for the user at seq, likewise.
	reaching(u dm.UserName, groups []string, seq uint64) []dm.ApplicationName
	// timelineOf is that of an application from seq on, without steps when there is none.
	timelineOf(app dm.ApplicationName, seq uint64) (*timeline, error)
}

// writer is where a chain goes: its objects, and what is in its folders.
type writer interface {
	repo.Adder
	needs(s *step) // the contents of a step, after it was taken
}

// follow brings a state from after to seq, as a user whom mark describes.
func (st *State) follow(w writer, p past, u dm.UserName, mark form.Mark, after, seq uint64) error {
	var due []*step
	for _, app := range p.changedSince(after) {
		if slices.Contains(mark.Without, app) {
			continue
		}
		t, err := p.timelineOf(app, after)
		if err != nil {
			return err
		}
		due = append(due, t.between(after, seq)...)
	}
	slices.SortStableFunc(due, func(a, b *step) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.Application, b.Application))
	})
	for _, s := range due {
		if err := st.settle(w, u, mark.Groups, s); err != nil {
			return err
		}
	}
	return nil
}

// settle brings one folder to what a step gives the user: its files, or nothing.
func (st *State) settle(w writer, u dm.UserName, groups []string, s *step) error {
	reached := s.reaches(u, groups)
	changed, err := st.take(w, s, !reached)
	if err == nil && changed && reached {
		w.needs(s)
	}
	return err
}

// look brings a state to all that is in effect at a mark, whatever was before.
func (st *State) look(w writer, p past, u dm.UserName, mark form.Mark) error {
	apps := p.reaching(u, mark.Groups, mark.Seq)
	for _, e := range st.Entries {
		if e.Mode == filemode.Dir {
			apps = append(apps, dm.ApplicationName(e.Name))
		}
	}
	slices.Sort(apps)
	for _, app := range slices.Compact(apps) {
		if slices.Contains(mark.Without, app) {
			continue
		}
		t, err := p.timelineOf(app, mark.Seq)
		if err != nil {
			return err
		}
		if s := t.at(mark.Seq); s != nil {
			if err := st.settle(w, u, mark.Groups, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// replay makes the chain of a user again, from its beginning on.
func (st *State) replay(w writer, p past, u dm.UserName, b form.Brought) error {
	for i, mark := range b.Marks {
		if err := st.look(w, p, u, mark); err != nil {
			return err
		}
		until := b.Seq
		if i+1 < len(b.Marks) {
			until = b.Marks[i+1].Seq
		}
		if err := st.follow(w, p, u, mark, mark.Seq, until); err != nil {
			return err
		}
	}
	return nil
}

// clone is a copy that may go on.
func (st *State) clone() *State {
	next := *st
	if next.apps = maps.Clone(st.apps); next.apps == nil {
		next.apps = map[dm.ApplicationName]plumbing.Hash{}
	}
	return &next
}
