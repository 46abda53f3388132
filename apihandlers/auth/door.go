package auth

import (
	"net/http"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Door is the Gate of one API: it knows how that API treats user.name.
type Door struct {
	*Auth
	// Via names the door in the actor and in trailers.
	Via string
	// NameByPresence makes user.name required by presence also of reads that
	// no credential comes with; it may be empty there. PNDA's package
	// repository has it so.
	NameByPresence bool
}

// Authenticate proves the credential, where the mode wants one.
func (d *Door) Authenticate(r *http.Request, access apihandlers.Access) (apihandlers.Caller, error) {
	const op = "auth.Authenticate"
	c := &caller{door: d, r: r, access: access, principal: principal{auth: unproven}}
	if d.mode == dm.InsecurePNDA {
		return c, nil
	}
	p, ok, err := d.prove(r)
	if err != nil {
		return nil, err
	}
	if !ok {
		if d.mode == dm.PublicRead && access == apihandlers.Reading {
			return c, nil
		}
		return nil, dm.Errorf(dm.Unauthenticated, op, "a credential is required")
	}
	c.principal, c.proven = p, true
	return c, nil
}

// caller is one request after its credential was verified.
type caller struct {
	door      *Door
	r         *http.Request
	access    apihandlers.Access
	principal principal
	proven    bool
}

// Actor judges user.name.
func (c *caller) Actor() (dm.Actor, error) {
	claim, given, err := claimOf(c.r)
	if err != nil {
		return dm.Actor{}, err
	}
	if c.proven {
		return c.provenActor(claim, given)
	}
	d := c.door
	if !given && (c.access == apihandlers.Changing || d.NameByPresence) {
		return dm.Actor{}, dm.Errorf(dm.Invalid, "auth", "the query parameter user.name is required")
	}
	if claim == "" && c.access == apihandlers.Changing {
		return dm.Actor{}, dm.Errorf(dm.Invalid, "auth", "the query parameter user.name must not be empty for a change")
	}
	// In public-read a name without a proof is worth nothing: the caller stays
	// anonymous, and is not told who exists.
	if claim == "" || d.mode != dm.InsecurePNDA {
		return d.actor(principal{auth: unproven}, d.Via), nil
	}
	if !d.directory.Known(claim) {
		return dm.Actor{}, noSuchUser(claim)
	}
	return d.actor(principal{user: claim, auth: unproven}, d.Via), nil
}

// provenActor lets the verified user in; user.name may only repeat it, except
// for an impersonator.
func (c *caller) provenActor(claim dm.UserName, given bool) (dm.Actor, error) {
	d, user := c.door, c.principal.user
	switch {
	case given && claim == "" && c.access == apihandlers.Changing:
		return dm.Actor{}, dm.Errorf(dm.Invalid, "auth", "the query parameter user.name must not be empty for a change")
	case claim != "" && claim != user && !d.mayImpersonate(c.principal):
		return dm.Actor{}, dm.Errorf(dm.Forbidden, "auth", "%s may not act as %s", user, claim)
	case !d.directory.knownWhenProven(user):
		return dm.Actor{}, noSuchUser(user)
	case claim == "" || claim == user:
		return d.actor(c.principal, d.Via), nil
	case !d.directory.Known(claim):
		return dm.Actor{}, noSuchUser(claim)
	}
	return d.impersonated(c.principal, claim), nil
}

// mayImpersonate tells whether it is one of the services that the operator
// named. A user of JupyterHub is a person, even one who has taken such a name.
func (d *Door) mayImpersonate(p principal) bool {
	return slices.Contains(d.impersonators, p.user) && p.auth != fromHub && !strings.HasPrefix(p.auth, fromHub+":")
}

// impersonated is the person for whom a service acts. Whoever takes the service
// over shall not be an admin by that, unless the operator wants it so.
func (d *Door) impersonated(service principal, person dm.UserName) dm.Actor {
	actor := d.actor(principal{user: person, auth: service.auth, scopes: service.scopes}, d.Via)
	actor.Impersonator = service.user
	if !d.impersonateAdmins {
		actor.Groups = slices.DeleteFunc(actor.Groups, func(group string) bool { return group == dm.AdminGroup })
	}
	return actor
}

// claimOf reads user.name from the URL. Present and empty is the anonymous
// user.
func claimOf(r *http.Request) (claim dm.UserName, given bool, err error) {
	text, given, err := apihandlers.Query(r, "user.name")
	if err != nil || text == "" {
		return "", given, err
	}
	claim, err = dm.ParseUserName(text)
	return claim, true, err
}
