package workspace

import (
	"fmt"
	"slices"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// count is how many users have a repository, as far as is known.
type count struct {
	mu    sync.Mutex
	known bool
	n     int
}

func (c *count) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

// Room fails when n users more are too many. It counts the folder
// once, and again whenever it would refuse.
func (ws *Workspaces) Room(n int) error {
	if n == 0 {
		return nil
	}
	c := &ws.people
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known || c.n+n > ws.Most {
		users, err := ws.Users() // with those whose repository a sweep took
		if err != nil {
			return err
		}
		c.known, c.n = true, len(users)
	}
	if c.n+n > ws.Most {
		return dm.Errorf(dm.Conflict, "workspace.Room", "exceeded quota: %d users have a repository, and %d more would exceed the limit of %d", c.n, n, ws.Most).
			WithHint("ask an administrator to raise limits.users")
	}
	return nil
}

// Users are those who have a workspace, or had one that a sweep took.
func (ws *Workspaces) Users() ([]dm.UserName, error) {
	names, err := ws.Data.Names(dm.WorkspaceRepository)
	if err != nil {
		return nil, repo.Failed("workspace.Users", err)
	}
	users := ws.sweeps.users()
	for _, n := range names {
		users = append(users, dm.UserName(n))
	}
	slices.Sort(users)
	return slices.Compact(users), nil
}

// Check proves that every ref of a workspace leads to a tree, and remembers how far
// it was brought.
func (ws *Workspaces) Check(u dm.UserName, heads repo.Refs) error {
	ws.users.Delete(u)
	dir := ws.Data.Path(repo.Workspace(u))
	if heads[repo.Main].IsZero() {
		return repo.Broken(repo.Main, "it is missing")
	}
	objects := repo.Open(dir)
	for ref, h := range heads {
		c, err := objects.Commit(h)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		t, err := objects.Tree(c.TreeHash)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		if err := checkFolders(objects, t); err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
	}
	b, err := readBrought(dir, heads)
	if err != nil {
		return err
	}
	if b.Fetched > 0 {
		ws.fetched.last.Store(u, fetch{b.Fetched, b.FetchedAt})
	}
	ws.users.Store(u, &user{brought: b, main: heads[repo.Main], seq: b.Seq})
	return nil
}

// checkFolders opens the tree of every application's folder.
func checkFolders(objects *repo.Objects, t *object.Tree) error {
	for _, e := range t.Entries {
		if e.Mode == filemode.Dir {
			if _, err := objects.Tree(e.Hash); err != nil {
				return err
			}
		}
	}
	return nil
}
