package manager

import (
	"net/http"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

func (a *API) packageRoutes() []apihandlers.Route {
	const id = "/packages/{id}"
	read := []dm.Action{dm.PackagesRead}
	return []apihandlers.Route{
		{
			Name: "list-packages", Method: http.MethodGet, Path: "/packages", Access: apihandlers.Reading, Actions: read,
			Success: http.StatusOK, Handle: a.listPackages,
			Summary:  "The ids of deployed packages, ascending.",
			Response: `["flow-collector-2.14.3","word-maps-0.1.0"]`,
		},
		{
			Name: "package", Method: http.MethodGet, Path: id, Access: apihandlers.Reading, Actions: read,
			Success: http.StatusOK, Handle: a.packageInfo,
			Summary:  "What is known of a package; 200 for any id.",
			Response: `{"name":"flow-collector","version":"2.14.3","status":"DEPLOYED","user":"ana","defaults":{"jupyter":{"report":{"topic":"flows"}}},"information":"Deployed flow-collector-2.14.3 at 2025-01-06T10:20:30.123456"}`,
		},
		{
			Name: "deploy-package", Method: http.MethodPut, Path: id, Access: apihandlers.Changing, Actions: []dm.Action{dm.PackageDeploy},
			Success: http.StatusAccepted, Handle: a.deploy,
			Summary: "Makes a published package available for applications. A missing or malformed package is 202 too; its status tells the reason.",
		},
		{
			Name: "undeploy-package", Method: http.MethodDelete, Path: id, Access: apihandlers.Changing, Actions: []dm.Action{dm.PackageUndeploy},
			Success: http.StatusAccepted, Handle: a.undeploy,
			Summary: "Takes a deployed package back. Applications made from it stay.",
		},
		{
			Name: "package-status", Method: http.MethodGet, Path: id + "/status", Access: apihandlers.Reading, Actions: read,
			Success: http.StatusOK, Handle: a.packageState,
			Summary:  "State and information of a package; 200 for any id.",
			Response: `{"status":"DEPLOYED","information":"Deployed flow-collector-2.14.3 at 2025-01-06T10:20:30.123456"}`,
		},
		{
			Name: "package-applications", Method: http.MethodGet, Path: id + "/applications", Access: apihandlers.Reading,
			Actions: []dm.Action{dm.ApplicationsRead}, Success: http.StatusOK, Handle: a.packageApplications,
			Summary:  "The names of applications made from the package, ascending.",
			Response: `["noon-run","test-1"]`,
		},
		{
			Name: "package-other", Method: http.MethodGet, Path: id + "/{word}", Access: apihandlers.Reading, Fallback: true,
			Success: http.StatusBadRequest, Handle: otherWord("status and applications"),
		},
	}
}

func (a *API) listPackages(w http.ResponseWriter, r *http.Request) error {
	if err := a.reader(r, dm.PackagesRead, dm.Resource{}); err != nil {
		return err
	}
	apihandlers.WriteJSON(w, http.StatusOK, apihandlers.NotNull(a.Packages.DeployedPackages()))
	return nil
}

// readPackage reads and then asks the policy, which may look at the owner. What
// was read is told only to those it allows.
func (a *API) readPackage(r *http.Request) (dm.PackageStatus, error) {
	id := apihandlers.Var(r, "id")
	p, err := a.Packages.PackageStatus(r.Context(), id)
	if denied := a.reader(r, dm.PackagesRead, dm.Resource{Name: id, Owner: p.Owner}); denied != nil {
		return p, denied
	}
	return p, err
}

// packageView has PNDA's six keys, always.
type packageView struct {
	Name        string      `json:"name"`
	Version     string      `json:"version"`
	Status      dm.Phase    `json:"status"`
	User        *string     `json:"user"`
	Defaults    dm.Defaults `json:"defaults"`
	Information *string     `json:"information"`
}

func (a *API) packageInfo(w http.ResponseWriter, r *http.Request) error {
	p, err := a.readPackage(r)
	if err != nil {
		return err
	}
	apihandlers.WriteJSON(w, http.StatusOK, packageView{
		Name: p.Name, Version: p.Version, Status: p.Phase, User: apihandlers.Null(string(p.Owner)),
		Defaults: p.Defaults, Information: apihandlers.Null(p.Information),
	})
	return nil
}

func (a *API) packageState(w http.ResponseWriter, r *http.Request) error {
	p, err := a.readPackage(r)
	if err != nil {
		return err
	}
	apihandlers.WriteJSON(w, http.StatusOK, state{p.Phase, apihandlers.Null(p.Information)})
	return nil
}

func (a *API) packageApplications(w http.ResponseWriter, r *http.Request) error {
	if err := a.reader(r, dm.ApplicationsRead, dm.Resource{}); err != nil {
		return err
	}
	apihandlers.WriteJSON(w, http.StatusOK, apihandlers.NotNull(a.Packages.PackageApplications(apihandlers.Var(r, "id"))))
	return nil
}

func (a *API) deploy(w http.ResponseWriter, r *http.Request) error {
	actor, err := apihandlers.Actor(r)
	if err != nil {
		return err
	}
	return accepted(w, a.Packages.DeployPackage(r.Context(), actor, apihandlers.Var(r, "id")))
}

func (a *API) undeploy(w http.ResponseWriter, r *http.Request) error {
	actor, err := apihandlers.Actor(r)
	if err != nil {
		return err
	}
	return accepted(w, a.Packages.UndeployPackage(r.Context(), actor, apihandlers.Var(r, "id")))
}

// accepted answers a change that the record has taken: 202 without a body.
func accepted(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusAccepted)
	}
	return err
}
