package githttp

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// Route describes one route for the API page.
type Route struct {
	Name    string
	Method  string
	Path    string // template; "[.git]" may be left out
	What    string
	Actions []dm.Action // what the policy is asked; none where the answer is the same for all
	Success int
}

// operation is what a request asks for. It follows from the path and, for
// info/refs alone, from the service in its query. Its text is a label of the
// metrics.
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

func (o operation) method() string {
	if o.advertises() {
		return http.MethodGet
	}
	return http.MethodPost
}

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
type words struct{ name, path, what, push string }

func wordsOf(kind dm.RepositoryKind) words {
	switch kind {
	case dm.WorkspaceRepository:
		return words{"workspace", "/jupyter-<user>[.git]", "the workspace of a user", "; always refused with 403, the server is its only writer"}
	case dm.PackageRepository:
		return words{"package", "/packages/<name>[.git]", "a package's repository", ", which the first push makes; a tag publishes a version"}
	default:
		return words{"application", "/applications/<app>[.git]", "an application's repository", ", which the first push makes; main is the application as wanted"}
	}
}

// routeName is the name of a route in Routes, in the access line and in the
// metrics of requests.
func routeName(kind dm.RepositoryKind, o operation) string {
	name := "git-" + wordsOf(kind).name
	switch o {
	case upload:
		return name + "-fetch"
	case pushRefs:
		return name + "-push-refs"
	case receive:
		return name + "-push"
	default:
		return name + "-refs"
	}
}

// Routes returns every route that is served, also those that always refuse.
func Routes() []Route {
	list := []Route{{scriptRoute, http.MethodGet, scriptPath, "the script that brings a workspace into a pod; no identity is asked for", nil, http.StatusOK}}
	for _, kind := range []dm.RepositoryKind{dm.WorkspaceRepository, dm.PackageRepository, dm.ApplicationRepository} {
		to := wordsOf(kind)
		for _, r := range []struct {
			operation operation
			end, what string
		}{
			{fetchRefs, "/info/refs?service=git-upload-pack", "first step of git clone and git fetch of " + to.what},
			{upload, "/git-upload-pack", "second step of git clone and git fetch of " + to.what},
			{pushRefs, "/info/refs?service=git-receive-pack", "first step of git push to " + to.what + to.push},
			{receive, "/git-receive-pack", "second step of git push to " + to.what + to.push},
		} {
			asked, success := asked(kind, r.operation.pushes())
			list = append(list, Route{routeName(kind, r.operation), r.operation.method(), to.path + r.end, r.what, asked, success})
		}
	}
	return list
}

// asked is what the policy is asked of a repository of this kind. A push is asked
// for what it changes when that is known, and for reading because its first step
// shows what is there.
func asked(kind dm.RepositoryKind, push bool) (actions []dm.Action, success int) {
	switch {
	case kind == dm.WorkspaceRepository && push:
		return nil, http.StatusForbidden
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

// segment is one path segment as RFC 3986 spells it, percent signs only as part
// of an escape.
const segment = `(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+`

var paths = regexp.MustCompile(
	`^/(?:jupyter-(` + segment + `)|packages/([A-Za-z0-9._-]+?)(?:\.git)?|applications/([A-Za-z0-9_-]+)(?:\.git)?)` +
		`/(info/refs|git-upload-pack|git-receive-pack)$`)

// target is a path understood.
type target struct {
	repository dm.Repository
	last       string // the part of the path behind the repository
}

// parsePath reads a path as it was sent. Only a user's name may be escaped; it
// is decoded once, and what it then holds is judged by dm.ParseUserName.
func parsePath(escaped string) (target, bool) {
	m := paths.FindStringSubmatch(escaped)
	if m == nil {
		return target{}, false
	}
	t := target{last: m[4]}
	var err error
	switch {
	case m[1] != "":
		var name string
		if name, err = url.PathUnescape(strings.TrimSuffix(m[1], ".git")); err == nil {
			_, err = dm.ParseUserName(name)
		}
		t.repository = dm.Repository{Kind: dm.WorkspaceRepository, Name: name}
	case m[2] != "":
		_, err = dm.ParsePackageName(m[2])
		t.repository = dm.Repository{Kind: dm.PackageRepository, Name: m[2]}
	default:
		_, err = dm.ParseApplicationName(m[3])
		t.repository = dm.Repository{Kind: dm.ApplicationRepository, Name: m[3]}
	}
	return t, err == nil
}

// operationOf reads the last part of a path and, for info/refs, the one
// parameter, which must be there once: two readers of the same request may not
// understand different services.
func operationOf(last, rawQuery string) (operation, *refusal) {
	switch last {
	case "git-upload-pack":
		return upload, nil
	case "git-receive-pack":
		return receive, nil
	}
	query, err := url.ParseQuery(rawQuery)
	values := query["service"]
	switch {
	case err != nil || len(values) > 1:
		return "", &refusal{http.StatusBadRequest, "the query must name one service"}
	case len(values) == 0:
		return "", &refusal{http.StatusForbidden, "the dumb protocol is not served"}
	case values[0] == fetchRefs.service():
		return fetchRefs, nil
	case values[0] == pushRefs.service():
		return pushRefs, nil
	}
	return "", &refusal{http.StatusForbidden, "this service is not served"}
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
