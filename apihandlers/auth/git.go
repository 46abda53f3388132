package auth

import (
	"net/http"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// The doors of git in the actor.
const (
	gitVia  = "git"
	pushVia = "push"
)

// Git decides whether r may read repo, or push to it. A push is judged again
// when it is known what it changes; here is refused who may make no change at
// all. Kinds: Unauthenticated, Forbidden, Unavailable.
func (a *Auth) Git(r *http.Request, repo dm.Repository, push bool) (dm.Actor, error) {
	const op = "auth.Git"
	actor, err := a.gitActor(r)
	if err != nil {
		return dm.Actor{}, err
	}
	apihandlers.SetUser(r.Context(), actor.User)
	if push {
		actor.Via = pushVia
		if actor.User == "" {
			return dm.Actor{}, dm.Errorf(dm.Unauthenticated, op, "a push needs a credential")
		}
		return actor, a.mayPush(actor, repo)
	}
	on := dm.Resource{Name: repo.Name}
	action := dm.ApplicationRead
	switch repo.Kind {
	case dm.WorkspaceRepository:
		action, on.Owner = dm.WorkspaceRead, dm.UserName(repo.Name)
	case dm.PackageRepository:
		action = dm.RepositoryRead
	}
	err = a.policy.Authorize(actor, action, on)
	if err != nil && actor.User == "" {
		// git asks its person for a password only when it is challenged.
		return dm.Actor{}, dm.Errorf(dm.Unauthenticated, op, "a credential is required").Because(err)
	}
	return actor, err
}

// mayPush lets pass whom the policy allows any of the changes that a push can
// mean. Whose the application is, is not known here: the actor counts as its
// owner until the change itself is judged.
func (a *Auth) mayPush(actor dm.Actor, repo dm.Repository) error {
	var first error
	for _, action := range pushActions(repo.Kind) {
		err := a.policy.Authorize(actor, action, dm.Resource{Name: repo.Name, Owner: actor.User})
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		return dm.Errorf(dm.Forbidden, "auth.Git", "only the server writes to this repository")
	}
	return first
}

// pushActions is what a push to a repository can mean. It is empty where the
// server is the only writer.
func pushActions(kind dm.RepositoryKind) []dm.Action {
	switch kind {
	case dm.PackageRepository:
		return []dm.Action{dm.RepositoryWrite}
	case dm.ApplicationRepository:
		return []dm.Action{dm.ApplicationCreate, dm.ApplicationChange, dm.ApplicationStart, dm.ApplicationStop, dm.ApplicationDestroy}
	}
	return nil
}

// gitActor identifies who talks git. There is no user.name here: where names
// are taken on trust, that is the Basic user name.
func (a *Auth) gitActor(r *http.Request) (dm.Actor, error) {
	const op = "auth.Git"
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
