package githttp

import (
	"net/http"
	"net/url"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers"
)

// operation is what a request asks for. It follows from the route, so that no
// parameter of a POST can make a push look like a fetch.
type operation string

const (
	fetchRefs operation = "info-refs"
	upload    operation = "upload-pack"
	pushRefs  operation = "push-info-refs"
	receive   operation = "receive-pack"
)

// pushes tells whether o is a step of a push.
func (o operation) pushes() bool { return o == pushRefs || o == receive }

// advertises tells whether o is the first step, which has no body.
func (o operation) advertises() bool { return o == fetchRefs || o == pushRefs }

// service is what git's protocol calls the two steps together.
func (o operation) service() string {
	if o.pushes() {
		return "git-receive-pack"
	}
	return "git-upload-pack"
}

// contentType is git's type of an advertisement, a request or a result.
func (o operation) contentType(of string) string {
	return "application/x-" + o.service() + "-" + of
}

// words are how a kind of repository is called.
type words struct{ name, variable, path, what, push string }

var kinds = []dm.RepositoryKind{dm.ToolsRepository, dm.WorkspaceRepository, dm.PackageRepository, dm.ApplicationRepository}

func wordsOf(kind dm.RepositoryKind) words {
	switch kind {
	case dm.ToolsRepository:
		return words{"tools", "", "/tools.git", "the programs for pods", "; always refused with 403, the server is its only writer"}
	case dm.WorkspaceRepository:
		return words{"workspace", "user", "/jupyter-{user}[.git]", "the workspace of a user", "; always refused with 403, the server is its only writer"}
	case dm.PackageRepository:
		return words{"package", "name", "/packages/{name}[.git]", "a package's repository", ", which the first push makes; a tag publishes a version"}
	default:
		return words{"application", "app", "/applications/{app}[.git]", "an application's repository", ", which the first push makes; main is the application as wanted"}
	}
}

// Routes is the route table.
func (a *API) Routes() []apihandlers.Route {
	routes := a.scriptRoutes()
	for _, kind := range kinds {
		to := wordsOf(kind)
		get := apihandlers.Route{
			Method: http.MethodGet, Access: apihandlers.Open, Streams: true,
			Acts: true, // a workspace is made when it is first asked for
		}
		post := get
		post.Method, post.Early = http.MethodPost, true
		row := func(r apihandlers.Route, o operation, name, end, what string) {
			r.Name, r.Path, r.Summary = "git-"+to.name+name, to.path+end, what
			r.Actions, r.Success = asked(kind, o.pushes())
			r.Handle = func(w http.ResponseWriter, r *http.Request) error { return a.round(w, r, kind, o) }
			routes = append(routes, r)
		}
		if kind == dm.WorkspaceRepository {
			row(get, fetchRefs, "-head", "/head", "the commit that main of "+to.what+" is at, also as its ETag: whether a fetch would bring anything")
			routes[len(routes)-1].Handle = a.head
		}
		row(get, fetchRefs, "-refs", "/info/refs?service=git-upload-pack", "first step of git clone and git fetch of "+to.what)
		row(post, upload, "-fetch", "/git-upload-pack", "second step of git clone and git fetch of "+to.what)
		row(get, pushRefs, "-push-refs", "/info/refs?service=git-receive-pack", "first step of git push to "+to.what+to.push)
		row(post, receive, "-push", "/git-receive-pack", "second step of git push to "+to.what+to.push)
		routes = append(routes, apihandlers.Route{
			Name: "git-" + to.name + "-refs", Method: http.MethodGet, Path: to.path + "/info/refs", Access: apihandlers.Open, Fallback: true,
			Acts: true, Handle: func(_ http.ResponseWriter, r *http.Request) error { return noService(r, kind) },
		})
	}
	return routes
}

// asked is what the policy is asked of a repository of this kind. A push is asked
// for what it changes when that is known, and for reading because its first step
// shows what is there.
func asked(kind dm.RepositoryKind, push bool) (actions []dm.Action, success int) {
	switch {
	case push && dm.ReadOnly("", kind) != nil:
		return nil, http.StatusForbidden
	case kind == dm.ToolsRepository:
		return nil, http.StatusOK
	case kind == dm.WorkspaceRepository:
		return []dm.Action{dm.WorkspaceRead}, http.StatusOK
	case kind == dm.PackageRepository && push:
		return []dm.Action{dm.RepositoryWrite}, http.StatusOK
	case kind == dm.PackageRepository:
		return []dm.Action{dm.RepositoryRead}, http.StatusOK
	case push:
		return []dm.Action{dm.ApplicationContent, dm.ApplicationCreate, dm.ApplicationChange, dm.ApplicationStart, dm.ApplicationStop, dm.ApplicationDestroy}, http.StatusOK
	}
	return []dm.Action{dm.ApplicationContent}, http.StatusOK
}

// repositoryAt reads the path of r.
func repositoryAt(r *http.Request, kind dm.RepositoryKind) (dm.Repository, error) {
	return repositoryOf(kind, apihandlers.RawVar(r, wordsOf(kind).variable))
}

// repositoryOf reads the segment of the path that names a repository, as it was
// sent. Only a user's name may be escaped; it is decoded once, and what it then
// holds is judged by dm.ParseUserName.
func repositoryOf(kind dm.RepositoryKind, segment string) (dm.Repository, error) {
	name, err := strings.TrimSuffix(segment, ".git"), error(nil)
	switch kind {
	case dm.ToolsRepository: // there is one, and its path has no such segment
		if name != "" {
			err = dm.Errorf(dm.NotFound, "githttp", "there is one repository of tools")
		}
	case dm.WorkspaceRepository:
		if name, err = url.PathUnescape(name); err == nil {
			_, err = dm.ParseUserName(name)
		}
	case dm.PackageRepository:
		_, err = dm.ParsePackageName(name)
	default:
		_, err = dm.ParseApplicationName(name)
	}
	if err != nil {
		return dm.Repository{}, missing(err)
	}
	return dm.Repository{Kind: kind, Name: name}, nil
}

// missing is the answer for what does not exist and for what the actor may not
// know to exist; the two must not differ.
func missing(why error) error {
	return dm.Errorf(dm.NotFound, "githttp", "repository not found").Because(why)
}

// noService tells what is wrong with a first step that names no service of ours.
// Two readers of the same request may not understand different ones.
func noService(r *http.Request, kind dm.RepositoryKind) error {
	const op = "githttp.service"
	if _, err := repositoryAt(r, kind); err != nil {
		return err
	}
	_, given, err := apihandlers.Query(r, "service")
	switch {
	case err != nil:
		return dm.Errorf(dm.Invalid, op, "exactly one service is required in the query").Because(err)
	case !given:
		return dm.Errorf(dm.Forbidden, op, "the dumb HTTP protocol is not supported")
	}
	return dm.Errorf(dm.Forbidden, op, "unsupported service")
}

// protocol reduces the Git-Protocol header, a list of keys and values that a
// client may fill at will, to the highest version that git and we know; "" is
// version 0, which is also the answer to versions of the future. Version 2 has
// no pushes: git answers them as version 0, and so do we.
func protocol(header string, o operation) string {
	best := ""
	for key := range strings.SplitSeq(header, ":") {
		if (key == "version=1" || key == "version=2") && key > best {
			best = key
		}
	}
	if best == "version=2" && o.pushes() {
		return ""
	}
	return best
}
