package v1

import (
	"net/http"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

func (a *API) diffRoutes() []apihandlers.Route {
	const formats = " As text (`format=text`, or `Accept: text/plain`) it is told in plain words, and the unified patch follows, cut off at 4 MiB or 100,000 lines, which its last line then says; files over 4 MiB are only named."
	return []apihandlers.Route{
		{
			Name: "v1-application-diff", Method: http.MethodGet, Path: "/api/v1/applications/{name}/diff", Access: apihandlers.Reading,
			Actions: []dm.Action{dm.ApplicationHistory, dm.ApplicationContent}, Success: http.StatusOK, Streams: true, Handle: a.applicationDiff,
			Summary:  "What lies between two deployments of an application: package, overrides, audience and files as delivered. `from` and `to` are numbers of deployments; `to` is the newest when it is left out, `from` the one before `to`. What is equal is null; a size is null where the file does not exist. `files_more` counts changed files beyond those that are listed." + formats,
			Response: `{"from":{"deployment":1,"revision":"0123456789abcdef0123456789abcdef01234567","package":"flow-collector-2.14.3","audience":["user:ana"]},"to":{"deployment":2,"revision":"89abcdef0123456789abcdef0123456789abcdef","package":"flow-collector-2.15.0","audience":["user:ana"]},"package":{"from":"flow-collector-2.14.3","to":"flow-collector-2.15.0"},"overrides":[{"type":"jupyter","component":"report","key":"topic","from":null,"to":"mine"}],"audience":null,"files":[{"path":"components/jupyter/report/report.ipynb","change":"changed","from_size":1204,"to_size":1311}],"files_more":0}`,
		},
		{
			Name: "v1-package-diff", Method: http.MethodGet, Path: "/api/v1/packages/{name}/diff", Access: apihandlers.Reading,
			Actions: []dm.Action{dm.RepositoryRead}, Success: http.StatusOK, Streams: true, Handle: a.packageDiff,
			Summary:  "What lies between two published versions of a package. `from` and `to` are versions." + formats,
			Response: `{"from":{"revision":"0123456789abcdef0123456789abcdef01234567","package":"flow-collector-2.14.3"},"to":{"revision":"89abcdef0123456789abcdef0123456789abcdef","package":"flow-collector-2.15.0"},"files":[{"path":"jupyter/report/help.md","change":"added","from_size":null,"to_size":311}],"files_more":0}`,
		},
	}
}

type difference struct {
	From side `json:"from"`
	To   side `json:"to"`
	*content
	Files     []fileChange `json:"files"`
	FilesMore int          `json:"files_more"`
}

type side struct {
	Deployment int           `json:"deployment,omitempty"`
	Revision   dm.Revision   `json:"revision"`
	Package    dm.PackageRef `json:"package"`
	Audience   []dm.Subject  `json:"audience,omitempty"`
}

// content is what differs of an application beside its files.
type content struct {
	Package   *between[dm.PackageRef] `json:"package"`
	Overrides []overrideChange        `json:"overrides"`
	Audience  *between[[]dm.Subject]  `json:"audience"`
}

type between[T any] struct {
	From T `json:"from"`
	To   T `json:"to"`
}

type overrideChange struct {
	Type      dm.ComponentType `json:"type"`
	Component dm.ComponentName `json:"component"`
	Key       string           `json:"key"`
	From      any              `json:"from"`
	To        any              `json:"to"`
}

type fileChange struct {
	Path     string `json:"path"`
	Change   string `json:"change"`
	FromSize *int64 `json:"from_size"`
	ToSize   *int64 `json:"to_size"`
}

func (a *API) applicationDiff(w http.ResponseWriter, r *http.Request) error {
	past, err := a.readPast(r)
	if err == nil {
		err = a.mayCompare(past)
	}
	if err != nil {
		return err
	}
	asText, err := wantsText(w, r)
	if err != nil {
		return err
	}
	from, err := integer(r, "from", unlimited)
	if err != nil {
		return err
	}
	to, err := integer(r, "to", unlimited)
	if err != nil {
		return err
	}
	found, err := a.History.ApplicationDiff(r.Context(), past.name, from, to)
	bound(w)
	if err == nil {
		err = a.mayCompareSides(past, found)
	}
	if err != nil {
		return err
	}
	if asText {
		return writeText(w, r, wordsOf(past.name, found), found.WritePatch)
	}
	answer := differenceOf(found)
	answer.content = contentOf(found)
	apihandlers.WriteJSON(w, http.StatusOK, answer)
	return nil
}

// mayCompare asks for what was delivered, which a difference shows parts of. Who
// did not sign in where that is not needed for other things is asked to.
func (a *API) mayCompare(past pastOf) error {
	err := a.Policy.Authorize(past.actor, dm.ApplicationContent, past.on)
	if err != nil && past.actor.User == "" {
		return dm.Errorf(dm.Unauthenticated, "v1.mayCompare", "a credential is required to read what was delivered").Because(err)
	}
	return err
}

// mayCompareSides keeps what another person deployed under the same name before
// from whom the application is for now.
func (a *API) mayCompareSides(past pastOf, found dm.Difference) error {
	if past.since <= 1 || min(found.From.Deployment, found.To.Deployment) >= past.since {
		return nil
	}
	if a.Policy.Authorize(past.actor, dm.ApplicationContent, dm.Resource{Name: past.on.Name}) == nil {
		return nil
	}
	return dm.Errorf(dm.Forbidden, "v1.mayCompareSides", "only admins and auditors may read what others deployed as %s before deployment %d", past.on.Name, past.since)
}

func (a *API) packageDiff(w http.ResponseWriter, r *http.Request) error {
	name, err := a.readPackage(r)
	if err != nil {
		return err
	}
	asText, err := wantsText(w, r)
	if err != nil {
		return err
	}
	from, err := version(r, "from")
	if err != nil {
		return err
	}
	to, err := version(r, "to")
	if err != nil {
		return err
	}
	found, err := a.History.PackageDiff(r.Context(), name, from, to)
	bound(w)
	if err != nil {
		return err
	}
	if asText {
		return writeText(w, r, packageWordsOf(found), found.WritePatch)
	}
	apihandlers.WriteJSON(w, http.StatusOK, differenceOf(found))
	return nil
}

// differenceOf leaves out the content, which packages do not have.
func differenceOf(d dm.Difference) difference {
	v := difference{From: sideOf(d.From), To: sideOf(d.To), Files: make([]fileChange, len(d.Files)), FilesMore: d.FilesMore}
	for i, f := range d.Files {
		v.Files[i] = fileChange{f.Path, "changed", size(f.FromSize), size(f.ToSize)}
		switch {
		case f.FromSize < 0:
			v.Files[i].Change = "added"
		case f.ToSize < 0:
			v.Files[i].Change = "removed"
		}
	}
	return v
}

func sideOf(s dm.Side) side { return side{s.Deployment, s.Revision, s.Package, s.Audience} }

func size(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}

func contentOf(d dm.Difference) *content {
	c := &content{Overrides: make([]overrideChange, len(d.Overrides))}
	if d.From.Package != d.To.Package {
		c.Package = &between[dm.PackageRef]{d.From.Package, d.To.Package}
	}
	for i, o := range d.Overrides {
		c.Overrides[i] = overrideChange(o)
	}
	if !slices.Equal(d.From.Audience, d.To.Audience) {
		c.Audience = &between[[]dm.Subject]{apihandlers.NotNull(d.From.Audience), apihandlers.NotNull(d.To.Audience)}
	}
	return c
}
