package v1

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Applications is what the API needs of the record, beside its history.
type Applications interface {
	Change(ctx context.Context, actor dm.Actor, app dm.ApplicationName, edit dm.Edit) error
	Rollback(ctx context.Context, actor dm.Actor, app dm.ApplicationName, to int) error
	Application(ctx context.Context, app dm.ApplicationName) (view dm.Application, ok bool, err error)
}

// Config is what the API needs.
type Config struct {
	Applications Applications  // required
	History      dm.History    // required
	Owners       dm.Owners     // required
	Events       dm.Events     // required
	Deliveries   dm.Deliveries // required
	Directory    dm.Directory  // required; knows the members of groups
	Logs         dm.Logs       // nil means that no component writes any
	Kept         dm.KeptLogs   // nil means that none are kept
	Policy       dm.Policy
	Clock        func() time.Time // nil means time.Now
	Ending       <-chan struct{}  // closed when the server stops: who follows events comes again; nil means never
}

// API serves /api/v1.
type API struct {
	Config
	following following
}

// New checks the configuration.
func New(cfg Config) (*API, error) {
	if cfg.Applications == nil || cfg.History == nil || cfg.Owners == nil || cfg.Events == nil || cfg.Deliveries == nil || cfg.Directory == nil {
		return nil, errors.New("v1: Applications, History, Owners, Events, Deliveries and Directory are required")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &API{Config: cfg}, nil
}

// Routes is the route table.
func (a *API) Routes() []apihandlers.Route {
	routes := append(a.applicationRoutes(), a.historyRoutes()...)
	return slices.Concat(routes, a.audienceRoutes(), a.diffRoutes(), a.logRoutes(), a.eventRoutes())
}

func (a *API) applicationRoutes() []apihandlers.Route {
	const path = "/api/v1/applications/{name}"
	return []apihandlers.Route{
		{
			Name: "v1-application", Method: http.MethodGet, Path: path, Access: apihandlers.Reading,
			Actions: []dm.Action{dm.ApplicationRead, dm.ApplicationOverrides}, Success: http.StatusOK, Handle: a.get,
			Summary:  "The whole of an application: what is desired, who asked for it last (and why, and through which service, when that was told), and what was observed: `team` is under whose name its work runs, where the server runs work for teams; a component's `state` is the word of its engine, where it has one, and its `drift` what somebody else changed there, which the next change of the application puts right. `overrides` and `audience` are null for whom the second action is not granted, and `drift` is left out.",
			Response: `{"name":"noon-run","package":"flow-collector-2.14.3","owner":"ana","state":"started","overrides":{},"audience":["user:ana"],"phase":"STARTED","information":null,"deployment":2,"desired":"0123456789abcdef0123456789abcdef01234567","last":{"action":"change","user":"ana","impersonator":"console","auth":"htpasswd","via":"api","reason":"the topic was renamed","time":"2025-01-06T10:20:30.123456Z"},"observed":null}`,
		},
		{
			Name: "v1-change-application", Method: http.MethodPut, Path: path, Access: apihandlers.Changing,
			Actions: []dm.Action{dm.ApplicationChange, dm.AudienceDeliver}, Success: http.StatusAccepted, Handle: a.change,
			Summary: "Changes an application in place. The body holds at least one of `package`, `overrides` and `audience`; what it leaves out stays as it is. An audience beyond oneself needs the group publisher or admin. `reason` may stand in the body instead of the query.",
			Request: `{"package":"flow-collector-2.15.0","overrides":{"jupyter":{"report":{"topic":"mine"}}},"audience":["user:ana"],"reason":"the topic was renamed"}`,
		},
		{
			Name: "v1-rollback", Method: http.MethodPost, Path: path + "/rollback", Access: apihandlers.Changing,
			Actions: []dm.Action{dm.ApplicationRollback, dm.AudienceDeliver}, Success: http.StatusAccepted, Handle: a.rollback,
			Summary: "Takes package, overrides and audience of the deployment `to` and keeps the wanted state; it makes a new deployment. A deployment that a destroy ended is 400. `reason` may stand in the body instead of the query.",
			Request: `{"to":3,"reason":"the report of deployment 4 is empty"}`,
		},
	}
}

type view struct {
	Name        dm.ApplicationName `json:"name"`
	Package     dm.PackageRef      `json:"package"`
	Owner       dm.UserName        `json:"owner"`
	Team        string             `json:"team,omitempty"`
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
	Action       dm.Verb     `json:"action"`
	User         dm.UserName `json:"user"`
	Impersonator dm.UserName `json:"impersonator,omitempty"`
	Auth         string      `json:"auth"`
	Via          string      `json:"via"`
	Reason       string      `json:"reason,omitempty"`
	Time         time.Time   `json:"time"`
	RequestID    string      `json:"request_id,omitempty"`
}

func stampOf(s dm.Stamp) stamp {
	return stamp{s.Verb, s.User, s.Impersonator, s.Auth, s.Via, s.Reason, s.Time, s.RequestID}
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
	State       string           `json:"state,omitempty"` // of its engine, where one tells
	Information string           `json:"information,omitempty"`
	Drift       []dm.Drift       `json:"drift,omitempty"`
}

// get shows what was delivered only to those whom it is for.
func (a *API) get(w http.ResponseWriter, r *http.Request) error {
	app, err := apihandlers.ReadApplication(r, a.Policy, a.Applications.Application)
	switch {
	case err != nil:
		return err
	case !app.Known:
		return notCreated(apihandlers.Var(r, "name"))
	}
	shown := viewOf(app.Application)
	if !app.Delivered {
		shown.Overrides, shown.Audience = nil, nil
		shown.withoutDrift()
	}
	apihandlers.WriteJSON(w, http.StatusOK, shown)
	return nil
}

func viewOf(app dm.Application) view {
	v := view{
		Name: app.Spec.Name, Package: app.Spec.Package, Owner: app.Spec.Owner, Team: app.Spec.Team, State: app.Spec.State,
		Overrides: app.Spec.Overrides, Audience: apihandlers.NotNull(app.Spec.Audience),
		Phase: app.Phase, Information: apihandlers.Null(app.Information), Deployment: app.Deployment, Desired: app.Desired,
		Last: stampOf(app.Last),
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
				v.Observed.Components = append(v.Observed.Components, component{record.Type, c.Name, c.JobName, c.Files, c.State, c.Information, c.Drift})
			}
		}
	}
	return v
}

// withoutDrift hides what shows values of what was delivered.
func (v *view) withoutDrift() {
	if v.Observed != nil {
		for i := range v.Observed.Components {
			v.Observed.Components[i].Drift = nil
		}
	}
}

func notCreated(name string) error {
	return dm.Errorf(dm.NotFound, "v1", "no application %.200s", name).In(dm.NotCreated)
}
