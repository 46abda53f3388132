package index

import (
	"slices"

	dm "github.com/pndaproject/deployment-manager"
)

// Idle checks that the application is in one of the legal phases.
func Idle(op string, app dm.ApplicationName, e *Application, legal ...dm.Phase) error {
	if p := e.Phase(); !slices.Contains(legal, p) {
		return WrongPhase(op, app, p)
	}
	return nil
}

// Takes is Idle for the changes that also come in the place of one that waits:
// they are judged by the phase that it would lead to.
func Takes(op string, app dm.ApplicationName, e *Application, legal ...dm.Phase) error {
	if e.Waits() && slices.Contains(legal, e.Desired.Spec.State.Settled()) {
		return nil
	}
	return Idle(op, app, e, legal...)
}

// WrongPhase refuses what is not for an application in phase p.
func WrongPhase(op string, app dm.ApplicationName, p dm.Phase) error {
	if p == dm.NotCreated {
		return dm.Errorf(dm.NotFound, op, "the application %s is %s", app, p).In(p)
	}
	return dm.Errorf(dm.Conflict, op, "the application %s is %s", app, p).In(p)
}
