package githttp_test

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

func (s *store) Tip(_ context.Context, r dm.Repository, who dm.Reader) (string, error) {
	s.mu.Lock()
	s.readers = append(s.readers, who)
	s.mu.Unlock()
	tip, err := repo.ReadRef(s.dir(r), repo.Main)
	return tip.String(), err
}

// readerOf tells what the port is told of a user, so that it can be found again.
func readerOf(actor dm.Actor, user dm.UserName) dm.Reader {
	return dm.Reader{Groups: []string{string(user), "for", string(actor.User)}, Proved: actor.User == user}
}

// ownWorkspace lets everybody read packages, and nobody another's workspace.
func ownWorkspace(cfg *githttp.Config) {
	cfg.Authorize = func(r *http.Request, repository dm.Repository, push bool) (dm.Actor, error) {
		actor, err := allow(r, repository, push)
		switch {
		case repository.Kind != dm.WorkspaceRepository || string(actor.User) == repository.Name:
			return actor, err
		case actor.User == "":
			return dm.Actor{}, dm.Errorf(dm.Unauthenticated, "test", "a credential is required")
		}
		return dm.Actor{}, dm.Errorf(dm.Forbidden, "test", "it is another's")
	}
}

func basic(user string) http.Header {
	r := http.Request{Header: http.Header{}}
	if user != "" {
		r.SetBasicAuth(user, "secret")
	}
	return r.Header
}

// TestUnchanged: who asks for the commit that a workspace is at is told it, or that
// it is the one that they have, and no git starts. Nobody learns that way what others
// have, and other kinds have more refs than main.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	s := newServer(t, ownWorkspace)
	tip := s.add(t, dm.WorkspaceRepository, "ana", "notebook")
	s.add(t, dm.PackageRepository, "p", "notebook")
	quoted := `"` + tip + `"`
	for _, c := range []struct {
		name, method, path, tag, user string
		status                        int
		body                          string
	}{
		{"unchanged", http.MethodGet, "/jupyter-ana/head", quoted, "ana", http.StatusNotModified, ""},
		{"of the longer path", http.MethodGet, "/jupyter-ana.git/head", quoted, "ana", http.StatusNotModified, ""},
		{"unchanged, HEAD", http.MethodHead, "/jupyter-ana/head", quoted, "ana", http.StatusNotModified, ""},
		{"changed", http.MethodGet, "/jupyter-ana/head", `"` + strings.Repeat("0", 40) + `"`, "ana", http.StatusOK, tip + "\n"},
		{"changed, HEAD", http.MethodHead, "/jupyter-ana/head", "", "ana", http.StatusOK, ""},
		{"no condition", http.MethodGet, "/jupyter-ana/head", "", "ana", http.StatusOK, tip + "\n"},
		{"no entity tag", http.MethodGet, "/jupyter-ana/head", tip, "ana", http.StatusOK, tip + "\n"},
		{"nobody", http.MethodGet, "/jupyter-ana/head", quoted, "", http.StatusUnauthorized, "a credential is required\n"},
		{"another", http.MethodGet, "/jupyter-ana/head", quoted, "bob", http.StatusNotFound, "repository not found\n"},
		{"another kind", http.MethodGet, "/packages/p/head", quoted, "ana", http.StatusNotFound, "no such resource\n"},
		{"change", http.MethodPost, "/jupyter-ana/head", "", "ana", http.StatusMethodNotAllowed, "method not allowed, use GET, HEAD\n"},
	} {
		header := basic(c.user)
		if c.tag != "" {
			header.Set("If-None-Match", c.tag)
		}
		before := len(s.readers)
		resp, body := s.do(t, c.method, c.path, header, nil)
		if resp.StatusCode != c.status || body != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.name, resp.StatusCode, body, c.status, c.body)
		}
		told := c.status == http.StatusOK || c.status == http.StatusNotModified
		if want := map[bool]string{true: quoted}[told]; resp.Header.Get("ETag") != want {
			t.Errorf("%s: the entity tag is %s, want %s", c.name, resp.Header.Get("ETag"), want)
		}
		if told && !reflect.DeepEqual(s.readers[before:], []dm.Reader{readerOf(dm.Actor{User: "ana"}, "ana")}) || !told && len(s.readers) > before {
			t.Errorf("%s: the transport was told of %+v", c.name, s.readers[before:])
		}
	}
	if len(s.protocols) > 0 {
		t.Errorf("git started %d times, want never", len(s.protocols))
	}
}

// TestReaderOfAFetch: each step of a fetch tells the transport whose workspace it is
// and what is known of them; other kinds have no reader.
func TestReaderOfAFetch(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.add(t, dm.WorkspaceRepository, "ana", "notebook")
	s.add(t, dm.PackageRepository, "p", "notebook")
	for _, c := range []struct {
		path, user string
		want       dm.Reader
	}{
		{"/jupyter-ana", "ana", readerOf(dm.Actor{User: "ana"}, "ana")},
		{"/jupyter-ana.git", "bob", readerOf(dm.Actor{User: "bob"}, "ana")},
		{"/jupyter-ana", "", readerOf(dm.Actor{}, "ana")},
		{"/packages/p", "ana", dm.Reader{}},
	} {
		s.readers = nil
		s.do(t, http.MethodGet, c.path+"/info/refs?service=git-upload-pack", basic(c.user), nil)
		header := basic(c.user)
		header.Set("Content-Type", uploadType)
		s.do(t, http.MethodPost, c.path+"/git-upload-pack", header, strings.NewReader("0000"))
		if !reflect.DeepEqual(s.readers, []dm.Reader{c.want, c.want}) {
			t.Errorf("%q reads %s: the transport was told of %+v, want %+v at both steps", c.user, c.path, s.readers, c.want)
		}
	}
}
