package workspace

import (
	"crypto/sha1"
	"os"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// keptFrom is from how many bytes on the pack of one user is kept: nobody shares
// it, so only because writing it anew costs more than it saves.
const keptFrom = 16 << 20

// contents is what a delivery's folders are made of. Users get the objects of it
// that they lack, and never one of an earlier deployment. Those who lack the same
// get one pack, which is made when the first of them gets it and goes with the
// delivery: nothing of it stays in the application.
type contents struct {
	*repo.Origin
	names  map[plumbing.Hash]struct{}
	folder string                 // where packs for several users are made; "" when there is one user
	packs  map[[20]byte]pack.Pack // by the names of their objects
}

// openContents reads what the folders of h hold. The caller closes it.
func (ws *Workspaces) openContents(h *delivery, users int) (*contents, error) {
	c := &contents{names: map[plumbing.Hash]struct{}{}, packs: map[[20]byte]pack.Pack{}}
	var err error
	if c.Origin, err = repo.OpenOrigin(ws.Data.Path(repo.Application(h.Application))); err != nil {
		return nil, err
	}
	for _, tree := range h.parts {
		if err == nil {
			err = c.Below(tree, c.names)
		}
	}
	if err == nil && users > 1 {
		if c.folder, err = os.MkdirTemp(ws.Data.Temporary(), "delivery-*"); err == nil {
			err = os.MkdirAll(repo.PackDir(c.folder), 0o750)
		}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// close removes the packs; what can't be removed goes at the next start.
func (c *contents) close() {
	c.Close()
	if c.folder != "" {
		_ = os.RemoveAll(c.folder)
	}
}

// give brings into the repository of tx what it lacks of the contents.
func (ws *Workspaces) give(tx *repo.Tx, c *contents, why string) error {
	lacking, err := tx.Lacking(c.names)
	if err != nil || len(lacking) == 0 {
		return err
	}
	if c.folder == "" {
		w, err := tx.Objects()
		if err == nil {
			err = c.Copy(w, lacking)
		}
		if err == nil && w.Size() >= keptFrom {
			tx.Keep = why
		}
		return err
	}
	p, err := ws.shared(c, lacking, why)
	if err != nil {
		return err
	}
	return tx.Link(pack.Path(repo.PackDir(c.folder), p.Name))
}

// shared makes the pack of some of the contents, or finds it.
func (ws *Workspaces) shared(c *contents, names []plumbing.Hash, why string) (pack.Pack, error) {
	sum := sha1.New()
	for _, h := range names {
		sum.Write(h[:])
	}
	key := [20]byte(sum.Sum(nil))
	if p, ok := c.packs[key]; ok {
		return p, nil
	}
	w, err := ws.Data.NewPack(c.folder, nil)
	if err != nil {
		return pack.Pack{}, err
	}
	defer w.Abort()
	if err := c.Copy(w, names); err != nil {
		return pack.Pack{}, err
	}
	if w.Size() < repo.KeptFrom {
		why = ""
	}
	p, err := w.Commit(why)
	if err == nil {
		c.packs[key] = p
	}
	return p, err
}
