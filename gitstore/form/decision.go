package form

import (
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Decision is how a deploy or an undeploy of a version ended: a commit on
// refs/deployed/<x.y.z> whose tree is the package's files.
type Decision struct {
	dm.Stamp
	Package     dm.PackageRef
	Phase       dm.Phase
	Information string        // as it is written: Encode fills in that of a deploy that succeeded
	Tree        plumbing.Hash // repo.EmptyTree of a version that is not there
	Before      plumbing.Hash // zero for the first

	Commit plumbing.Hash // its name, which Encode fills in
}

// Encode adds the commit to w.
func (d *Decision) Encode(w repo.Adder) (err error) {
	subject := "Fail to deploy "
	switch {
	case d.Verb == dm.Undeploy:
		subject = "Undeploy "
	case d.Phase == dm.Deployed:
		subject = "Deploy "
		// PNDA writes microseconds and no zone here; clients show it as it is.
		d.Information = fmt.Sprintf("Deployed %s at %s", d.Package, d.Time.UTC().Format("2006-01-02T15:04:05.000000"))
	}
	d.Information = dm.Printable(d.Information)
	if d.Tree == repo.EmptyTree { // nobody else has written it
		if _, err := w.Add(plumbing.TreeObject, nil); err != nil {
			return err
		}
	}
	message := append(stampTrailers(d.Stamp), trailers{
		{trailerPackage, d.Package.String()}, {trailerPhase, string(d.Phase)}, {trailerInformation, d.Information},
	}...).message(subject + d.Package.String())
	d.Commit, err = AddCommit(w, person(d.Stamp), d.Tree, message, d.Before)
	return err
}

// DecodeDecision is the inverse of Encode.
func DecodeDecision(c *object.Commit) Decision {
	said := ParseTrailers(c.Message)
	d := Decision{
		Stamp: parseStamp(said, c.Author), Phase: dm.Phase(said[trailerPhase]), Information: said[trailerInformation],
		Tree: c.TreeHash, Before: ParentOf(c), Commit: c.Hash,
	}
	d.Package, _ = dm.ParsePackageRef(said[trailerPackage]) // zero when damaged; verify tells
	return d
}

// Owner is who deployed what is deployed.
func (d *Decision) Owner() dm.UserName {
	if d.Phase != dm.Deployed {
		return ""
	}
	return d.User
}
