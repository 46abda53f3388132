package gitstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/gate"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// Create implements dm.ApplicationStore.
func (s *Store) Create(ctx context.Context, actor dm.Actor, spec dm.Spec) error {
	const op = "gitstore.Create"
	if err := s.index.Reserve(spec.Name, s.service.AwayOf(dm.ApplicationRepository)); err != nil {
		return err
	}
	defer s.index.Release(spec.Name)
	spec.State = dm.WantCreated
	return s.changeContent(ctx, op, spec.Name, s.stamp(ctx, actor, dm.Create), func(e *index.Application) (wanted, error) {
		return s.admitCreate(ctx, actor, e, spec)
	})
}

// admitCreate admits a first or a new life of an application. The actor becomes
// its owner.
func (s *Store) admitCreate(ctx context.Context, actor dm.Actor, e *index.Application, spec dm.Spec) (wanted, error) {
	if p := e.Phase(); p != dm.NotCreated {
		return wanted{}, index.WrongPhase("gitstore.Create", spec.Name, p)
	}
	src, err := s.deployedSource(spec.Package)
	if err != nil {
		return wanted{}, err
	}
	if e.Main.IsZero() {
		if err := s.Bounds.RoomForApplication(s.index, actor.User); err != nil {
			return wanted{}, err
		}
	}
	spec.Owner = actor.User
	audience := len(spec.Audience) > 0
	if !audience {
		spec.Audience = []dm.Subject{dm.UserSubject(actor.User)}
	}
	w, err := s.admitContent(ctx, actor, e, dm.Create, spec, src, audience)
	if err == nil {
		w.change.Spec.Team, err = s.teamOf(actor, spec)
	}
	if err != nil {
		w.room.End()
		return wanted{}, err
	}
	return w, nil
}

// teamOf is the team for which the work of an application runs. It stays when who
// created it changes groups.
func (s *Store) teamOf(actor dm.Actor, spec dm.Spec) (team string, err error) {
	if s.Config.Team != nil {
		team, err = s.Config.Team(actor)
	}
	if err == nil && spec.Team != "" && spec.Team != team {
		return "", dm.Refuse("gitstore.teamOf", fmt.Sprintf("the application %s cannot be created", spec.Name), []dm.Finding{{
			Path: form.SpecFile, Message: fmt.Sprintf("team is %.200q, but what you create runs for the team %q", spec.Team, team),
		}})
	}
	return team, err
}

// Change implements dm.ApplicationStore.
func (s *Store) Change(ctx context.Context, actor dm.Actor, app dm.ApplicationName, edit dm.Edit) error {
	const op = "gitstore.Change"
	return s.changeContent(ctx, op, app, s.stamp(ctx, actor, dm.Change), func(e *index.Application) (wanted, error) {
		return s.admitChange(ctx, actor, e, app, edit, e.Current().Spec.State)
	})
}

// admitChange admits other content for an application, and another state with
// it.
func (s *Store) admitChange(ctx context.Context, actor dm.Actor, e *index.Application, app dm.ApplicationName, edit dm.Edit, state dm.WantedState) (wanted, error) {
	if err := index.Takes("gitstore.Change", app, e, dm.Created, dm.Started); err != nil {
		return wanted{}, err
	}
	now := e.Current()
	spec := now.Spec
	spec.State = state
	src := source{dir: s.data.Path(repo.Application(app)), tree: now.Package}
	if edit.Package != nil && *edit.Package != spec.Package {
		var err error
		if src, err = s.deployedSource(*edit.Package); err != nil {
			return wanted{}, err
		}
		spec.Package = *edit.Package
	}
	if edit.Overrides != nil {
		spec.Overrides = edit.Overrides
	}
	if edit.Audience != nil {
		spec.Audience = edit.Audience
	}
	return s.admitContent(ctx, actor, e, dm.Change, spec, src, edit.Audience != nil)
}

// Rollback implements dm.ApplicationStore. The files of a deployment are pinned
// in the application's repository, so it does not matter what has become of the
// package since.
func (s *Store) Rollback(ctx context.Context, actor dm.Actor, app dm.ApplicationName, to int) error {
	const op = "gitstore.Rollback"
	return s.changeContent(ctx, op, app, s.stamp(ctx, actor, dm.Rollback), func(e *index.Application) (wanted, error) {
		if err := index.Idle(op, app, e, dm.Created, dm.Started); err != nil {
			return wanted{}, err
		}
		then, err := s.OfThisLife(ctx, op, app, e, to)
		if err != nil {
			return wanted{}, err
		}
		spec := e.Current().Spec
		spec.Package, spec.Overrides, spec.Audience = then.Spec.Package, then.Spec.Overrides, then.Spec.Audience
		src := source{dir: s.data.Path(repo.Application(app)), tree: then.Package}
		return s.admitContent(ctx, actor, e, dm.Rollback, spec, src, false)
	})
}

// Start implements dm.ApplicationStore.
func (s *Store) Start(ctx context.Context, actor dm.Actor, app dm.ApplicationName) error {
	return s.changeState(ctx, actor, app, stateChange{dm.Start, dm.WantStarted, []dm.Phase{dm.Created}})
}

// Stop implements dm.ApplicationStore.
func (s *Store) Stop(ctx context.Context, actor dm.Actor, app dm.ApplicationName) error {
	return s.changeState(ctx, actor, app, stateChange{dm.Stop, dm.WantCreated, []dm.Phase{dm.Started}})
}

// Destroy implements dm.ApplicationStore.
func (s *Store) Destroy(ctx context.Context, actor dm.Actor, app dm.ApplicationName, clear bool) error {
	legal := []dm.Phase{dm.Created, dm.Started}
	if e := s.index.Application(app); clear && e != nil && e.Recorded() {
		legal = append(legal, dm.NotCreated)
	}
	return s.changeState(ctx, actor, app, stateChange{dm.Destroy, dm.WantDestroyed, legal})
}

// stateChange is what start, stop and destroy are.
type stateChange struct {
	verb  dm.Verb
	want  dm.WantedState
	legal []dm.Phase
}

// changeState changes the state and keeps the content in effect.
func (s *Store) changeState(ctx context.Context, actor dm.Actor, app dm.ApplicationName, c stateChange) error {
	op := "gitstore." + string(c.verb)
	return s.change(op, app, func(tx *repo.Tx, e *index.Application) error {
		w, err := s.admitState(ctx, actor, e, app, c)
		if err != nil {
			return err
		}
		return s.desire(ctx, tx, e, w, s.stamp(ctx, actor, c.verb), nil)
	})
}

// admitState admits the content in effect in another state.
func (s *Store) admitState(ctx context.Context, actor dm.Actor, e *index.Application, app dm.ApplicationName, c stateChange) (wanted, error) {
	ready := index.Takes
	if c.verb == dm.Start {
		ready = index.Idle
	}
	if err := ready("gitstore."+string(c.verb), app, e, c.legal...); err != nil {
		return wanted{}, err
	}
	w := wanted{change: e.Current()}
	asked := dm.AdmissionRequest{
		Actor: actor, Verb: c.verb, Application: app, ApplicationOwner: w.change.Spec.Owner, Package: w.change.Spec.Package,
	}
	if _, err := s.Admission.Admit(ctx, asked); err != nil {
		return wanted{}, err
	}
	w.change.Spec.State = c.want
	if c.want == dm.WantDestroyed {
		w.change.Information = ""
	}
	return w, nil
}

// change runs do under the application's lock with its entry, which is an
// empty one when there is no repository yet.
func (s *Store) change(op string, app dm.ApplicationName, do func(*repo.Tx, *index.Application) error) error {
	tx, err := s.data.Begin(repo.Application(app), "desired")
	if err != nil {
		return err
	}
	defer tx.End()
	e := s.index.Application(app)
	if e == nil {
		e = &index.Application{}
	}
	return repo.Failed(op, do(tx, e))
}

// source tells where a package's tree stands.
type source struct {
	dir  string // repository
	tree plumbing.Hash
}

// deployedSource finds a package that is DEPLOYED and idle.
func (s *Store) deployedSource(ref dm.PackageRef) (source, error) {
	const op = "gitstore.deployedSource"
	r := repo.Package(ref.Name)
	if err := s.service.Sound(r); err != nil {
		return source{}, err
	}
	working, o := s.index.PackagePhase(ref)
	switch {
	case working != "":
		return source{}, dm.Errorf(dm.Conflict, op, "the package %s is %s", ref, working).In(working)
	case o.Phase != dm.Deployed:
		return source{}, dm.Errorf(dm.NotFound, op, "the package %s is %s", ref, dm.NotDeployed).In(dm.NotDeployed)
	}
	return source{dir: s.data.Path(r), tree: o.Tree}, nil
}

// wanted is an admitted change of an application: what main shall be next.
type wanted struct {
	change form.Change // what desire does not fill in
	notes  []string    // of the planner
	fresh  *newContent // nil when the content stays
	room   *gate.Room  // the memory that fresh takes; whoever gets a wanted ends it
}

// admitContent asks admission for other content. Overrides that name secrets are
// left out: what enters the record stays there.
func (s *Store) admitContent(ctx context.Context, actor dm.Actor, e *index.Application, verb dm.Verb, spec dm.Spec, src source, audience bool) (wanted, error) {
	open, secrets := spec.Overrides.WithoutSecrets()
	if len(secrets) > 0 {
		spec.Overrides = open
	}
	room, err := s.planning.Enter(ctx)
	if err != nil {
		return wanted{}, err
	}
	plan, err := s.Admission.Admit(ctx, dm.AdmissionRequest{
		Actor: actor, Verb: verb, Application: spec.Name, ApplicationOwner: spec.Owner, Package: spec.Package,
		Spec: spec, Files: treefs.New(repo.Open(src.dir), src.tree), Audience: audience, Reserve: room.Reserve,
	})
	room.Leave()
	if err == nil {
		err = s.Bounds.RoomForSpec(s.index, spec)
	}
	if err != nil {
		room.End()
		return wanted{}, err
	}
	s.defaults.Put(src.tree, plan.Defaults)
	notes := plan.Notes
	if len(secrets) > 0 {
		notes = append(slices.Clip(notes), "left out, because secrets are not stored: "+strings.Join(dm.Few(secrets), ", "))
	}
	return wanted{
		change: form.Change{Package: src.tree, Spec: spec, Information: strings.Join(notes, "; "), Deployment: e.Deployments + 1},
		notes:  notes,
		fresh:  &newContent{plan: plan, from: src},
		room:   room,
	}, nil
}

// Application implements dm.ApplicationStore.
func (s *Store) Application(ctx context.Context, app dm.ApplicationName) (dm.Application, bool, error) {
	const op = "gitstore.Application"
	r := repo.Application(app)
	if err := s.service.Sound(r); err != nil {
		return dm.Application{}, false, err
	}
	e := s.index.Application(app)
	if e == nil || !e.Recorded() {
		return dm.Application{}, false, nil
	}
	now := e.Current()
	view := dm.Application{
		Spec: now.Spec, Phase: e.Phase(), Deployment: now.Deployment, Desired: dm.Revision(e.Main.String()),
		Observed: e.Seen(), Last: e.Desired.Stamp,
	}
	if e.Working() {
		view.Information = e.Waiting
	} else {
		view.Information = e.Observed.Information
	}
	var err error
	view.Defaults, err = s.packageDefaults(ctx, s.data.Path(r), now.Spec.Package, now.Package)
	return view, true, repo.Failed(op, err)
}

// Applications implements dm.ApplicationStore.
func (s *Store) Applications() []dm.ApplicationName {
	return s.index.Names(func(e *index.Application) bool { return e.Settled() != dm.NotCreated })
}
