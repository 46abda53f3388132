package gitstore

import (
	"context"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/receive"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Main implements receive.Record.
func (p pushed) Main(app dm.ApplicationName) plumbing.Hash {
	if e := p.s.index.Application(app); e != nil {
		return e.Main
	}
	return plumbing.ZeroHash
}

// Decide implements receive.Record.
func (p pushed) Decide(ctx context.Context, actor dm.Actor, ref dm.PushedRef, spec dm.Spec) (dm.PushOutcome, error) {
	e := p.s.index.Application(spec.Name)
	if e == nil {
		e = &index.Application{}
	}
	verb, w, err := p.s.decide(ctx, actor, e, ref, spec)
	defer w.room.End()
	if err == nil {
		err = p.s.probe(ctx, e, w, p.s.stamp(ctx, actor, verb)) // Propose doesn't: it has the lock, and comes after this
	}
	if err != nil {
		return dm.PushOutcome{}, err
	}
	return outcomeOf(spec.Name, verb, w), nil
}

// Propose implements receive.Record.
func (p pushed) Propose(ctx context.Context, actor dm.Actor, ref dm.PushedRef, spec dm.Spec, copy func(*pack.Writer) error) (dm.PushOutcome, error) {
	const op = "gitstore.Propose"
	if err := p.s.index.Reserve(spec.Name, p.s.service.AwayOf(dm.ApplicationRepository)); err != nil {
		return dm.PushOutcome{}, err
	}
	defer p.s.index.Release(spec.Name)
	var outcome dm.PushOutcome
	err := p.s.change(op, spec.Name, func(tx *repo.Tx, e *index.Application) error {
		verb, w, err := p.s.decide(ctx, actor, e, ref, spec)
		defer w.room.End()
		if err != nil {
			return err
		}
		outcome = outcomeOf(spec.Name, verb, w)
		return p.s.desire(ctx, tx, e, w, p.s.stamp(ctx, actor, verb), &pushedParent{commit: plumbing.NewHash(string(ref.New)), copy: copy})
	})
	return outcome, err
}

// outcomeOf tells of an admitted change in words.
func outcomeOf(app dm.ApplicationName, verb dm.Verb, w wanted) dm.PushOutcome {
	note := form.ChangeSubject(w.change.Spec, verb)
	if w.fresh != nil {
		note += fmt.Sprintf(" (deployment %d)", w.change.Deployment)
	}
	return dm.PushOutcome{Changed: true, Application: app, Ref: repo.Main, Notes: append([]string{note}, w.notes...)}
}

// decide finds out which change spec asks for in the present state, and admits
// it.
func (s *Store) decide(ctx context.Context, actor dm.Actor, e *index.Application, ref dm.PushedRef, spec dm.Spec) (dm.Verb, wanted, error) {
	const op = "gitstore.decide"
	app := spec.Name
	if old := plumbing.NewHash(string(ref.Old)); old != e.Main {
		return "", wanted{}, receive.Behind(op, app)
	}
	switch phase := e.Phase(); {
	case phase.Working() && !e.Waits():
		return "", wanted{}, index.WrongPhase(op, app, phase)
	case phase == dm.NotCreated && spec.State != dm.WantDestroyed:
		w, err := s.decideCreate(ctx, actor, e, spec)
		return dm.Create, w, err
	case phase == dm.NotCreated && !e.Recorded():
		return "", wanted{}, index.WrongPhase(op, app, phase)
	}
	now := e.Current().Spec
	edit, changed := receive.CompareSpecs(now, &spec)
	var findings []dm.Finding
	if spec.Owner != now.Owner {
		findings = append(findings, dm.Finding{Path: form.SpecFile, Message: fmt.Sprintf("owner is %q and is immutable", now.Owner)})
	}
	if spec.Team != "" && spec.Team != now.Team {
		findings = append(findings, dm.Finding{Path: form.SpecFile, Message: fmt.Sprintf("team is %q and is immutable", now.Team)})
	}
	if spec.State == dm.WantDestroyed && changed {
		findings = append(findings, dm.Finding{Path: form.SpecFile, Message: "state is destroyed, so nothing else may change"})
	}
	if len(findings) > 0 {
		return "", wanted{}, dm.Refuse(op, fmt.Sprintf("the change of %s is refused", app), findings)
	}
	return s.decideChange(ctx, actor, e, spec, now.State, edit, changed)
}

// decideCreate admits a create, and the start that may be wanted with it.
func (s *Store) decideCreate(ctx context.Context, actor dm.Actor, e *index.Application, spec dm.Spec) (wanted, error) {
	const op = "gitstore.decideCreate"
	var findings []dm.Finding
	if spec.Package == (dm.PackageRef{}) {
		findings = append(findings, dm.Finding{Path: form.SpecFile, Message: "package is missing"})
	}
	if spec.Owner != "" && spec.Owner != actor.User {
		findings = append(findings, dm.Finding{Path: form.SpecFile, Message: fmt.Sprintf("owner is %q, must be you, %q", spec.Owner, actor.User)})
	}
	if len(findings) > 0 {
		return wanted{}, dm.Refuse(op, fmt.Sprintf("the application %s cannot be created", spec.Name), findings)
	}
	if spec.State == "" {
		spec.State = dm.WantCreated
	}
	w, err := s.admitCreate(ctx, actor, e, spec)
	if err == nil && spec.State == dm.WantStarted {
		err = s.admitVerb(ctx, actor, dm.Start, w.change.Spec)
	}
	return w, err
}

// decideChange admits a change of content, of state, or of both.
func (s *Store) decideChange(ctx context.Context, actor dm.Actor, e *index.Application, spec dm.Spec, state dm.WantedState, edit dm.Edit, changed bool) (dm.Verb, wanted, error) {
	const op = "gitstore.decideChange"
	turn := map[dm.WantedState]stateChange{
		dm.WantStarted:   {dm.Start, dm.WantStarted, []dm.Phase{dm.Created}},
		dm.WantCreated:   {dm.Stop, dm.WantCreated, []dm.Phase{dm.Started}},
		dm.WantDestroyed: {dm.Destroy, dm.WantDestroyed, []dm.Phase{dm.Created, dm.Started, dm.NotCreated}},
	}[spec.State]
	if !changed && spec.State != state {
		w, err := s.admitState(ctx, actor, e, spec.Name, turn)
		return turn.verb, w, err
	}
	if !changed && e.Desired.Commit == e.Current().Commit {
		return "", wanted{}, dm.Errorf(dm.Invalid, op, "%s changes nothing", form.SpecFile).
			WithHint("a push changes package, overrides, audience and state in %s; all other files are written by the server", form.SpecFile)
	}
	w, err := s.admitChange(ctx, actor, e, spec.Name, edit, spec.State)
	if err == nil && spec.State != state {
		err = s.admitVerb(ctx, actor, turn.verb, w.change.Spec)
	}
	return dm.Change, w, err
}

// admitVerb asks admission for a second verb of one change.
func (s *Store) admitVerb(ctx context.Context, actor dm.Actor, verb dm.Verb, spec dm.Spec) error {
	_, err := s.Admission.Admit(ctx, dm.AdmissionRequest{
		Actor: actor, Verb: verb, Application: spec.Name, ApplicationOwner: spec.Owner, Package: spec.Package,
	})
	return err
}
