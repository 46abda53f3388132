package manager

import (
	"context"
	"encoding/json"
	"net/http"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// create keeps the contract's order: the name and the body, then user.name,
// and then what the record checks (application's state, package's state, rules,
// properties).
func (a *API) create(w http.ResponseWriter, r *http.Request) error {
	name, err := dm.ParseApplicationName(apihandlers.Var(r, "name"))
	if err != nil {
		return err
	}
	id, overrides, err := readCreate(w, r)
	if err != nil {
		return err
	}
	actor, err := apihandlers.Actor(r)
	if err != nil {
		return err
	}
	ref, err := dm.ParsePackageRef(id)
	if err != nil {
		return a.noSuchPackage(r.Context(), name, id)
	}
	return accepted(w, a.Applications.Create(r.Context(), actor, dm.Spec{
		Name: name, Package: ref, Owner: actor.User, State: dm.WantCreated, Overrides: overrides,
	}))
}

// readCreate checks the body in the contract's order: JSON, package, no user,
// objects.
func readCreate(w http.ResponseWriter, r *http.Request) (id string, o dm.Overrides, err error) {
	const op = "manager.create"
	body, err := apihandlers.ReadObject(w, r)
	if err != nil {
		return "", nil, err
	}
	raw, ok := body["package"]
	if !ok {
		return "", nil, dm.Errorf(dm.Invalid, op, "\"package\" is required")
	}
	var text *string
	if json.Unmarshal(raw, &text) != nil || text == nil || *text == "" {
		return "", nil, dm.Errorf(dm.Invalid, op, "\"package\" must be a string, for example \"flow-collector-2.14.3\"")
	}
	if _, ok := body["user"]; ok {
		return "", nil, dm.Errorf(dm.Invalid, op, "\"user\" is not allowed in the body, give it in the URL as user.name")
	}
	o, err = dm.ParseOverrides(body, "package")
	return *text, o, err
}

// noSuchPackage refuses a package id that no package can have as the record
// refuses one that is not deployed: the application's state comes first.
func (a *API) noSuchPackage(ctx context.Context, name dm.ApplicationName, id string) error {
	const op = "manager.create"
	view, known, err := a.Applications.Application(ctx, name)
	switch {
	case err != nil:
		return err
	case known && view.Phase != dm.NotCreated:
		return dm.Errorf(dm.Conflict, op, "the application %s is %s", name, view.Phase).In(view.Phase)
	}
	return dm.Errorf(dm.NotFound, op, "the package %.200q is not deployed", id).In(dm.NotDeployed)
}

// changed identifies the caller and the application and makes one change. A
// name that no application can have is one that is not created.
func (a *API) changed(w http.ResponseWriter, r *http.Request, change func(context.Context, dm.Actor, dm.ApplicationName) error) error {
	actor, err := apihandlers.Actor(r)
	if err != nil {
		return err
	}
	name, err := dm.ParseApplicationName(apihandlers.Var(r, "name"))
	if err != nil {
		return notCreated(apihandlers.Var(r, "name"))
	}
	return accepted(w, change(r.Context(), actor, name))
}

func (a *API) start(w http.ResponseWriter, r *http.Request) error {
	return a.changed(w, r, a.Applications.Start)
}

func (a *API) stop(w http.ResponseWriter, r *http.Request) error {
	return a.changed(w, r, a.Applications.Stop)
}

func (a *API) destroy(w http.ResponseWriter, r *http.Request) error {
	text, _, err := apihandlers.Query(r, "clear")
	if err != nil {
		return err
	}
	if text != "" && text != "true" && text != "false" {
		return dm.Errorf(dm.Invalid, "manager.destroy", "the query parameter clear must be true or false")
	}
	return a.changed(w, r, func(ctx context.Context, actor dm.Actor, name dm.ApplicationName) error {
		return a.Applications.Destroy(ctx, actor, name, text == "true")
	})
}
