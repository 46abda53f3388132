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
	Name   string
	Method string
	Path   string // template; "[.git]" may be left out
	What   string
}

// operation is what a request asks for. It follows from the path and, for
// info/refs alone, from the service in its query.
type operation string

const (
	advertise operation = "info-refs"
	upload    operation = "upload-pack"
	receive   operation = "receive-pack"
)

// Routes returns every route that is served, also those that always refuse.
func Routes() []Route {
	repositories := []struct{ name, path, what string }{
		{"workspace", "/jupyter-<user>[.git]", "the workspace of a user"},
		{"package", "/packages/<name>.git", "a package's repository"},
		{"application", "/applications/<app>.git", "an application's repository"},
	}
	var list []Route
	for _, r := range repositories {
		list = append(list,
			Route{"git-" + r.name + "-refs", http.MethodGet, r.path + "/info/refs?service=git-upload-pack",
				"first step of git clone and git fetch of " + r.what},
			Route{"git-" + r.name + "-fetch", http.MethodPost, r.path + "/git-upload-pack",
				"second step of git clone and git fetch of " + r.what},
			Route{"git-" + r.name + "-push", http.MethodPost, r.path + "/git-receive-pack",
				"a push to " + r.what + "; always refused with 403"})
	}
	return list
}

// segment is one path segment as RFC 3986 spells it, percent signs only as part
// of an escape.
const segment = `(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})+`

var paths = regexp.MustCompile(
	`^/(?:jupyter-(` + segment + `)|packages/([A-Za-z0-9._-]+)\.git|applications/([A-Za-z0-9_-]+)\.git)` +
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

// service reads the one parameter of info/refs. It must be there once: two
// readers of the same request may not understand different services.
func service(rawQuery string) (operation, *refusal) {
	query, err := url.ParseQuery(rawQuery)
	values := query["service"]
	switch {
	case err != nil || len(values) > 1:
		return "", &refusal{http.StatusBadRequest, "the query must name one service"}
	case len(values) == 0:
		return "", &refusal{http.StatusForbidden, "the dumb protocol is not served"}
	case values[0] == "git-upload-pack":
		return advertise, nil
	case values[0] == "git-receive-pack":
		return receive, nil
	}
	return "", &refusal{http.StatusForbidden, "this service is not served"}
}

// protocol reduces the Git-Protocol header, a list of keys and values that a
// client may fill at will, to the highest version that git and we know; "" is
// version 0, which is also the answer to versions of the future.
func protocol(header string) string {
	best := ""
	for key := range strings.SplitSeq(header, ":") {
		if (key == "version=1" || key == "version=2") && key > best {
			best = key
		}
	}
	return best
}
