package gitstore

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
)

// A history that was written anew as a whole has no wrong parent and no wrong
// signature. What it can still contradict is the order of things: the server
// carries out one change after the other, from phase to phase, each with an
// outcome that comes after it, and pins what was deployed before.

// clockStep is how far a clock may be set back between two things that the
// server writes one after the other.
const clockStep = 10 * time.Minute

// after reports d when it is dated before something that it follows.
func (v *verifier) after(d told, before time.Time, what string) {
	if back := before.Sub(d.stamp.Time); back > clockStep && !d.stamp.Time.IsZero() {
		v.problem("%s is dated %s before %s, which it follows", d.what, back.Round(time.Second), what)
	}
}

// called compares the first line of a message with the one that the server
// writes.
func (v *verifier) called(d told, message, want string) {
	if subject, _, _ := strings.Cut(message, "\n"); subject != dm.OneLine(want) {
		v.problem("%s is called %q, its trailers say %q", d.what, subject, dm.OneLine(want))
	}
}

// past reports d when its time has not come yet.
func (v *verifier) past(d told) {
	if ahead := d.stamp.Time.Sub(v.s.Clock()); ahead > clockStep {
		v.problem("%s is dated %s from now", d.what, ahead.Round(time.Second))
	}
}

// life is what verify knows of an application while it goes along its changes.
type life struct {
	v         *verifier
	changes   []told
	contents  []contentEntry
	commits   []*object.Commit
	outcomes  map[string][]outcomeLine // by the change that they are of, in their order
	phase     dm.Phase                 // that the outcomes until here lead to
	effective dm.Revision
	deployed  int
	said      string // information of the last outcome
	last      told   // outcome
}

// order checks the changes of an application and their outcomes one after the
// other, as the server carried them out.
func (v *verifier) order(main, observed []*object.Commit) {
	l := &life{v: v, commits: main, outcomes: map[string][]outcomeLine{}, phase: dm.NotCreated}
	place := map[string]int{}
	for i, c := range main {
		place[c.Hash.String()] = i
	}
	newest := 0
	for _, c := range observed {
		o, err := readOutcome(v.objects, c)
		if err != nil {
			return // told before
		}
		i, ok := place[string(o.Desired)]
		if !ok {
			return // told before
		}
		if i < newest {
			v.problem("outcome %s is of commit %s, which stands before that of the outcome before it", c.Hash, o.Desired)
			return
		}
		newest = i
		l.outcomes[string(o.Desired)] = append(l.outcomes[string(o.Desired)], o)
	}
	for i, c := range main {
		content, stamp, err := readContent(v.objects, c.Hash)
		if err != nil {
			return // told before
		}
		l.changes = append(l.changes, told{"commit " + c.Hash.String(), parseTrailers(c.Message), stamp})
		l.contents = append(l.contents, content)
		l.change(i)
		for _, o := range l.outcomes[c.Hash.String()] {
			l.outcome(i, o)
		}
	}
}

// overtakes tells whether change i came in the place of the one before.
func (l *life) overtakes(i int) bool { return i > 0 && l.changes[i].t[trailerOvertakes] != "" }

// legal are the phases in which the server takes a change.
var legal = map[dm.Verb][]dm.Phase{
	dm.Create: {dm.NotCreated}, dm.Start: {dm.Created}, dm.Stop: {dm.Started},
	dm.Change: {dm.Created, dm.Started}, dm.Rollback: {dm.Created, dm.Started}, dm.Destroy: {dm.Created, dm.Started},
}

// change checks one change against what was before it.
func (l *life) change(i int) {
	v, d, content := l.v, l.changes[i], l.contents[i]
	v.past(d)
	if i > 0 {
		v.after(d, l.changes[i-1].stamp.Time, l.changes[i-1].what)
	}
	if slices.Contains(changeVerbs[:], d.stamp.Verb) {
		v.called(d, l.commits[i].Message, changeSubject(content.spec, d.stamp.Verb))
	}
	if want, ok := map[dm.Verb]dm.WantedState{dm.Start: dm.WantStarted, dm.Stop: dm.WantCreated, dm.Destroy: dm.WantDestroyed}[d.stamp.Verb]; ok {
		if content.spec.State != want {
			v.problem("%s has the state %q in %s, a %s leads to %q", d.what, content.spec.State, specFile, d.stamp.Verb, want)
		}
		l.keeps(i)
	} else {
		v.pinned(d, content, l.contents[:i])
	}
	if l.overtakes(i) {
		return // judged by what it came in the place of
	}
	if l.last.what != "" {
		v.after(d, l.last.stamp.Time, l.last.what)
	}
	cleared := d.stamp.Verb == dm.Destroy && l.phase == dm.NotCreated && l.said != ""
	if phases, ok := legal[d.stamp.Verb]; ok && !slices.Contains(phases, l.phase) && !cleared {
		v.problem("%s is a %s of what is %s", d.what, d.stamp.Verb, l.phase)
	}
}

// keeps checks that a start, a stop or a destroy changed the state alone.
func (l *life) keeps(i int) {
	if i == 0 {
		return
	}
	before := l.contents[i-1]
	if !l.overtakes(i) && l.effective != "" {
		at := slices.IndexFunc(l.contents[:i], func(c contentEntry) bool { return c.commit.String() == string(l.effective) })
		if at < 0 {
			return // told before
		}
		before = l.contents[at]
	}
	now := &l.contents[i]
	if now.deployment == 0 { // before format 3
		now.deployment = before.deployment
	}
	if now.deployment != before.deployment {
		l.v.problem("%s is of deployment %d, a %s keeps %d", l.changes[i].what, now.deployment, l.changes[i].stamp.Verb, before.deployment)
	}
	wanted := before.spec
	wanted.State = now.spec.State
	same, err := applicationFile(wanted)
	is, err2 := applicationFile(now.spec)
	if err != nil || err2 != nil || !bytes.Equal(same, is) || l.below(*now) != l.below(before) {
		l.v.problem("%s has other content than commit %s, and a %s keeps it", l.changes[i].what, before.commit, l.changes[i].stamp.Verb)
	}
}

// below names the trees beside application.json.
func (l *life) below(c contentEntry) [2]plumbing.Hash {
	components, err := l.v.objects.Entry(c.tree, componentsTree)
	if err != nil {
		return [2]plumbing.Hash{c.packageTree}
	}
	return [2]plumbing.Hash{c.packageTree, components.Hash}
}

// outcome checks one outcome against its change and what was before it.
func (l *life) outcome(i int, o outcomeLine) {
	v, change := l.v, l.changes[i]
	d := told{what: "outcome " + o.commit.String(), stamp: dm.Stamp{Time: o.Time}}
	v.past(d)
	v.after(d, change.stamp.Time, change.what)
	if l.last.what != "" {
		v.after(d, l.last.stamp.Time, l.last.what)
	}
	content := l.contents[i]
	switch done := o.Effective == o.Desired; {
	case done && o.Phase != content.spec.State.Settled():
		v.problem("%s ends %s, a %s to %q ends %s", d.what, o.Phase, change.stamp.Verb, content.spec.State, content.spec.State.Settled())
	case done && o.Deployment != content.deployment, o.Effective == "" && o.Deployment != 0:
		v.problem("%s is of deployment %d, its change is of %d", d.what, o.Deployment, content.deployment)
	case done || o.Effective == "" && o.Phase == dm.NotCreated:
	case o.Effective != l.effective || o.Deployment != l.deployed:
		v.problem("%s puts back commit %.40q as deployment %d, before it were %.40q and %d", d.what, o.Effective, o.Deployment, l.effective, l.deployed)
	case o.Phase != l.phase:
		v.problem("%s ends %s, what failed leaves it %s", d.what, o.Phase, l.phase)
	}
	l.phase, l.effective, l.deployed, l.said, l.last = o.Phase, o.Effective, o.Deployment, o.Information, d
}
