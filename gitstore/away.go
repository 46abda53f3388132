package gitstore

import (
	"slices"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// outOfService says why a repository is not served.
type outOfService struct {
	fault *repo.Fault // nil: it could not be looked at yet
	err   error       // why not
	since time.Time
}

// tell describes it for the administrator.
func (o outOfService) tell(r dm.Repository) SetAside {
	if o.fault != nil {
		return SetAside{Repository: r, Since: o.since, File: o.fault.File, Cause: o.fault.Cause, Damaged: true}
	}
	cause := "it was not looked at yet"
	if o.err != nil {
		cause = dm.OneLine(o.err.Error())
	}
	return SetAside{Repository: r, Since: o.since, Cause: cause}
}

// answer is what a client is told.
func (o outOfService) answer(r dm.Repository) error {
	const op = "read the record"
	if o.fault != nil {
		return dm.Errorf(dm.Unavailable, op, "the repository of %s is damaged and was set aside", r.Name).
			WithHint("an administrator finds the cause with 'deployment-manager repair'").Because(o.fault)
	}
	return dm.Errorf(dm.Unavailable, op, "the repository of %s can't be read at the moment", r.Name).WithHint("try again in a moment")
}

// takeAway takes a repository out of service.
func (x *index) takeAway(r dm.Repository, o outOfService) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old, ok := x.away[r]; ok {
		o.since = old.since
	}
	x.away[r] = o
	switch r.Kind {
	case dm.PackageRepository:
		delete(x.packages, dm.PackageName(r.Name))
	case dm.ApplicationRepository:
		app := dm.ApplicationName(r.Name)
		delete(x.apps, app)
		delete(x.folded[app.Fold()], app)
	}
}

// bringBack puts a repository into service again.
func (x *index) bringBack(r dm.Repository) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.away, r)
}

// whyAway tells why a repository is out of service; ok is false when it is not.
func (x *index) whyAway(r dm.Repository) (o outOfService, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	o, ok = x.away[r]
	return o, ok
}

// awayOf lists those of one kind that are out of service.
func (x *index) awayOf(kind dm.RepositoryKind) (list []dm.Repository) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for r := range x.away {
		if r.Kind == kind {
			list = append(list, r)
		}
	}
	return list
}

// unreadApps tells whether there is an application that could not be read yet.
func (x *index) unreadApps() bool {
	return slices.ContainsFunc(x.awayOf(dm.ApplicationRepository), func(r dm.Repository) bool {
		o, ok := x.whyAway(r)
		return ok && o.fault == nil
	})
}

// readers are the users that applications have delivered to.
func (x *index) readers() map[dm.UserName]bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	users := map[dm.UserName]bool{}
	for _, e := range x.apps {
		if e.observed == nil {
			continue
		}
		for _, r := range e.observed.Records {
			for _, u := range r.Users {
				users[u] = true
			}
		}
	}
	return users
}

// awayList lists all that are out of service.
func (x *index) awayList() []SetAside {
	x.mu.RLock()
	defer x.mu.RUnlock()
	list := make([]SetAside, 0, len(x.away))
	for r, o := range x.away {
		list = append(list, o.tell(r))
	}
	return list
}

// countAway counts the damaged ones, or those that could not be looked at.
func (x *index) countAway(damaged bool) (n int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, o := range x.away {
		if damaged == (o.fault != nil) {
			n++
		}
	}
	return n
}
