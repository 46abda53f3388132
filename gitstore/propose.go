package gitstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// judgeProposal tells whether propose would accept the push of main.
func (p *push) judgeProposal(ctx context.Context, from pushedObjects, ref dm.PushedRef) (dm.PushOutcome, error) {
	app := dm.ApplicationName(p.repository.Name)
	spec, _, err := p.readProposal(ctx, from, ref)
	if err != nil {
		return dm.PushOutcome{}, err
	}
	e := p.s.index.Application(app)
	if e == nil {
		e = &index.Application{}
	}
	verb, w, err := p.s.decide(ctx, p.by(ref), e, ref, spec)
	defer w.room.end()
	if err != nil {
		return dm.PushOutcome{}, err
	}
	return outcomeOf(app, verb, w), nil
}

// propose makes the change that a pushed application.json asks for, and only
// that: everything else in the pushed tree is the server's to write.
func (p *push) propose(ctx context.Context, from pushedObjects, ref dm.PushedRef) (dm.PushOutcome, error) {
	const op = "gitstore.propose"
	app := dm.ApplicationName(p.repository.Name)
	spec, brought, err := p.readProposal(ctx, from, ref)
	if err != nil {
		return dm.PushOutcome{}, err
	}
	if err := p.s.index.Reserve(app, p.s.service.AwayOf(dm.ApplicationRepository)); err != nil {
		return dm.PushOutcome{}, err
	}
	defer p.s.index.Release(app)
	var outcome dm.PushOutcome
	err = p.s.change(op, app, func(tx *repo.Tx, e *index.Application) error {
		verb, w, err := p.s.decide(ctx, p.by(ref), e, ref, spec)
		defer w.room.end()
		if err != nil {
			return err
		}
		outcome = outcomeOf(app, verb, w)
		return p.s.desire(ctx, tx, e, w, p.s.stamp(ctx, p.by(ref), verb), &pushedParent{
			commit: plumbing.NewHash(string(ref.New)), copy: brought.copyTo(ctx, from),
		})
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

// readProposal judges what the push would add to the record and reads the
// application.json of its commit.
func (p *push) readProposal(ctx context.Context, from pushedObjects, ref dm.PushedRef) (dm.Spec, *brought, error) {
	const op = "gitstore.push"
	app := dm.ApplicationName(p.repository.Name)
	main := plumbing.ZeroHash
	if e := p.s.index.Application(app); e != nil {
		main = e.Main
	}
	switch {
	case string(ref.New) == main.String():
		return dm.Spec{}, nil, dm.Errorf(dm.Invalid, op, "everything up-to-date: main of %s is already at this commit", app)
	case plumbing.NewHash(string(ref.Old)) != main:
		// git would fail over a name that no object has.
		return dm.Spec{}, nil, behind(op, app)
	}
	commit, err := from.peel(ctx, string(ref.New))
	if err != nil {
		return dm.Spec{}, nil, err
	}
	if commit.id != string(ref.New) {
		return dm.Spec{}, nil, dm.Errorf(dm.Invalid, op, "main must be a commit, not a tag")
	}
	if ref.Old != "" {
		ok, err := from.git.IsAncestor(ctx, from.dir, string(ref.Old), string(ref.New))
		if err != nil {
			return dm.Spec{}, nil, err
		}
		if !ok {
			return dm.Spec{}, nil, dm.Errorf(dm.Conflict, op, "rejected: your main does not contain the server's; pull first").
				WithHint("git pull, then push without --force")
		}
	}
	brought, err := from.gather(ctx, commit.id, plumbing.NewHash(string(ref.Old)))
	if err != nil {
		return dm.Spec{}, nil, err
	}
	if err := brought.check(ctx, from, archive.Limits{File: maxProposedBytes, Unpacked: 1 << 40, Entries: p.s.Limits.Entries}); err != nil {
		return dm.Spec{}, nil, err
	}
	file, err := from.file(ctx, commit.tree, form.SpecFile, dm.MaxJSONBytes)
	if errors.Is(err, errNotFound) {
		return dm.Spec{}, nil, dm.Errorf(dm.Invalid, op, "the pushed commit has no %s in its root folder", form.SpecFile).
			WithHint(`it must hold at least {"package": "<name>-<version>"}`)
	}
	if err != nil {
		return dm.Spec{}, nil, err
	}
	spec, err := parseSpec(app, file)
	return spec, brought, err
}

// parseSpec reads a pushed application.json. What it leaves out is zero. All
// findings come back at once.
func parseSpec(app dm.ApplicationName, file []byte) (dm.Spec, error) {
	spec := dm.Spec{Name: app}
	properties, err := dm.ParseProperties(file)
	if err != nil {
		return spec, unreadable(app, dm.Finding{Path: form.SpecFile, Message: dm.Public(err)})
	}
	var findings []dm.Finding
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		if err := parseSpecKey(&spec, key, properties[key]); err != nil {
			findings = append(findings, dm.Finding{Path: form.SpecFile, Message: dm.Public(err)})
		}
	}
	if len(findings) > 0 {
		return spec, unreadable(app, findings...)
	}
	return spec, nil
}

func unreadable(app dm.ApplicationName, findings ...dm.Finding) error {
	return dm.Refuse("gitstore.push", fmt.Sprintf("the application %s cannot be read", app), findings)
}

func parseSpecKey(spec *dm.Spec, key string, raw json.RawMessage) (err error) {
	const op = "gitstore.push"
	text := ""
	switch key {
	case "name", "package", "owner", "state":
		if json.Unmarshal(raw, &text) != nil || text == "" {
			return dm.Errorf(dm.Invalid, op, "%s must be a non-empty string", key)
		}
	}
	switch key {
	case "name":
		if text != string(spec.Name) {
			err = dm.Errorf(dm.Invalid, op, "name is %.200q, but the repository is that of %q", text, spec.Name)
		}
	case "package":
		spec.Package, err = dm.ParsePackageRef(text)
	case "owner":
		spec.Owner, err = dm.ParseUserName(text)
	case "state":
		spec.State = dm.WantedState(text)
		if !slices.Contains([]dm.WantedState{dm.WantCreated, dm.WantStarted, dm.WantDestroyed}, spec.State) {
			err = dm.Errorf(dm.Invalid, op, "state is %.200q, must be created, started or destroyed", text)
		}
	case "overrides":
		var properties dm.Properties
		if properties, err = dm.ParseProperties(raw); err != nil {
			return dm.Errorf(dm.Invalid, op, "overrides must be an object of component types")
		}
		if spec.Overrides, err = dm.ParseOverrides(properties); err != nil {
			return err
		}
		// The pushed commit stays, so leaving them out would be too late.
		if _, secrets := spec.Overrides.WithoutSecrets(); len(secrets) > 0 {
			err = dm.Errorf(dm.Invalid, op, "overrides have secrets, which are not stored: %s", strings.Join(few(secrets), ", "))
		}
	case "audience":
		var texts []string
		if json.Unmarshal(raw, &texts) != nil {
			return dm.Errorf(dm.Invalid, op, "audience must be a list of strings, such as [\"user:ana\", \"group:class-7\"]")
		}
		spec.Audience, err = dm.ParseAudience(texts)
	default:
		err = dm.Errorf(dm.Invalid, op, "unknown key %.200q, known keys are package, overrides, audience, state, name and owner", key)
	}
	return err
}

// behind refuses a push that does not start from where main is.
func behind(op string, app dm.ApplicationName) error {
	return dm.Errorf(dm.Stale, op, "rejected: main of %s has changed since your last fetch", app).WithHint("git pull, then push again")
}

// decide finds out which change spec asks for in the present state, and admits
// it.
func (s *Store) decide(ctx context.Context, actor dm.Actor, e *index.Application, ref dm.PushedRef, spec dm.Spec) (dm.Verb, wanted, error) {
	const op = "gitstore.push"
	app := spec.Name
	if old := plumbing.NewHash(string(ref.Old)); old != e.Main {
		return "", wanted{}, behind(op, app)
	}
	switch phase := e.Phase(); {
	case phase.Working() && !e.Waits():
		return "", wanted{}, wrongPhase(op, app, phase)
	case phase == dm.NotCreated && spec.State != dm.WantDestroyed:
		w, err := s.decideCreate(ctx, actor, e, spec)
		return dm.Create, w, err
	case phase == dm.NotCreated && !e.Recorded():
		return "", wanted{}, wrongPhase(op, app, phase)
	}
	now := e.Current().Spec
	edit, changed := compareSpecs(now, &spec)
	var findings []dm.Finding
	if spec.Owner != now.Owner {
		findings = append(findings, dm.Finding{Path: form.SpecFile, Message: fmt.Sprintf("owner is %q and is immutable", now.Owner)})
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
	const op = "gitstore.push"
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
	const op = "gitstore.push"
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

// compareSpecs fills what spec leaves out from now, and tells what differs.
func compareSpecs(now dm.Spec, spec *dm.Spec) (edit dm.Edit, changed bool) {
	if spec.Owner == "" {
		spec.Owner = now.Owner
	}
	if spec.State == "" {
		spec.State = now.State
	}
	if spec.Package != (dm.PackageRef{}) && spec.Package != now.Package {
		edit.Package, changed = &spec.Package, true
	}
	if spec.Overrides != nil && !sameJSON(spec.Overrides, now.Overrides) {
		edit.Overrides, changed = spec.Overrides, true
	}
	if spec.Audience != nil && !slices.Equal(spec.Audience, now.Audience) {
		edit.Audience, changed = spec.Audience, true
	}
	return edit, changed
}

// sameJSON compares what two overrides mean, not how they are spelled.
func sameJSON(a, b dm.Overrides) bool {
	var values [2]any
	for i, o := range []dm.Overrides{a, b} {
		text, err := json.Marshal(o)
		if err != nil {
			return false
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&values[i]) != nil {
			return false
		}
		if empty, ok := values[i].(map[string]any); !ok || len(empty) == 0 {
			values[i] = nil
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}
