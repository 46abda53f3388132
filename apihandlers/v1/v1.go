package v1

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Applications is what the API needs of the record.
type Applications interface {
	Change(ctx context.Context, actor dm.Actor, app dm.ApplicationName, edit dm.Edit) error
	Application(ctx context.Context, app dm.ApplicationName) (view dm.Application, ok bool, err error)
}

// Config is what the API needs.
type Config struct {
	Applications Applications // required
	Policy       dm.Policy
}

// API serves /api/v1.
type API struct{ Config }

// New checks the configuration.
func New(cfg Config) (*API, error) {
	if cfg.Applications == nil {
		return nil, errors.New("v1: Applications is required")
	}
	return &API{cfg}, nil
}

// Routes is the route table.
func (a *API) Routes() []apihandlers.Route {
	const path = "/api/v1/applications/{name}"
	return []apihandlers.Route{
		{
			Name: "v1-application", Method: http.MethodGet, Path: path, Access: apihandlers.Reading,
			Actions: []dm.Action{dm.ApplicationRead}, Success: http.StatusOK, Handle: a.get,
			Summary:  "The whole of an application: what is desired, who asked for it last, and what was observed.",
			Response: `{"name":"noon-run","package":"flow-collector-2.14.3","owner":"ana","state":"started","overrides":{},"audience":["user:ana"],"phase":"STARTED","information":null,"deployment":2,"desired":"0123456789abcdef0123456789abcdef01234567","last":{"action":"change","user":"ana","auth":"htpasswd","via":"api","time":"2025-01-06T10:20:30.123456Z"},"observed":null}`,
		},
		{
			Name: "v1-change-application", Method: http.MethodPut, Path: path, Access: apihandlers.Changing,
			Actions: []dm.Action{dm.ApplicationChange, dm.AudienceDeliver}, Success: http.StatusAccepted, Handle: a.change,
			Summary: "Changes an application in place. The body holds at least one of `package`, `overrides` and `audience`; what it leaves out stays as it is. An audience beyond oneself needs the group publisher or admin.",
			Request: `{"package":"flow-collector-2.15.0","overrides":{"jupyter":{"report":{"topic":"mine"}}},"audience":["user:ana"]}`,
		},
	}
}

type view struct {
	Name        dm.ApplicationName `json:"name"`
	Package     dm.PackageRef      `json:"package"`
	Owner       dm.UserName        `json:"owner"`
	State       dm.WantedState     `json:"state"`
	Overrides   dm.Overrides       `json:"overrides"`
	Audience    []dm.Subject       `json:"audience"`
	Phase       dm.Phase           `json:"phase"`
	Information *string            `json:"information"`
	Deployment  int                `json:"deployment"`
	Desired     dm.Revision        `json:"desired"`
	Last        stamp              `json:"last"`
	Observed    *observation       `json:"observed"`
}

type stamp struct {
	Action    dm.Verb     `json:"action"`
	User      dm.UserName `json:"user"`
	Auth      string      `json:"auth"`
	Via       string      `json:"via"`
	Time      time.Time   `json:"time"`
	RequestID string      `json:"request_id,omitempty"`
}

// observation leaves out what is the plugins' own.
type observation struct {
	Desired     dm.Revision `json:"desired"`
	Effective   dm.Revision `json:"effective,omitempty"`
	Phase       dm.Phase    `json:"phase"`
	Information *string     `json:"information"`
	Time        time.Time   `json:"time"`
	Components  []component `json:"components"`
}

type component struct {
	Type        dm.ComponentType `json:"type"`
	Name        dm.ComponentName `json:"name"`
	JobName     string           `json:"job_name"`
	Files       int              `json:"files"`
	Information string           `json:"information,omitempty"`
}

func (a *API) get(w http.ResponseWriter, r *http.Request) error {
	text := apihandlers.Var(r, "name")
	var app dm.Application
	known := false
	// A name that no application can have has no record. The record is read
	// before the policy is asked, which may look at the owner; what was read is
	// told only to those it allows.
	name, err := dm.ParseApplicationName(text)
	if err == nil {
		app, known, err = a.Applications.Application(r.Context(), name)
	} else {
		err = nil
	}
	actor, refused := apihandlers.Actor(r)
	if refused == nil {
		refused = a.Policy.Authorize(actor, dm.ApplicationRead, dm.Resource{Name: text, Owner: app.Spec.Owner})
	}
	switch {
	case refused != nil:
		return refused
	case err != nil:
		return err
	case !known:
		return notCreated(text)
	}
	apihandlers.WriteJSON(w, http.StatusOK, viewOf(app))
	return nil
}

func viewOf(app dm.Application) view {
	v := view{
		Name: app.Spec.Name, Package: app.Spec.Package, Owner: app.Spec.Owner, State: app.Spec.State,
		Overrides: app.Spec.Overrides, Audience: apihandlers.NotNull(app.Spec.Audience),
		Phase: app.Phase, Information: apihandlers.Null(app.Information), Deployment: app.Deployment, Desired: app.Desired,
		Last: stamp{app.Last.Verb, app.Last.User, app.Last.Auth, app.Last.Via, app.Last.Time, app.Last.RequestID},
	}
	if v.Overrides == nil {
		v.Overrides = dm.Overrides{}
	}
	if o := app.Observed; o != nil {
		v.Observed = &observation{
			Desired: o.Desired, Effective: o.Effective, Phase: o.Phase,
			Information: apihandlers.Null(o.Information), Time: o.Time, Components: []component{},
		}
		for _, record := range o.Records {
			for _, c := range record.Components {
				v.Observed.Components = append(v.Observed.Components, component{record.Type, c.Name, c.JobName, c.Files, c.Information})
			}
		}
	}
	return v
}

func (a *API) change(w http.ResponseWriter, r *http.Request) error {
	text := apihandlers.Var(r, "name")
	edit, err := readEdit(w, r)
	if err != nil {
		return err
	}
	actor, err := apihandlers.Actor(r)
	if err != nil {
		return err
	}
	name, err := dm.ParseApplicationName(text)
	if err != nil {
		return notCreated(text)
	}
	if err := a.Applications.Change(r.Context(), actor, name, edit); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// readEdit refuses keys it does not know: a misspelled one must not be taken
// for "leave as it is".
func readEdit(w http.ResponseWriter, r *http.Request) (edit dm.Edit, err error) {
	const op = "v1.change"
	body, err := apihandlers.ReadObject(w, r)
	if err != nil {
		return edit, err
	}
	if len(body) == 0 {
		return edit, dm.Errorf(dm.Invalid, op, "the body must hold at least one of package, overrides and audience")
	}
	for _, key := range slices.Sorted(maps.Keys(body)) {
		switch key {
		case "package":
			edit.Package, err = readPackage(body[key])
		case "overrides":
			edit.Overrides, err = readOverrides(body[key])
		case "audience":
			edit.Audience, err = readAudience(body[key])
		default:
			err = dm.Errorf(dm.Invalid, op, "the key %.200q is not known; package, overrides and audience are", key)
		}
		if err != nil {
			return edit, err
		}
	}
	return edit, nil
}

func readPackage(raw json.RawMessage) (*dm.PackageRef, error) {
	var id *string
	if json.Unmarshal(raw, &id) != nil || id == nil {
		return nil, dm.Errorf(dm.Invalid, "v1.change", "the package must be a text, for example \"flow-collector-2.14.3\"")
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
		return nil, dm.Errorf(dm.Invalid, "v1.change", "the overrides must be an object of component types")
	}
	return dm.ParseOverrides(properties)
}

// readAudience returns the subjects sorted and once each, so that equal
// audiences are equal texts.
func readAudience(raw json.RawMessage) ([]dm.Subject, error) {
	const op = "v1.change"
	var texts []string
	if json.Unmarshal(raw, &texts) != nil || len(texts) == 0 {
		return nil, dm.Errorf(dm.Invalid, op, "the audience must be a list of at least one text, for example [\"user:ana\"]")
	}
	subjects := make([]dm.Subject, len(texts))
	for i, text := range texts {
		s, err := dm.ParseSubject(text)
		if err != nil {
			return nil, err
		}
		subjects[i] = s
	}
	slices.Sort(subjects)
	return slices.Compact(subjects), nil
}

func notCreated(name string) error {
	return dm.Errorf(dm.NotFound, "v1", "no application %.200s", name).In(dm.NotCreated)
}
