package manager

import (
	"net/http"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

func (a *API) applicationRoutes() []apihandlers.Route {
	const name = "/applications/{name}"
	get := func(route, path, summary, response string, h func(http.ResponseWriter, *http.Request) error) apihandlers.Route {
		return apihandlers.Route{
			Name: route, Method: http.MethodGet, Path: name + path, Access: apihandlers.Reading, Actions: []dm.Action{dm.ApplicationRead},
			Success: http.StatusOK, Summary: summary, Response: response, Handle: h,
		}
	}
	change := func(route, method, path, summary string, h func(http.ResponseWriter, *http.Request) error, actions ...dm.Action) apihandlers.Route {
		return apihandlers.Route{
			Name: route, Method: method, Path: name + path, Access: apihandlers.Changing, Actions: actions,
			Success: http.StatusAccepted, Summary: summary, Handle: h,
		}
	}
	create := change("create-application", http.MethodPut, "",
		"Creates an application from a deployed package. Beside `package` the body holds overrides by component type and component.",
		a.create, dm.PackageRead, dm.ApplicationCreate)
	create.Request = `{"package":"flow-collector-2.14.3","jupyter":{"report":{"topic":"mine"}}}`
	whole := get("application", "", "What is known of an application; an unknown name is NOTCREATED. Without the second action `overrides` holds `package` and `user` alone.",
		`{"name":"noon-run","package_name":"flow-collector-2.14.3","status":"STARTED","information":"","defaults":{"jupyter":{"report":{"topic":"flows"}}},"overrides":{"jupyter":{"report":{"topic":"mine"}},"package":"flow-collector-2.14.3","user":"ana"},"user":"ana"}`,
		a.application)
	whole.Actions = append(whole.Actions, dm.ApplicationOverrides)
	return []apihandlers.Route{
		{
			Name: "list-applications", Method: http.MethodGet, Path: "/applications", Access: apihandlers.Reading,
			Actions: []dm.Action{dm.ApplicationsRead}, Success: http.StatusOK, Handle: a.listApplications,
			Summary: "The names of created applications, ascending.", Response: `["noon-run","test-1"]`,
		},
		whole,
		create,
		change("destroy-application", http.MethodDelete, "",
			"Destroys an application. With `clear=true` also removes the record of a failed creation.", a.destroy, dm.ApplicationDestroy),
		get("application-status", "/status", "State and information of an application; an unknown name is NOTCREATED.",
			`{"status":"CREATED","information":null}`, a.applicationState),
		get("application-detail", "/detail", "The cluster jobs of an application, in the words that PNDA had for those of YARN. Times are milliseconds since 1970; `object` is what runs the job on the cluster, below its namespace.",
			`{"name":"noon-run","status":"STARTED","yarn_applications":{"sparkStreaming-count":{"component":"count","object":"pnda-data/sparkapplications/noon-run-sparkstreaming-count-5f0d9a1b2c","type":"sparkStreaming","yarn-id":"spark-0123456789abcdef0123456789abcdef","yarn-start-time":1736158830000,"yarn-state":"RUNNING"}}}`,
			a.detail),
		get("application-summary", "/summary", "The state of each component.",
			`{"noon-run":{"aggregate_status":"RUNNING","jupyter-1":{"aggregate_status":"RUNNING","componentType":"Jupyter","name":"noon-run-report-job","information":"3 files, delivered, fetched by 1 user"}}}`,
			a.summary),
		change("start-application", http.MethodPost, "/start", "Starts a created application.", a.start, dm.ApplicationStart),
		change("stop-application", http.MethodPost, "/stop", "Stops a started application.", a.stop, dm.ApplicationStop),
		{
			Name: "application-other", Method: http.MethodGet, Path: name + "/{word}", Access: apihandlers.Reading, Fallback: true,
			Success: http.StatusBadRequest, Handle: otherWord("status, detail and summary"),
		},
		{
			Name: "application-other-action", Method: http.MethodPost, Path: name + "/{word}", Access: apihandlers.Changing, Fallback: true,
			Success: http.StatusBadRequest, Handle: otherWord("start and stop"),
		},
	}
}

func (a *API) listApplications(w http.ResponseWriter, r *http.Request) error {
	if err := a.reader(r, dm.ApplicationsRead, dm.Resource{}); err != nil {
		return err
	}
	apihandlers.WriteJSON(w, http.StatusOK, apihandlers.NotNull(a.Applications.Applications()))
	return nil
}

func (a *API) readApplication(r *http.Request) (apihandlers.KnownApplication, error) {
	return apihandlers.ReadApplication(r, a.Policy, a.Applications.Application)
}

// applicationView holds no null at any depth: PNDA's console walks the whole of
// it with Object.keys and stops at the first.
type applicationView struct {
	Name        dm.ApplicationName `json:"name"`
	Package     string             `json:"package_name"`
	Status      dm.Phase           `json:"status"`
	Information string             `json:"information"`
	Defaults    map[string]any     `json:"defaults"`
	Overrides   map[string]any     `json:"overrides"`
	User        dm.UserName        `json:"user"`
}

// unknownApplication is what applicationView is of a name without a record.
type unknownApplication struct {
	Status      dm.Phase `json:"status"`
	Information string   `json:"information"`
}

// application answers an unknown name like its status: 200 and NOTCREATED.
func (a *API) application(w http.ResponseWriter, r *http.Request) error {
	app, err := a.readApplication(r)
	if err != nil {
		return err
	}
	if !app.Known {
		apihandlers.WriteJSON(w, http.StatusOK, unknownApplication{Status: dm.NotCreated})
		return nil
	}
	if !app.Delivered {
		app.Spec.Overrides = nil // package and user are names, which everybody may know
	}
	apihandlers.WriteJSON(w, http.StatusOK, applicationView{
		Name: app.Spec.Name, Package: app.Spec.Package.String(), Status: app.Phase,
		Information: app.Information, Defaults: withoutNulls(app.Defaults),
		Overrides: createBody(app.Spec), User: app.Spec.Owner,
	})
	return nil
}

// createBody is the body of the create request with the user added, which
// PNDA calls overrides.
func createBody(spec dm.Spec) map[string]any {
	body := withoutNulls(spec.Overrides)
	body["package"], body["user"] = spec.Package.String(), spec.Owner
	return body
}

func (a *API) applicationState(w http.ResponseWriter, r *http.Request) error {
	app, err := a.readApplication(r)
	if err != nil {
		return err
	}
	s := state{Status: dm.NotCreated}
	if app.Known {
		s = state{app.Phase, apihandlers.Null(app.Information)}
	}
	apihandlers.WriteJSON(w, http.StatusOK, s)
	return nil
}

type detailView struct {
	Name   dm.ApplicationName `json:"name"`
	Status dm.Phase           `json:"status"`
	Jobs   map[string]any     `json:"yarn_applications"`
}

// detail lists cluster jobs. A cluster that can't be asked shows none, as PNDA did;
// NOTCREATED, also after a failed create, is 404.
func (a *API) detail(w http.ResponseWriter, r *http.Request) error {
	app, err := a.readApplication(r)
	if err != nil {
		return err
	}
	if !app.Known || app.Phase == dm.NotCreated {
		return notCreated(apihandlers.Var(r, "name"))
	}
	view := detailView{Name: app.Spec.Name, Status: app.Phase, Jobs: map[string]any{}}
	if a.Details != nil {
		jobs, err := a.Details(r.Context(), app.Application)
		if err != nil {
			apihandlers.NoteError(r.Context(), err)
		} else {
			view.Jobs = jobs
		}
	}
	apihandlers.WriteJSON(w, http.StatusOK, view)
	return nil
}

// noSummary tells that there is no data: PNDA's console goes by the key status.
type noSummary struct {
	Status      string `json:"status"`
	Information string `json:"information,omitempty"`
}

func (a *API) summary(w http.ResponseWriter, r *http.Request) error {
	app, err := a.readApplication(r)
	if err != nil {
		return err
	}
	var answer any = noSummary{Status: "Not Created"}
	if app.Known {
		answer = a.components(r, app.Application)
	}
	apihandlers.WriteJSON(w, http.StatusOK, map[string]any{apihandlers.Var(r, "name"): answer})
	return nil
}

// components always has an answer: a back end that cannot be asked is told in
// it.
func (a *API) components(r *http.Request, view dm.Application) any {
	nothing := noSummary{Status: "Not Available"}
	if a.Summarize == nil || view.Observed == nil || view.Observed.Phase == dm.NotCreated {
		return nothing
	}
	components, err := a.Summarize(r.Context(), view)
	if err != nil {
		apihandlers.NoteError(r.Context(), err)
		nothing.Information = dm.Public(err)
		return nothing
	}
	if len(components) == 0 {
		return nothing
	}
	return components
}

func notCreated(name string) error {
	return dm.Errorf(dm.NotFound, "manager", "no application %.200s", name).In(dm.NotCreated)
}
