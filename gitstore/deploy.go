package gitstore

import (
	"context"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/treefs"
)

// DeployPackage implements dm.DeployedStore.
func (s *Store) DeployPackage(ctx context.Context, actor dm.Actor, id string) error {
	const op = "gitstore.DeployPackage"
	ref, parseErr := dm.ParsePackageRef(id)
	if parseErr == nil {
		if err := s.service.Sound(repo.Package(ref.Name)); err != nil {
			return err
		}
		if err := s.index.Published(ref); err != nil {
			return err
		}
	}
	release, err := s.index.Claim(id, dm.NotDeployed, dm.Deploying)
	if err != nil {
		return err
	}
	defer release()
	if _, err := s.Admission.Admit(ctx, dm.AdmissionRequest{Actor: actor, Verb: dm.Deploy, Package: ref}); err != nil {
		return err
	}
	stamp := s.stamp(ctx, actor, dm.Deploy)
	if parseErr != nil {
		// Nothing of that name can ever be stored, so there is no repository
		// that could hold the outcome either. To who deploys, a package that
		// can't be is one that isn't.
		missing := dm.Errorf(dm.NotFound, op, "no such package: %s", dm.Public(parseErr))
		text := dm.FailureText(dm.Deploy, id, missing)
		s.index.SetOddity(id, text)
		s.stream.Passing(form.PackageEvent(id, dm.NotDeployed, text, stamp))
		return nil
	}
	o, err := s.judge(ctx, ref, stamp)
	if err == nil {
		err = s.keepOutcome(ctx, o)
	}
	if err != nil {
		s.stream.Passing(form.PackageEvent(id, dm.NotDeployed, dm.FailureText(dm.Deploy, id, repo.Failed(op, err)), stamp))
	}
	return repo.Failed(op, err)
}

// judge validates the published version and says how its deployment ended. A
// package that can't be read now is not judged.
func (s *Store) judge(ctx context.Context, ref dm.PackageRef, stamp dm.Stamp) (*form.Decision, error) {
	d := &form.Decision{Stamp: stamp, Package: ref, Phase: dm.NotDeployed, Tree: repo.EmptyTree}
	failure := func(err error) (*form.Decision, error) {
		d.Information = dm.FailureText(dm.Deploy, ref.String(), err)
		return d, nil
	}
	v, ok := s.version(ref)
	if !ok {
		return failure(dm.Errorf(dm.NotFound, "deploy", "no package %s in the repository", ref))
	}
	d.Tree = v.Tree
	room, err := s.planning.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer room.End()
	files := treefs.New(repo.Open(s.data.Path(repo.Package(ref.Name))), v.Tree)
	valid, err := s.Planner.Validate(ref, v.Top, files)
	switch {
	case err != nil && dm.KindOf(repo.Failed("deploy", err)) == dm.Unavailable:
		return nil, err
	case err != nil:
		return failure(err)
	case len(valid.Findings) > 0:
		return failure(dm.Refuse("deploy", "invalid package", valid.Findings))
	}
	s.defaults.Put(v.Tree, valid.Defaults)
	d.Phase = dm.Deployed
	return d, nil
}

// UndeployPackage implements dm.DeployedStore.
func (s *Store) UndeployPackage(ctx context.Context, actor dm.Actor, id string) error {
	const op = "gitstore.UndeployPackage"
	ref, parseErr := dm.ParsePackageRef(id)
	if parseErr == nil {
		if err := s.service.Sound(repo.Package(ref.Name)); err != nil {
			return err
		}
	}
	release, err := s.index.Claim(id, dm.Deployed, dm.Undeploying)
	if err != nil {
		return err
	}
	defer release()
	before := s.index.Outcome(ref)
	if _, err := s.Admission.Admit(ctx, dm.AdmissionRequest{Actor: actor, Verb: dm.Undeploy, Package: ref, PackageOwner: before.Owner()}); err != nil {
		return err
	}
	stamp := s.stamp(ctx, actor, dm.Undeploy)
	if err := s.writeOutcome(ctx, &form.Decision{Stamp: stamp, Package: ref, Phase: dm.NotDeployed, Tree: before.Tree}); err != nil {
		s.stream.Passing(form.PackageEvent(id, dm.Deployed, dm.FailureText(dm.Undeploy, id, repo.Failed(op, err)), stamp))
		return repo.Failed(op, err)
	}
	return nil
}

// keepOutcome records how a deploy ended, unless it says nothing new, or tells
// of what is not there and there are too many such records: then the text is
// only remembered, the oldest forgotten, as that of an id that can't name a
// package. Nothing was deployed, so nothing that counts is lost.
func (s *Store) keepOutcome(ctx context.Context, d *form.Decision) error {
	id := d.Package.String()
	before := s.index.Outcome(d.Package)
	switch {
	case d.Phase == dm.NotDeployed && before.Phase == d.Phase && before.Tree == d.Tree && before.Information == dm.Printable(d.Information):
		s.stream.Passing(form.PackageEvent(id, d.Phase, d.Information, d.Stamp))
		return nil
	case d.Tree == repo.EmptyTree && before.Commit.IsZero() && !s.Bounds.RoomForFailure(s.index, d.User):
		s.Log.Warn("a failed deploy is not recorded, too many are of versions that do not exist", "package", id, "user", d.User)
		s.index.SetOddity(id, d.Information)
		s.stream.Passing(form.PackageEvent(id, d.Phase, d.Information, d.Stamp))
		return nil
	}
	if err := s.writeOutcome(ctx, d); err != nil {
		return err
	}
	s.index.DropOddity(id)
	return nil
}

// writeOutcome records how a deploy or an undeploy ended by moving one ref. A
// package that was never uploaded gets a repository that holds only that.
func (s *Store) writeOutcome(ctx context.Context, d *form.Decision) error {
	tx, err := s.data.Begin(repo.Package(d.Package.Name), "outcome")
	if err != nil {
		return err // set aside since the phase was looked at
	}
	defer tx.End()
	entry := s.index.Package(d.Package.Name)
	if entry == nil {
		entry = &index.Package{}
	}
	d.Before = entry.Outcomes[d.Package.Version].Commit
	w, err := tx.Objects()
	if err != nil {
		return err
	}
	d.Seq = tx.Seq()
	if err := d.Encode(w); err != nil {
		return err
	}
	ended := form.PackageEvent(d.Package.String(), d.Phase, d.Information, d.Stamp)
	if err := tx.Land(ctx, repo.Moved(repo.Deployed(d.Package.Version), d.Before, d.Commit, "outcome-moved").Means(ended)); err != nil {
		return err
	}
	s.index.PutPackage(d.Package.Name, entry.WithOutcome(d.Package.Version, *d))
	return nil
}

// PackageStatus implements dm.DeployedStore.
func (s *Store) PackageStatus(ctx context.Context, id string) (dm.PackageStatus, error) {
	const op = "gitstore.PackageStatus"
	name, version := dm.SplitPackageID(id)
	st := dm.PackageStatus{Name: name, Version: version, Phase: dm.NotDeployed}
	ref, err := dm.ParsePackageRef(id)
	if err != nil {
		st.Phase, st.Information = s.index.Oddity(id)
		return st, nil
	}
	if err := s.service.Sound(repo.Package(ref.Name)); err != nil {
		return st, err
	}
	working, o := s.index.PackagePhase(ref)
	st.Owner = o.Owner()
	if working != "" {
		st.Phase = working
		return st, nil
	}
	st.Phase, st.Information = o.Phase, o.Information
	if o.Commit.IsZero() {
		_, st.Information = s.index.Oddity(id)
	}
	if st.Phase == dm.Deployed {
		st.Defaults, err = s.packageDefaults(ctx, s.data.Path(repo.Package(ref.Name)), ref, o.Tree)
	}
	return st, repo.Failed(op, err)
}

// DeployedPackages implements dm.DeployedStore.
func (s *Store) DeployedPackages() []string {
	ids := []string{}
	s.index.EachPackage(func(name dm.PackageName, e *index.Package) {
		for v, o := range e.Outcomes {
			if o.Phase == dm.Deployed {
				ids = append(ids, dm.PackageRef{Name: name, Version: v}.String())
			}
		}
	})
	slices.Sort(ids)
	return ids
}

// PackageApplications implements dm.DeployedStore.
func (s *Store) PackageApplications(id string) []dm.ApplicationName {
	return s.index.Names(func(e *index.Application) bool {
		return e.Settled() != dm.NotCreated && e.Current().Spec.Package.String() == id
	})
}

// packageDefaults reads the defaults of a package's tree, once for each tree.
func (s *Store) packageDefaults(ctx context.Context, dir string, ref dm.PackageRef, tree plumbing.Hash) (dm.Defaults, error) {
	if d, ok := s.defaults.Get(tree); ok {
		return d, nil
	}
	room, err := s.planning.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer room.End()
	v, err := s.Planner.Validate(ref, ref.String(), treefs.New(repo.Open(dir), tree))
	if err != nil {
		return nil, err
	}
	d := v.Defaults
	if d == nil {
		d = dm.Defaults{} // deployed under older rules
	}
	s.defaults.Put(tree, d)
	return d, nil
}
