package v1

import (
	"net/http"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

func (a *API) historyRoutes() []apihandlers.Route {
	return []apihandlers.Route{
		{
			Name: "v1-application-history", Method: http.MethodGet, Path: "/api/v1/applications/{name}/history", Access: apihandlers.Reading,
			Actions: []dm.Action{dm.ApplicationHistory}, Success: http.StatusOK, Handle: a.applicationHistory,
			Summary:  "The changes of an application, newest first, each with who, when, why and how it ended; also after it was destroyed. `limit=n` (1 to 500, default 50) gives so many; `before=<revision>` gives what is older than that one: pass the `next` of the page before. `outcome` is null as long as a change is carried out.",
			Response: `{"application":"noon-run","changes":[{"revision":"0123456789abcdef0123456789abcdef01234567","action":"change","user":"ana","auth":"htpasswd","via":"api","reason":"the topic was renamed","time":"2025-01-06T10:20:30.123456Z","request_id":"4f2d","package":"flow-collector-2.14.3","deployment":2,"outcome":{"phase":"STARTED","succeeded":true,"information":null,"time":"2025-01-06T10:20:31.5Z"}}],"next":null}`,
		},
		{
			Name: "v1-package-history", Method: http.MethodGet, Path: "/api/v1/packages/{name}/history", Access: apihandlers.Reading,
			Actions: []dm.Action{dm.RepositoryRead}, Success: http.StatusOK, Handle: a.packageHistory,
			Summary:  "What happened to all versions of a package, newest first: publish, withdraw, deploy and undeploy. `limit` and `before` as above. `outcome` is null for publish and withdraw, which are done when they are answered; `findings` of a publish tells why the version cannot be deployed, and is absent when nothing does.",
			Response: `{"package":"flow-collector","changes":[{"revision":"0123456789abcdef0123456789abcdef01234567","action":"deploy","user":"ana","auth":"htpasswd","via":"manager","time":"2025-01-06T10:20:30.123456Z","package":"flow-collector-2.14.3","outcome":{"phase":"DEPLOYED","succeeded":true,"information":null,"time":"2025-01-06T10:20:30.123456Z"}}],"next":null}`,
		},
		{
			Name: "v1-at", Method: http.MethodGet, Path: "/api/v1/at", Access: apihandlers.Reading,
			Actions: []dm.Action{dm.ApplicationRead}, Success: http.StatusOK, Handle: a.at,
			Summary:  "What was in effect at an instant: all applications there were that the caller may read. `time` is written as in RFC 3339 and must have been; up to a minute ahead of the server's clock is now. The answer's `time` is the instant that was taken.",
			Response: `{"time":"2025-01-06T12:00:00Z","applications":[{"name":"noon-run","owner":"ana","phase":"STARTED","package":"flow-collector-2.14.3","deployment":2,"revision":"0123456789abcdef0123456789abcdef01234567","since":"2025-01-06T10:20:31.5Z"}]}`,
		},
	}
}

type change struct {
	Revision dm.Revision `json:"revision"`
	stamp
	Package    *dm.PackageRef `json:"package"`
	Deployment int            `json:"deployment,omitempty"`
	Pushed     dm.Revision    `json:"pushed,omitempty"`
	Findings   []string       `json:"findings,omitempty"`
	Outcome    *outcome       `json:"outcome"`
}

type outcome struct {
	Phase       dm.Phase  `json:"phase"`
	Succeeded   bool      `json:"succeeded"`
	Information *string   `json:"information"`
	Time        time.Time `json:"time"`
}

// changesOf returns the page's changes, and its next as JSON has it.
func changesOf(p dm.ChangePage) (list []change, next *string) {
	list = make([]change, len(p.Changes))
	for i, c := range p.Changes {
		list[i] = change{Revision: c.Revision, stamp: stampOf(c.Stamp), Deployment: c.Deployment, Pushed: c.Pushed, Findings: c.Findings}
		if c.Package != (dm.PackageRef{}) {
			list[i].Package = &c.Package
		}
		if o := c.Outcome; o != nil {
			list[i].Outcome = &outcome{o.Phase, o.Succeeded, apihandlers.Null(o.Information), o.Time}
		}
	}
	return list, apihandlers.Null(string(p.Next))
}

type applicationHistory struct {
	Application dm.ApplicationName `json:"application"`
	Changes     []change           `json:"changes"`
	Next        *string            `json:"next"`
}

func (a *API) applicationHistory(w http.ResponseWriter, r *http.Request) error {
	past, err := a.readPast(r)
	if err != nil {
		return err
	}
	asked, err := page(r)
	if err != nil {
		return err
	}
	found, err := a.History.ApplicationHistory(r.Context(), past.name, asked)
	if err != nil {
		return err
	}
	answer := applicationHistory{Application: past.name}
	answer.Changes, answer.Next = changesOf(found)
	apihandlers.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// pastOf is an application whose past the caller may read.
type pastOf struct {
	actor dm.Actor
	name  dm.ApplicationName
	on    dm.Resource
	since int // see dm.Owners
}

// readPast names the application whose past the caller may read. There may be no
// record of it now: a destroyed one has a past, and whose it was last counts.
func (a *API) readPast(r *http.Request) (p pastOf, err error) {
	text := apihandlers.Var(r, "name")
	p.on.Name = text
	missing := error(dm.Errorf(dm.NotFound, "v1", "no application %.200s, now or in the past", text))
	if name, bad := dm.ParseApplicationName(text); bad == nil {
		p.name = name
		on, since, err := a.Owners.ApplicationOwner(r.Context(), name)
		if missing = err; err == nil {
			p.on, p.since = on, since
		}
	}
	if p.actor, err = apihandlers.Actor(r); err == nil {
		err = a.Policy.Authorize(p.actor, dm.ApplicationHistory, p.on)
	}
	if err == nil {
		err = missing
	}
	return p, err
}

type packageHistory struct {
	Package dm.PackageName `json:"package"`
	Changes []change       `json:"changes"`
	Next    *string        `json:"next"`
}

func (a *API) packageHistory(w http.ResponseWriter, r *http.Request) error {
	name, err := a.readPackage(r)
	if err != nil {
		return err
	}
	asked, err := page(r)
	if err != nil {
		return err
	}
	found, err := a.History.PackageHistory(r.Context(), name, asked)
	if err != nil {
		return err
	}
	answer := packageHistory{Package: name}
	answer.Changes, answer.Next = changesOf(found)
	apihandlers.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// readPackage names the package that the caller may read.
func (a *API) readPackage(r *http.Request) (dm.PackageName, error) {
	text := apihandlers.Var(r, "name")
	actor, err := apihandlers.Actor(r)
	if err == nil {
		err = a.Policy.Authorize(actor, dm.RepositoryRead, dm.Resource{Name: text})
	}
	if err != nil {
		return "", err
	}
	name, err := dm.ParsePackageName(text)
	if err != nil {
		return "", dm.Errorf(dm.NotFound, "v1", "no package %.200s, now or in the past", text)
	}
	return name, nil
}

type moment struct {
	Time         time.Time `json:"time"`
	Applications []then    `json:"applications"`
}

type then struct {
	Name       dm.ApplicationName `json:"name"`
	Owner      dm.UserName        `json:"owner"`
	Phase      dm.Phase           `json:"phase"`
	Package    dm.PackageRef      `json:"package"`
	Deployment int                `json:"deployment"`
	Revision   dm.Revision        `json:"revision"`
	Since      time.Time          `json:"since"`
}

// at asks the policy of each application by itself, because whom it allows may
// depend on the owner.
func (a *API) at(w http.ResponseWriter, r *http.Request) error {
	actor, err := apihandlers.Actor(r)
	if err != nil {
		return err
	}
	when, err := instant(r, a.Clock())
	if err != nil {
		return err
	}
	found, err := a.History.At(r.Context(), when, func(app dm.ApplicationName, owner dm.UserName) bool {
		return a.Policy.Authorize(actor, dm.ApplicationRead, dm.Resource{Name: string(app), Owner: owner}) == nil
	})
	if err != nil {
		return err
	}
	answer := moment{Time: when, Applications: make([]then, len(found))}
	for i, t := range found {
		answer.Applications[i] = then{t.Application, t.Owner, t.Phase, t.Package, t.Deployment, t.Revision, t.Since}
	}
	apihandlers.WriteJSON(w, http.StatusOK, answer)
	return nil
}
