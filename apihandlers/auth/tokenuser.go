package auth

import (
	dm "github.com/pndaproject/deployment-manager"
)

// standIns are the user names that git hosts want beside a token, where the
// token alone says who comes: GitHub x-access-token and x-oauth-basic, GitLab
// oauth2 and gitlab-ci-token, Bitbucket x-token-auth and
// x-bitbucket-api-token-auth, Gitea oauth2; git and token are what people write
// where any name will do. Scripts and credential helpers send them by habit.
var standIns = map[string]bool{
	"x-access-token": true, "x-oauth-basic": true, "oauth2": true, "gitlab-ci-token": true,
	"x-token-auth": true, "x-bitbucket-api-token-auth": true, "git": true, "token": true,
}

// names tells whether the user name of c may stand beside a token of user: the
// user's own, none, or one that stands for nobody. A person who has such a name
// signs in with a password as before; with a token it is the token's user who
// comes, because only that one knows it.
func names(c dm.Credential, user dm.UserName) bool {
	return c.User == "" || dm.UserName(c.User) == user || standIns[c.User]
}

// basicCredential is a Basic credential. A token that came as the user name, with
// no password or with x-oauth-basic as GitHub has it, is the secret: so it is
// judged as a token, and is never taken for anybody's name.
func basicCredential(user, password, source string) dm.Credential {
	if (password == "" || password == "x-oauth-basic") && (tokenForm.MatchString(user) || hubTokenForm.MatchString(user)) {
		user, password = "", user
	}
	return dm.Credential{Scheme: "basic", User: user, Secret: password, Source: source}
}
