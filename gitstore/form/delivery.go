package form

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Delivery is one commit of a workspace: what a user gets of one change, or that
// it takes an application away. It is a function of the change, so the same
// history gives the same commits for every user and every time.
type Delivery struct {
	dm.Stamp    // of the change
	Application dm.ApplicationName
	Removed     bool
	Package     dm.PackageRef
	Deployment  int           // as the change has it
	Change      plumbing.Hash // on the application's main
	Tree        plumbing.Hash
	Before      plumbing.Hash // zero for the first on an application's branch

	Commit plumbing.Hash // its name, which Encode fills in
}

// DeliveryOf is what a change of an application says to those whom it reaches. It
// has no number: it follows from the change.
func DeliveryOf(app dm.ApplicationName, c Change) Delivery {
	c.Seq = 0
	return Delivery{Stamp: c.Stamp, Application: app, Package: c.Spec.Package, Deployment: c.Deployment, Change: c.Commit}
}

// Encode adds the commit to w.
func (d *Delivery) Encode(w repo.Adder) (err error) {
	subject := fmt.Sprintf("Deliver %s from %s", d.Application, d.Package)
	if d.Removed {
		subject = "Remove " + string(d.Application)
	}
	message := append(stampTrailers(d.Stamp), trailers{
		{trailerPackage, d.Package.String()}, {trailerDeployment, numberText(d.Deployment)}, {trailerDesired, d.Change.String()},
	}...).message(subject)
	d.Commit, err = AddCommit(w, person(d.Stamp), d.Tree, message, d.Before)
	return err
}

// DecodeDelivery is the inverse of Encode.
func DecodeDelivery(commit *object.Commit) Delivery {
	said := ParseTrailers(commit.Message)
	d := Delivery{
		Stamp: parseStamp(said, commit.Author), Change: plumbing.NewHash(said[trailerDesired]),
		Tree: commit.TreeHash, Before: ParentOf(commit), Commit: commit.Hash,
	}
	if words := strings.Fields(commit.Message); len(words) > 1 {
		d.Removed, d.Application = words[0] == "Remove", dm.ApplicationName(words[1])
	}
	// Zero when damaged; verify tells.
	d.Package, _ = dm.ParsePackageRef(said[trailerPackage])
	d.Deployment, _ = strconv.Atoi(said[trailerDeployment])
	return d
}
