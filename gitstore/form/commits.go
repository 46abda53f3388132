package form

import (
	"context"
	"slices"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// AddCommit writes a commit by author at author's time; the committer is the
// server. Zero parents are left out.
func AddCommit(w repo.Adder, author object.Signature, tree plumbing.Hash, message string, parents ...plumbing.Hash) (plumbing.Hash, error) {
	c := &object.Commit{Author: author, Committer: ServerSignature(author.When), Message: message, TreeHash: tree}
	for _, parent := range parents {
		if !parent.IsZero() {
			c.ParentHashes = append(c.ParentHashes, parent)
		}
	}
	return repo.AddObject(w, c)
}

// ParentOf is the commit before c in the record's histories; zero when c is the
// first. It is the first parent. Another one is what a push proposed: its message
// and its author say what its maker wanted them to say.
func ParentOf(c *object.Commit) plumbing.Hash {
	if len(c.ParentHashes) == 0 || c.ParentHashes[0] == beginning {
		return plumbing.ZeroHash
	}
	return c.ParentHashes[0]
}

// beginning is the commit that stands before the first one of an application
// that a push made, the same everywhere: without it the first parent of that
// would be the pushed commit, and git log --first-parent would take what
// anybody wrote for the record.
var beginning = plumbing.NewHash("5246304e47bfd518e9d0f1e86af790f78b6f0d94")

// addBeginning writes the commit called beginning.
func addBeginning(w repo.Adder) (plumbing.Hash, error) {
	tree, err := w.Add(plumbing.TreeObject, nil)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return AddCommit(w, ServerSignature(time.Unix(0, 0)), tree, "The record begins\n")
}

// addFile writes a JSON file and the tree that holds nothing else.
func addFile(w repo.Adder, name string, body []byte) (plumbing.Hash, error) {
	blob, err := w.Add(plumbing.BlobObject, append(body, '\n'))
	if err != nil {
		return plumbing.ZeroHash, err
	}
	top := repo.NewTree()
	top.Set(name, filemode.Regular, repo.Known(blob))
	return top.Write(w)
}

// person is the signature of who did what a stamp tells of.
func person(s dm.Stamp) object.Signature { return personSignature(s.User, s.Time) }

// addTag writes an annotated tag by the person of the stamp.
func addTag(w repo.Adder, by dm.Stamp, name, message string, target plumbing.Hash, kind plumbing.ObjectType) (plumbing.Hash, error) {
	return repo.AddObject(w, &object.Tag{Name: name, Tagger: person(by), Message: message, TargetType: kind, Target: target})
}

// Chain reads the record's commits from tip back to known, oldest first.
// reached tells whether known was met.
func Chain(ctx context.Context, objects *repo.Objects, tip, known plumbing.Hash) (list []*object.Commit, reached bool, err error) {
	for h := tip; h != known; {
		if h.IsZero() {
			slices.Reverse(list)
			return list, false, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, false, err
		}
		c, err := objects.Commit(h)
		if err != nil {
			return nil, false, err
		}
		list = append(list, c)
		h = ParentOf(c)
	}
	slices.Reverse(list)
	return list, true, nil
}
