package apihandlers

import (
	"context"
	"net/http"

	dm "github.com/pndaproject/deployment-manager"
)

// ReadApplication is what the caller of r may know of the application that the
// path variable name names. It reads and then asks the policy, which may look at
// the owner: what was read is told only to those it allows. A name that no
// application can have has no record.
func ReadApplication(r *http.Request, policy dm.Policy, read func(context.Context, dm.ApplicationName) (dm.Application, bool, error)) (app KnownApplication, err error) {
	text := Var(r, "name")
	name, malformed := dm.ParseApplicationName(text)
	if malformed == nil {
		app.Application, app.Known, err = read(r.Context(), name)
	}
	on := app.Resource()
	on.Name = text
	actor, denied := Actor(r)
	if denied == nil {
		denied = policy.Authorize(actor, dm.ApplicationRead, on)
	}
	if denied != nil {
		return KnownApplication{}, denied
	}
	app.Delivered = policy.Authorize(actor, dm.ApplicationOverrides, on) == nil
	return app, err
}

// KnownApplication is an application as one caller may know it.
type KnownApplication struct {
	dm.Application
	Known     bool // there is a record
	Delivered bool // overrides and audience may be shown
}
