package v1

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

func (a *API) change(w http.ResponseWriter, r *http.Request) error {
	edit, reason, err := readEdit(w, r)
	if err != nil {
		return err
	}
	return accept(w, r, reason, func(actor dm.Actor, name dm.ApplicationName) error {
		return a.Applications.Change(r.Context(), actor, name, edit)
	})
}

func (a *API) rollback(w http.ResponseWriter, r *http.Request) error {
	to, reason, err := readRollback(w, r)
	if err != nil {
		return err
	}
	return accept(w, r, reason, func(actor dm.Actor, name dm.ApplicationName) error {
		return a.Applications.Rollback(r.Context(), actor, name, to)
	})
}

// accept makes the change that a body asks for. It is durable, and carried out
// later, when 202 is answered.
func accept(w http.ResponseWriter, r *http.Request, reason string, do func(dm.Actor, dm.ApplicationName) error) error {
	actor, err := actorWith(r, reason)
	if err != nil {
		return err
	}
	text := apihandlers.Var(r, "name")
	name, err := dm.ParseApplicationName(text)
	if err != nil {
		return notCreated(text)
	}
	if err := do(actor, name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// actorWith is the caller with the reason that the body gives, "" when it gives
// none. It must not contradict the one in the query.
func actorWith(r *http.Request, reason string) (dm.Actor, error) {
	actor, err := apihandlers.Actor(r)
	switch {
	case err != nil:
		return actor, err
	case reason == "" || reason == actor.Reason:
		return actor, nil
	case actor.Reason != "":
		return actor, dm.Errorf(dm.Invalid, "v1", "reason differs between query and body, give only one")
	}
	actor.Reason = reason
	return actor, nil
}

// readEdit refuses keys it does not know: a misspelled one must not be taken
// for "leave as it is".
func readEdit(w http.ResponseWriter, r *http.Request) (edit dm.Edit, reason string, err error) {
	const op = "v1.change"
	body, err := apihandlers.ReadObject(w, r)
	if err != nil {
		return edit, "", err
	}
	for _, key := range slices.Sorted(maps.Keys(body)) {
		switch key {
		case "package":
			edit.Package, err = readPackage(body[key])
		case "overrides":
			edit.Overrides, err = readOverrides(body[key])
		case "audience":
			edit.Audience, err = readAudience(body[key])
		case "reason":
			reason, err = readReason(body[key])
		default:
			err = dm.Errorf(dm.Invalid, op, "unknown key %.200q, known keys are package, overrides, audience and reason", key)
		}
		if err != nil {
			return edit, "", err
		}
	}
	if edit.Package == nil && edit.Overrides == nil && edit.Audience == nil {
		return edit, "", dm.Errorf(dm.Invalid, op, "at least one of \"package\", \"overrides\" and \"audience\" is required")
	}
	return edit, reason, nil
}

func readPackage(raw json.RawMessage) (*dm.PackageRef, error) {
	var id *string
	if json.Unmarshal(raw, &id) != nil || id == nil {
		return nil, dm.Errorf(dm.Invalid, "v1.change", "\"package\" must be a string, for example \"flow-collector-2.14.3\"")
	}
	ref, err := dm.ParsePackageRef(*id)
	if err != nil {
		return nil, err
	}
	return &ref, nil
}

func readOverrides(raw json.RawMessage) (dm.Overrides, error) {
	properties, err := dm.ParseProperties(raw)
	if err != nil {
		return nil, dm.Errorf(dm.Invalid, "v1.change", "\"overrides\" must be an object of component types")
	}
	return dm.ParseOverrides(properties)
}

func readAudience(raw json.RawMessage) ([]dm.Subject, error) {
	var texts []string
	if json.Unmarshal(raw, &texts) != nil {
		texts = nil // as if none were named
	}
	return dm.ParseAudience(texts)
}

func readReason(raw json.RawMessage) (string, error) {
	var text *string
	if json.Unmarshal(raw, &text) != nil || text == nil {
		return "", dm.Errorf(dm.Invalid, "v1", "\"reason\" must be a string")
	}
	return dm.ParseReason(*text)
}

func readRollback(w http.ResponseWriter, r *http.Request) (to int, reason string, err error) {
	const op = "v1.rollback"
	body, err := apihandlers.ReadObject(w, r)
	if err != nil {
		return 0, "", err
	}
	for _, key := range slices.Sorted(maps.Keys(body)) {
		switch key {
		case "to":
			if json.Unmarshal(body[key], &to) != nil || to < 1 {
				err = dm.Errorf(dm.Invalid, op, "\"to\" must be the number of a deployment, an integer greater than 0")
			}
		case "reason":
			reason, err = readReason(body[key])
		default:
			err = dm.Errorf(dm.Invalid, op, "unknown key %.200q, known keys are to and reason", key)
		}
		if err != nil {
			return 0, "", err
		}
	}
	if to == 0 {
		return 0, "", dm.Errorf(dm.Invalid, op, "\"to\" is required, the number of the deployment to roll back to")
	}
	return to, reason, nil
}
