package workspace

import (
	"crypto/sha1"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// contents is what the folders of one step are made of. Users get the objects of it
// that they lack, and never one of an earlier deployment. Those who lack the same get
// links of one pack, which is made when the first of them asks.
type contents struct {
	of     *step
	names  map[plumbing.Hash]struct{}
	folder string                 // where its packs are; "" while there is none
	packs  map[[20]byte]pack.Pack // by the names of their objects
}

// portion is what one user lacks of contents.
type portion struct {
	*contents
	names []plumbing.Hash
}

// shelf keeps the contents that were asked for last: a class asks for the same.
type shelf struct {
	mu   sync.Mutex
	list []*contents // the newest last
}

// mostContents is how many are kept. What is not is made again, and who gets more than
// that at once gets them in one pack of their own.
const mostContents = 64

// give brings into the repository of tx what it lacks of the contents of steps: as links
// of packs, and what is small into its own pack, w.
func (ws *Workspaces) give(tx *repo.Tx, w *pack.Writer, steps []*step) error {
	if len(steps) == 0 {
		return nil
	}
	ws.contents.mu.Lock()
	defer ws.contents.mu.Unlock()
	portions, err := ws.portions(tx, steps)
	if err != nil {
		return err
	}
	for _, p := range portions {
		if err := ws.bringIn(tx, w, p, len(portions) <= mostContents); err != nil {
			ws.Service.Suspect(repo.Application(p.of.Application))
			return fmt.Errorf("content of %s: %w", p.of.Application, err)
		}
	}
	return nil
}

// portions looks once at what there is, and shares what is lacking among the steps.
func (ws *Workspaces) portions(tx *repo.Tx, steps []*step) (list []portion, err error) {
	all := map[plumbing.Hash]struct{}{}
	for _, s := range steps {
		c, err := ws.contentsOf(s)
		if err != nil {
			ws.Service.Suspect(repo.Application(s.Application))
			return nil, fmt.Errorf("content of %s: %w", s.Application, err)
		}
		list = append(list, portion{contents: c})
		for h := range c.names {
			all[h] = struct{}{}
		}
	}
	lacking, err := tx.Lacking(all)
	if err != nil {
		return nil, err
	}
	for _, h := range lacking { // in the order of their names
		for i := range list {
			if _, ok := list[i].contents.names[h]; ok {
				list[i].names = append(list[i].names, h)
				break
			}
		}
	}
	return list, nil
}

// contentsOf finds the contents of a step, or reads what they are.
func (ws *Workspaces) contentsOf(s *step) (*contents, error) {
	x := &ws.contents
	if i := slices.IndexFunc(x.list, func(c *contents) bool { return c.of == s }); i >= 0 {
		c := x.list[i]
		x.list = append(slices.Delete(x.list, i, i+1), c)
		return c, nil
	}
	c := &contents{of: s, names: map[plumbing.Hash]struct{}{}, packs: map[[20]byte]pack.Pack{}}
	objects := repo.Open(ws.Data.Path(repo.Application(s.Application)))
	for _, tree := range s.parts {
		if err := objects.Below(tree, c.names); err != nil {
			return nil, err
		}
	}
	x.list = append(x.list, c)
	ws.clear(mostContents)
	return c, nil
}

// clear removes the oldest contents beyond a number. The caller holds the shelf.
func (ws *Workspaces) clear(most int) {
	for x := &ws.contents; len(x.list) > most; x.list = append(x.list[:0:0], x.list[1:]...) {
		if x.list[0].folder == "" {
			continue
		}
		if err := os.RemoveAll(x.list[0].folder); err != nil { // it goes at the next start
			ws.Log.Warn("packs that were made for several users could not be removed", "err", err)
		}
	}
}

// Close removes what was made for several users. The caller has ended all other calls.
func (ws *Workspaces) Close() { ws.clear(0) }

// bringIn brings a portion into the repository of tx.
func (ws *Workspaces) bringIn(tx *repo.Tx, w *pack.Writer, p portion, share bool) error {
	if len(p.names) == 0 {
		return nil
	}
	sum := sha1.New()
	for _, h := range p.names {
		sum.Write(h[:])
	}
	key := [20]byte(sum.Sum(nil))
	if made, ok := p.packs[key]; ok && share {
		return tx.Link(pack.Path(repo.PackDir(p.folder), made.Name))
	}
	from, err := repo.OpenOrigin(ws.Data.Path(repo.Application(p.of.Application)))
	if err != nil {
		return err
	}
	defer from.Close()
	size, whole, err := from.Size(p.names)
	if err != nil {
		return err
	}
	if !share || whole && size < repo.KeptFrom {
		return from.Copy(w, p.names)
	}
	made, err := ws.packOf(p, from)
	if err != nil {
		return err
	}
	p.packs[key] = made
	return tx.Link(pack.Path(repo.PackDir(p.folder), made.Name))
}

// packOf makes the pack of a portion for all who lack the same.
func (ws *Workspaces) packOf(p portion, from *repo.Origin) (made pack.Pack, err error) {
	if p.folder == "" {
		if p.folder, err = os.MkdirTemp(ws.Data.Temporary(), "contents-*"); err == nil {
			err = os.MkdirAll(repo.PackDir(p.folder), 0o750)
		}
		if err != nil {
			return made, err
		}
	}
	w, err := ws.Data.NewPack(p.folder, nil)
	if err != nil {
		return made, err
	}
	defer w.Abort()
	if err := from.Copy(w, p.names); err != nil {
		return made, err
	}
	why := ""
	if w.Size() >= repo.KeptFrom {
		why = "content of " + string(p.of.Application)
	}
	return w.Commit(why)
}
