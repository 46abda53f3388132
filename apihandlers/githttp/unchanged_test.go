package githttp_test

import (
	"context"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/apihandlers/githttp"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

func (s *store) Tip(_ context.Context, r dm.Repository) (string, error) {
	tip, err := repo.ReadRef(s.dir(r), repo.Main)
	return tip.String(), err
}

// TestUnchanged: who names the commit that a workspace is at is told so, and no git
// starts. Nobody learns that way what others have, and other kinds have more refs than
// main.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	s := newServer(t, func(cfg *githttp.Config) {
		cfg.Authorize = func(r *http.Request, repository dm.Repository, push bool) (dm.Actor, error) {
			if actor, err := allow(r, repository, push); repository.Kind != dm.WorkspaceRepository || string(actor.User) == repository.Name {
				return actor, err
			}
			return dm.Actor{}, dm.Errorf(dm.Unauthenticated, "test", "a credential is required")
		}
	})
	tip := s.add(t, dm.WorkspaceRepository, "ana", "notebook")
	s.add(t, dm.PackageRepository, "p", "notebook")
	ana := "Basic " + base64.StdEncoding.EncodeToString([]byte("ana:secret"))
	for _, c := range []struct {
		name, path, tag, credential string
		status                      int
		starts                      int
	}{
		{"unchanged", "/jupyter-ana", `"` + tip + `"`, ana, http.StatusNotModified, 0},
		{"changed", "/jupyter-ana", `"` + strings.Repeat("0", 40) + `"`, ana, http.StatusOK, 1},
		{"no entity tag", "/jupyter-ana", tip, ana, http.StatusOK, 1},
		{"nobody", "/jupyter-ana", `"` + tip + `"`, "", http.StatusUnauthorized, 0},
		{"another kind", "/packages/p", `"` + tip + `"`, ana, http.StatusOK, 1},
	} {
		before := len(s.protocols)
		header := http.Header{"If-None-Match": {c.tag}}
		if c.credential != "" {
			header.Set("Authorization", c.credential)
		}
		resp, body := s.do(t, http.MethodGet, c.path+"/info/refs?service=git-upload-pack", header, nil)
		if starts := len(s.protocols) - before; resp.StatusCode != c.status || starts != c.starts {
			t.Errorf("%s: %d %.80q and git started %d times, want %d and %d", c.name, resp.StatusCode, body, starts, c.status, c.starts)
		}
		if c.status == http.StatusNotModified && (body != "" || resp.Header.Get("ETag") != c.tag) {
			t.Errorf("%s: %q with the entity tag %s", c.name, body, resp.Header.Get("ETag"))
		}
	}
}
