package auth

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// hostsUserNames are what people and programs send beside a token elsewhere.
var hostsUserNames = []string{
	"", "x-access-token", "oauth2", "gitlab-ci-token", "x-token-auth", "x-bitbucket-api-token-auth", "x-oauth-basic", "git", "token",
}

// TestTokensWithOtherHostsUserNames: the token's user comes, of whichever sort the
// token is.
func TestTokensWithOtherHostsUserNames(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens")
	anas, _ := newToken(t, path, Token{User: "ana"}, time.Now())
	tokens, err := OpenTokens(TokensConfig{Path: path})
	must(t, err)
	h := askHub(t)
	h.fake.set(podToken, says(anaByHub))
	for _, way := range []struct {
		name   string
		secret string
		to     dm.Authenticator
	}{{"token of this server", anas, tokens}, {"token of JupyterHub", podToken, h}} {
		try := func(user, password string) (dm.UserName, error) {
			t.Helper()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.SetBasicAuth(user, password)
			c, _, err := credentialOf(r)
			must(t, err)
			id, knows, err := way.to.Authenticate(t.Context(), c)
			if err == nil && !knows {
				return "passed over", nil
			}
			return id.User, err
		}
		for _, user := range hostsUserNames {
			if got, err := try(user, way.secret); got != "ana" || err != nil {
				t.Errorf("%s: as %q: got %q, %v; want ana", way.name, user, got, err)
			}
		}
		for _, password := range []string{"", "x-oauth-basic"} {
			if got, err := try(way.secret, password); got != "ana" || err != nil {
				t.Errorf("%s: as the user name with the password %q: got %q, %v; want ana", way.name, password, got, err)
			}
		}
		for _, user := range []string{"ben", "X-Access-Token", "oauth2 ", "root", way.secret} {
			if got, err := try(user, way.secret); dm.KindOf(err) != dm.Unauthenticated {
				t.Errorf("%s: as %q: got %q, %v; want a refusal", way.name, user, got, err)
			}
		}
		if got, _ := try(way.secret, "good"); got != "passed over" {
			t.Errorf("%s: as the user name beside a password: got %q, want a password", way.name, got)
		}
	}
}

// TestAPersonWithAStandInsName: who is called git or token keeps their password, and
// it opens nothing for others.
func TestAPersonWithAStandInsName(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.write(t, "git:"+hashOf(t, "gits", 4)+"\nana:"+hashOf(t, "anas", 4)+"\n")
	o.clock.move(2 * time.Second)
	for _, c := range []struct {
		user, password string
		want           dm.UserName
	}{{"git", "gits", "git"}, {"git", "anas", ""}, {"oauth2", "anas", ""}} {
		if got, err := o.try(c.user, c.password); got != c.want {
			t.Errorf("%s with %s: got %q, %v; want %q", c.user, c.password, got, err, c.want)
		}
	}
}
