package index

import (
	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
)

// Bounds are the most there may be of what anybody can make and nobody can
// delete. They are looked at when something of a new name would come into being;
// what is there already goes on under every bound. Requests that are under way
// at the same moment may each pass.
type Bounds struct {
	Applications   int // names of applications in all, those of destroyed ones included
	ApplicationsOf int // the same of one owner
	Failures       int // outcomes of deploying versions that are not there, in all
	FailuresOf     int // the same of one user
	Workspaces     int // users who have a repository

	// Specs is the most bytes that the application.json of all applications have
	// together, which are kept in memory; one owner's have at most a quarter.
	Specs int64
}

// DefaultBounds are those of a server whose configuration names no others.
func DefaultBounds() Bounds {
	return Bounds{Applications: 100_000, ApplicationsOf: 10_000, Failures: 1000, FailuresOf: 100, Workspaces: 20_000, Specs: 256 << 20}
}

// RoomForApplication fails when a new name of an application is one too many.
func (b Bounds) RoomForApplication(x *Index, owner dm.UserName) error {
	const op = "index.Bounds"
	all, own := x.countApplications(owner)
	switch {
	case own >= b.ApplicationsOf:
		return dm.Errorf(dm.Conflict, op, "exceeded quota: %s has used %d names of applications", owner, own).In(dm.NotCreated).
			WithHint("reuse the name of a destroyed application, or ask an administrator to raise limits.applications_each")
	case all >= b.Applications:
		return dm.Errorf(dm.Conflict, op, "exceeded quota: %d names of applications have been used", all).In(dm.NotCreated).
			WithHint("reuse the name of a destroyed application, or ask an administrator to raise limits.applications")
	}
	return nil
}

// RoomForSpec fails when an application.json of an owner is too much for memory
// beside the others. The application's present one counts too: until the change
// is carried out both are kept.
func (b Bounds) RoomForSpec(x *Index, spec dm.Spec) error {
	const op = "index.Bounds"
	file, err := form.ApplicationFile(spec)
	if err != nil {
		return err
	}
	all, own := x.specBytes(spec.Owner)
	size := int64(len(file))
	switch {
	case own+size > b.Specs/4:
		return dm.Errorf(dm.Conflict, op, "the overrides and audiences of %s's applications would have %d bytes, at most %d are allowed", spec.Owner, own+size, b.Specs/4).
			WithHint("destroy an application, reduce its overrides, or ask an administrator to raise limits.specs")
	case all+size > b.Specs:
		return dm.Errorf(dm.Conflict, op, "the overrides and audiences of all applications would have %d bytes, at most %d are allowed", all+size, b.Specs).
			WithHint("destroy an application, reduce its overrides, or ask an administrator to raise limits.specs")
	}
	return nil
}

// RoomForFailure tells whether another failed deploy of what is not there may
// enter the record.
func (b Bounds) RoomForFailure(x *Index, by dm.UserName) bool {
	all, own := x.countFailures(by)
	return all < b.Failures && own < b.FailuresOf
}
