package gitstore

import (
	"slices"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/index"
)

// idle checks that the application is in one of the legal phases.
func idle(op string, app dm.ApplicationName, e *index.Application, legal ...dm.Phase) error {
	if p := e.Phase(); !slices.Contains(legal, p) {
		return wrongPhase(op, app, p)
	}
	return nil
}

// takes is idle for the changes that also come in the place of one that waits:
// they are judged by the phase that it would lead to.
func takes(op string, app dm.ApplicationName, e *index.Application, legal ...dm.Phase) error {
	if e.Waits() && slices.Contains(legal, e.Desired.Spec.State.Settled()) {
		return nil
	}
	return idle(op, app, e, legal...)
}

func wrongPhase(op string, app dm.ApplicationName, p dm.Phase) error {
	if p == dm.NotCreated {
		return dm.Errorf(dm.NotFound, op, "the application %s is %s", app, p).In(p)
	}
	return dm.Errorf(dm.Conflict, op, "the application %s is %s", app, p).In(p)
}
