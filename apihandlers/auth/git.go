package auth

import (
	"context"
	"net/http"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// The doors of git in the actor.
const (
	gitVia  = "git"
	pushVia = "push"
)

// GitDoor decides who may read a repository, and who may push to it.
type GitDoor struct {
	*Auth
	Owners dm.Owners
}

// Authorize decides whether r may read repo, or push to it. A push is judged again
// when it is known what it changes; here is refused who may make no change at
// all. Kinds: Unauthenticated, Forbidden, NotFound, Unavailable.
func (d *GitDoor) Authorize(r *http.Request, repo dm.Repository, push bool) (dm.Actor, error) {
	const op = "auth.GitDoor"
	actor, err := d.gitActor(r)
	if err != nil {
		return dm.Actor{}, err
	}
	apihandlers.SetUser(r.Context(), actor.User)
	if push {
		actor.Via = pushVia
		if actor.User == "" {
			return dm.Actor{}, dm.Errorf(dm.Unauthenticated, op, "a credential is required to push")
		}
		return actor, d.mayPush(r.Context(), actor, repo)
	}
	err = d.mayRead(r.Context(), actor, repo)
	if dm.KindOf(err) == dm.Forbidden && actor.User == "" {
		// git asks its person for a password only when it is challenged.
		return dm.Actor{}, dm.Errorf(dm.Unauthenticated, op, "a credential is required").Because(err)
	}
	return actor, err
}

func (d *GitDoor) mayRead(ctx context.Context, actor dm.Actor, repo dm.Repository) error {
	switch repo.Kind {
	case dm.WorkspaceRepository:
		return d.policy.Authorize(actor, dm.WorkspaceRead, dm.Resource{Name: repo.Name, Owner: dm.UserName(repo.Name)})
	case dm.PackageRepository:
		return d.policy.Authorize(actor, dm.RepositoryRead, dm.Resource{Name: repo.Name})
	}
	on, since, err := d.Owners.ApplicationOwner(ctx, dm.ApplicationName(repo.Name))
	if err != nil {
		return err // the names of applications are no secret
	}
	return d.mayReadAll(actor, on, since)
}

// mayReadAll asks for the whole repository of an application: it holds what
// everybody deployed who ever had the name.
func (d *GitDoor) mayReadAll(actor dm.Actor, on dm.Resource, since int) error {
	err := d.policy.Authorize(actor, dm.ApplicationContent, on)
	if err != nil || since == 1 {
		return err
	}
	if d.policy.Authorize(actor, dm.ApplicationContent, dm.Resource{Name: on.Name}) != nil {
		return dm.Errorf(dm.Forbidden, "auth.GitDoor", "the repository of %s also holds what others deployed under this name before deployment %d", on.Name, since).
			WithHint("the differences since then are at /api/v1/applications/%s/diff; admins and auditors may clone it", on.Name)
	}
	return nil
}

// Reader tells what is known of a user whose workspace an actor reads.
func (d *GitDoor) Reader(actor dm.Actor, user dm.UserName) dm.Reader {
	if actor.User == user && d.mode != dm.InsecurePNDA {
		return dm.Reader{Groups: actor.Groups, Proved: true, Known: true}
	}
	return dm.Reader{Groups: d.directory.Groups(user), Known: d.directory.names(user), Other: actor.User != "" && actor.User != user}
}

// mayPush lets pass whom the policy allows any of the changes that a push can
// mean, and who may read what its first step shows. Only the change itself is
// judged for good, when it is known.
func (d *GitDoor) mayPush(ctx context.Context, actor dm.Actor, repo dm.Repository) error {
	switch repo.Kind {
	case dm.PackageRepository:
		on := dm.Resource{Name: repo.Name, Owner: d.Owners.PackageOwner(dm.PackageName(repo.Name))}
		return d.policy.Authorize(actor, dm.RepositoryWrite, on)
	case dm.WorkspaceRepository:
		return dm.ReadOnly("auth.GitDoor", repo.Kind)
	}
	on, since, err := d.Owners.ApplicationOwner(ctx, dm.ApplicationName(repo.Name))
	switch {
	case dm.KindOf(err) == dm.NotFound:
		return d.policy.Authorize(actor, dm.ApplicationCreate, dm.Resource{Name: repo.Name, Owner: actor.User})
	case err != nil:
		return err
	}
	if err := d.mayChange(actor, on); err != nil {
		return err
	}
	return d.mayReadAll(actor, on, since)
}

// mayChange asks for any of the changes that a push to an application can mean.
func (d *GitDoor) mayChange(actor dm.Actor, on dm.Resource) (first error) {
	for _, action := range []dm.Action{dm.ApplicationChange, dm.ApplicationStart, dm.ApplicationStop, dm.ApplicationDestroy, dm.ApplicationCreate} {
		err := d.policy.Authorize(actor, action, on)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// gitActor identifies who talks git. There is no user.name here: where names
// are taken on trust, that is the Basic user name.
func (a *Auth) gitActor(r *http.Request) (dm.Actor, error) {
	const op = "auth.GitDoor"
	if a.mode == dm.InsecurePNDA {
		return a.claimedActor(r)
	}
	p, ok, err := a.prove(r)
	switch {
	case err != nil:
		return dm.Actor{}, err
	case ok && !a.directory.knownWhenProven(p.user):
		return dm.Actor{}, noSuchUser(p.user)
	case ok:
		return a.actor(p, gitVia), nil
	case a.mode == dm.PublicRead:
		return a.actor(principal{auth: unproven}, gitVia), nil
	}
	return dm.Actor{}, dm.Errorf(dm.Unauthenticated, op, "a credential is required")
}

func (a *Auth) claimedActor(r *http.Request) (dm.Actor, error) {
	text, _, ok := r.BasicAuth()
	if !ok || text == "" {
		return a.actor(principal{auth: unproven}, gitVia), nil
	}
	claim, err := dm.ParseUserName(text)
	if err != nil {
		return dm.Actor{}, err
	}
	if !a.directory.Known(claim) {
		return dm.Actor{}, noSuchUser(claim)
	}
	return a.actor(principal{user: claim, auth: unproven}, gitVia), nil
}
