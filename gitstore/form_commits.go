package gitstore

import (
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// addCommit writes a commit by author at author's time; the committer is the
// server. Zero parents are left out.
func addCommit(w *pack.Writer, author object.Signature, tree plumbing.Hash, message string, parents ...plumbing.Hash) (plumbing.Hash, error) {
	c := &object.Commit{Author: author, Committer: serverSignature(author.When), Message: message, TreeHash: tree}
	for _, parent := range parents {
		if !parent.IsZero() {
			c.ParentHashes = append(c.ParentHashes, parent)
		}
	}
	return repo.AddObject(w, c)
}

// parentOf is the commit before c in the record's histories; zero when c is the
// first. It is the first parent. Another one is what a push proposed: its message
// and its author say what its maker wanted them to say.
func parentOf(c *object.Commit) plumbing.Hash {
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
func addBeginning(w *pack.Writer) (plumbing.Hash, error) {
	tree, err := w.Add(plumbing.TreeObject, nil)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return addCommit(w, serverSignature(time.Unix(0, 0)), tree, "The record begins\n")
}
