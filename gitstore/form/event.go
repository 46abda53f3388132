package form

import dm "github.com/pndaproject/deployment-manager"

// PackageEvent is that of a version, or of an id that can't be one.
func PackageEvent(id string, p dm.Phase, information string, stamp dm.Stamp) dm.Event {
	return dm.Event{Kind: dm.PackageEvent, ID: id, State: p, Information: information, Stamp: stamp}
}

// Event is that of the change, or of its outcome.
func (c Change) Event(stamp dm.Stamp) dm.Event {
	return dm.Event{
		Kind: dm.ApplicationEvent, ID: string(c.Spec.Name), State: dm.WorkingPhase(stamp.Verb, c.Spec.State), Owner: c.Spec.Owner, Stamp: stamp,
	}
}
