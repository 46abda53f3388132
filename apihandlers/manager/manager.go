package manager

import (
	"context"
	"errors"
	"net/http"
	"sync"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// Repository is what the API needs of the package repository.
type Repository interface {
	ListPackages(recency int) []dm.PackageListing
}

// Config is what the API needs.
type Config struct {
	Repository   Repository          // required
	Packages     dm.DeployedStore    // required
	Applications dm.ApplicationStore // required
	Policy       dm.Policy
	// Environment is the configuration's section of that name. Keys on the
	// secret list are left out of what is served.
	Environment map[string]any
	// Summarize returns the components of an application as /summary shows
	// them, by key. An empty map and nil mean that nothing is known yet.
	Summarize func(ctx context.Context, app dm.Application) (map[string]any, error)
	// Details returns the cluster jobs of an application as /detail shows them, by
	// key. nil means that there are none.
	Details func(ctx context.Context, app dm.Application) (map[string]any, error)
	// Selftest runs the end-to-end check; nil means that there is none.
	Selftest func(ctx context.Context) (report map[string]any, pass bool)
}

// API serves the deployment manager.
type API struct {
	Config
	endpoints map[string]any
	selftest  sync.Mutex // held while a self-test runs
}

// New checks the configuration.
func New(cfg Config) (*API, error) {
	if cfg.Repository == nil || cfg.Packages == nil || cfg.Applications == nil {
		return nil, errors.New("manager: Repository, Packages and Applications are required")
	}
	endpoints, err := Endpoints(cfg.Environment)
	if err != nil {
		return nil, err
	}
	return &API{Config: cfg, endpoints: endpoints}, nil
}

// Routes is the route table. Rows for explicit words stand before the rows
// that refuse all other words.
func (a *API) Routes() []apihandlers.Route {
	routes := a.packageRoutes()
	routes = append(routes, a.applicationRoutes()...)
	return append(routes, []apihandlers.Route{
		{
			Name: "list-repository", Method: http.MethodGet, Path: "/repository/packages", Access: apihandlers.Reading,
			Actions: []dm.Action{dm.ManagerRepoRead}, Success: http.StatusOK, Handle: a.listRepository,
			Summary:  "Lists the package repository. `recency=n` keeps the newest n versions of each package, 0 means all, the default is 1.",
			Response: `[{"name":"flow-collector","latest_versions":[{"version":"2.14.3","file":"flow-collector-2.14.3.tar.gz"}]}]`,
		},
		{
			Name: "environment-endpoints", Method: http.MethodGet, Path: "/environment/endpoints", Access: apihandlers.Reading,
			Actions: []dm.Action{dm.EnvironmentRead}, Success: http.StatusOK, Handle: a.environment,
			Summary:  "The configuration's environment without secrets. Every value is a string or an object of strings.",
			Response: `{"hadoop_distro":"none","namespace":"platform_app"}`,
		},
		{
			Name: "selftest", Method: http.MethodGet, Path: "/selftest/all", Access: apihandlers.Reading,
			Actions: []dm.Action{dm.SelftestRun}, Success: http.StatusOK, Streams: true, Acts: true, Handle: a.runSelftest,
			Summary:  "Takes a built-in package through its whole life under reserved names and removes it again. `status` is `pass` or `fail`.",
			Response: `{"status":"pass"}`,
		},
	}...)
}

// reader identifies the caller of a read and asks the policy, which comes
// first for reads.
func (a *API) reader(r *http.Request, action dm.Action, on dm.Resource) error {
	actor, err := apihandlers.Actor(r)
	if err != nil {
		return err
	}
	return a.Policy.Authorize(actor, action, on)
}

func (a *API) listRepository(w http.ResponseWriter, r *http.Request) error {
	if err := a.reader(r, dm.ManagerRepoRead, dm.Resource{}); err != nil {
		return err
	}
	recency, err := apihandlers.Recency(r, 0, 1)
	if err != nil {
		return err
	}
	apihandlers.WriteJSON(w, http.StatusOK, apihandlers.Listing(a.Repository.ListPackages(recency)))
	return nil
}

func (a *API) environment(w http.ResponseWriter, r *http.Request) error {
	if err := a.reader(r, dm.EnvironmentRead, dm.Resource{}); err != nil {
		return err
	}
	apihandlers.WriteJSON(w, http.StatusOK, a.endpoints)
	return nil
}

// runSelftest lets one run at a time, because the names it uses are reserved
// once.
func (a *API) runSelftest(w http.ResponseWriter, r *http.Request) error {
	const op = "manager.runSelftest"
	if err := a.reader(r, dm.SelftestRun, dm.Resource{}); err != nil {
		return err
	}
	if a.Selftest == nil {
		return dm.Errorf(dm.Unavailable, op, "this server has no self-test")
	}
	if !a.selftest.TryLock() {
		return dm.Errorf(dm.Unavailable, op, "a self-test is already running")
	}
	defer a.selftest.Unlock()
	report, pass := a.Selftest(r.Context())
	answer := map[string]any{}
	for k, v := range report {
		answer[k] = v
	}
	answer["status"] = "fail"
	if pass {
		answer["status"] = "pass"
	}
	apihandlers.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// otherWord makes the handler that explains which words may follow a name.
func otherWord(words string) func(http.ResponseWriter, *http.Request) error {
	return func(http.ResponseWriter, *http.Request) error {
		return dm.Errorf(dm.Invalid, "route", "only %s may follow the name", words)
	}
}

// state is the status body of packages and applications: always both keys.
type state struct {
	Status      dm.Phase `json:"status"`
	Information *string  `json:"information"`
}
