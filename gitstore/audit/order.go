package audit

import (
	"bytes"
	"slices"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// A history that was written anew as a whole has no wrong parent and no wrong
// signature. What it can still contradict is the order of things: the server
// carries out one change after the other, from phase to phase, each with an
// outcome that comes after it, and pins what was deployed before.

// clockStep is how far a clock may be set back between two things that the
// server writes one after the other.
const clockStep = 10 * time.Minute

// after reports d when it is dated before something that it follows.
func (v *Verifier) after(d told, before time.Time, what string) {
	if back := before.Sub(d.Time); back > clockStep && !d.Time.IsZero() {
		v.problem("%s is dated %s before %s, which it follows", d.what, back.Round(time.Minute), what)
	}
}

// past reports d when its time has not come yet.
func (v *Verifier) past(d told) {
	if ahead := d.Time.Sub(v.Clock()); ahead > clockStep {
		v.problem("%s is dated %s from now", d.what, ahead.Round(time.Minute))
	}
}

// life is what verify knows of an application while it goes along its changes.
type life struct {
	v         *Verifier
	changes   []form.Change
	phase     dm.Phase // that the outcomes until here lead to
	effective dm.Revision
	deployed  int
	said      string // information of the last outcome
	last      told   // outcome
}

// order checks the changes of an application and their outcomes one after the
// other, as the server carried them out.
func (v *Verifier) order(main []form.Change, observed []form.Outcome) {
	l := &life{v: v, changes: main, phase: dm.NotCreated}
	for i, c := range main {
		l.change(i)
		for len(observed) > 0 && observed[0].Observation.Desired == repo.Revision(c.Commit) {
			l.outcome(i, observed[0])
			observed = observed[1:]
		}
	}
	if len(observed) > 0 {
		v.problem("outcome %s is of commit %s, which stands before that of the outcome before it", observed[0].Commit, observed[0].Observation.Desired)
	}
}

// told names a change in a report.
func (l *life) told(i int) told {
	return told{"commit " + l.changes[i].Commit.String(), l.changes[i].Stamp}
}

// overtakes tells whether change i came in the place of the one before.
func (l *life) overtakes(i int) bool { return i > 0 && !l.changes[i].Overtakes.IsZero() }

// legal are the phases in which the server takes a change.
var legal = map[dm.Verb][]dm.Phase{
	dm.Create: {dm.NotCreated}, dm.Start: {dm.Created}, dm.Stop: {dm.Started},
	dm.Change: {dm.Created, dm.Started}, dm.Rollback: {dm.Created, dm.Started}, dm.Destroy: {dm.Created, dm.Started},
}

// change checks one change against what was before it.
func (l *life) change(i int) {
	v, d, c := l.v, l.told(i), l.changes[i]
	v.past(d)
	if i > 0 {
		before := l.told(i - 1)
		v.after(d, before.Time, before.what)
	}
	if want, ok := map[dm.Verb]dm.WantedState{dm.Start: dm.WantStarted, dm.Stop: dm.WantCreated, dm.Destroy: dm.WantDestroyed}[d.Verb]; ok {
		if c.Spec.State != want {
			v.problem("%s has the state %q in %s, a %s leads to %q", d.what, c.Spec.State, form.SpecFile, d.Verb, want)
		}
		l.keeps(i)
	} else {
		v.pinned(d, c, l.changes[:i])
	}
	if l.overtakes(i) {
		return // judged by what it came in the place of
	}
	if l.last.what != "" {
		v.after(d, l.last.Time, l.last.what)
	}
	cleared := d.Verb == dm.Destroy && l.phase == dm.NotCreated && l.said != ""
	if phases, ok := legal[d.Verb]; ok && !slices.Contains(phases, l.phase) && !cleared {
		v.problem("%s is a %s of what is %s", d.what, d.Verb, l.phase)
	}
}

// keeps checks that a start, a stop or a destroy changed the state alone.
func (l *life) keeps(i int) {
	if i == 0 {
		return
	}
	before := l.changes[i-1]
	if !l.overtakes(i) && l.effective != "" {
		at := slices.IndexFunc(l.changes[:i], func(c form.Change) bool { return repo.Revision(c.Commit) == l.effective })
		if at < 0 {
			return // told before
		}
		before = l.changes[at]
	}
	now := &l.changes[i]
	if now.Deployment == 0 { // before format 3
		now.Deployment = before.Deployment
	}
	if now.Deployment != before.Deployment {
		l.v.problem("commit %s is of deployment %d, a %s keeps %d", now.Commit, now.Deployment, now.Verb, before.Deployment)
	}
	wanted := before.Spec
	wanted.State = now.Spec.State
	same, err := form.ApplicationFile(wanted)
	is, err2 := form.ApplicationFile(now.Spec)
	if err != nil || err2 != nil || !bytes.Equal(same, is) || now.Package != before.Package || now.Components != before.Components {
		l.v.problem("commit %s has other content than commit %s, and a %s keeps it", now.Commit, before.Commit, now.Verb)
	}
}

// outcome checks one outcome against its change and what was before it.
func (l *life) outcome(i int, of form.Outcome) {
	v, change, c, o := l.v, l.told(i), l.changes[i], of.Observation
	d := told{"outcome " + of.Commit.String(), of.Stamp}
	v.past(d)
	v.after(d, change.Time, change.what)
	if l.last.what != "" {
		v.after(d, l.last.Time, l.last.what)
	}
	switch done := o.Effective == o.Desired; {
	case done && o.Phase != c.Spec.State.Settled():
		v.problem("%s ends %s, a %s to %q ends %s", d.what, o.Phase, c.Verb, c.Spec.State, c.Spec.State.Settled())
	case done && o.Deployment != c.Deployment, o.Effective == "" && o.Deployment != 0:
		v.problem("%s is of deployment %d, its change is of %d", d.what, o.Deployment, c.Deployment)
	case done || o.Effective == "" && o.Phase == dm.NotCreated:
	case o.Effective != l.effective || o.Deployment != l.deployed:
		v.problem("%s puts back commit %.40q as deployment %d, before it were %.40q and %d", d.what, o.Effective, o.Deployment, l.effective, l.deployed)
	case o.Phase != l.phase:
		v.problem("%s ends %s, what failed leaves it %s", d.what, o.Phase, l.phase)
	}
	l.phase, l.effective, l.deployed, l.said, l.last = o.Phase, o.Effective, o.Deployment, o.Information, d
}
