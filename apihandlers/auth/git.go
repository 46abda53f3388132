package auth

import (
	"net/http"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// gitVia names the door of git in the actor.
const gitVia = "git"

// Git decides whether r may read repo. Kinds: Unauthenticated, Forbidden,
// Unavailable.
func (a *Auth) Git(r *http.Request, repo dm.Repository) error {
	actor, err := a.gitActor(r)
	if err != nil {
		return err
	}
	apihandlers.SetUser(r.Context(), actor.User)
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
		return dm.Errorf(dm.Unauthenticated, "auth.Git", "a credential is required").Because(err)
	}
	return err
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
