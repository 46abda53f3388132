package index

import (
	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// countApplications counts the names that have a repository, or get one now,
// and those of one owner.
func (x *Index) countApplications(owner dm.UserName) (all, own int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, e := range x.apps {
		if e.Desired.Spec.Owner == owner {
			own++
		}
	}
	return len(x.apps), own
}

// specBytes adds up what is kept of all applications and of those of one owner.
func (x *Index) specBytes(owner dm.UserName) (all, own int64) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, e := range x.apps {
		n := int64(e.Desired.Size)
		if e.Effective.Commit != e.Desired.Commit {
			n += int64(e.Effective.Size)
		}
		all += n
		if e.Desired.Spec.Owner == owner {
			own += n
		}
	}
	return all, own
}

// countFailures counts the failed deploys of versions that are not there, and
// those of one user.
func (x *Index) countFailures(by dm.UserName) (all, own int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, e := range x.packages {
		for v, o := range e.Outcomes {
			if o.Phase != dm.NotDeployed || o.Information == "" {
				continue
			}
			if _, there := e.Version(v); there {
				continue
			}
			all++
			if o.User == by {
				own++
			}
		}
	}
	return all, own
}

// deployedOnce tells whether there is an outcome with the files of a version, the
// last one or one before: the deploy of what was withdrawn has none. The caller
// holds the lock.
func (x *Index) deployedOnce(ref dm.PackageRef) bool {
	e := x.packages[ref.Name]
	if e == nil {
		return false
	}
	o, ok := e.Outcomes[ref.Version]
	return ok && (o.Tree != repo.EmptyTree || o.once)
}

// Published fails for a version that applications were made from and of which
// the record has nothing any more.
func (x *Index) Published(ref dm.PackageRef) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	app := x.unpublished[ref]
	if app == "" || x.deployedOnce(ref) {
		return nil
	}
	return dm.Errorf(dm.Unavailable, "read the record", "the record of %s is missing, the application %s was made from it", ref, app).
		WithHint("an administrator must restore it; publish changes under a new version number")
}

// Read tells whether the index has something of a repository.
func (x *Index) Read(r dm.Repository) bool {
	switch r.Kind {
	case dm.PackageRepository:
		return x.Package(dm.PackageName(r.Name)) != nil
	case dm.ApplicationRepository:
		return x.Application(dm.ApplicationName(r.Name)) != nil
	}
	return false
}

// MarkUnpublished finds the packages that applications were made from and of
// which the record has no deployment. Their numbers are not free.
func (x *Index) MarkUnpublished(tell func(dm.PackageRef, dm.ApplicationName)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for app, e := range x.apps {
		for _, content := range []form.Change{e.Desired, e.Effective} {
			ref := content.Spec.Package
			if content.Commit.IsZero() || content.Package == repo.EmptyTree || x.deployedOnce(ref) {
				continue
			}
			if x.unpublished[ref] == "" {
				tell(ref, app)
			}
			x.unpublished[ref] = app
		}
	}
}
