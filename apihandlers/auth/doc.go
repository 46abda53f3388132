// Package auth turns a request into a dm.Actor or refuses it. It owns the
// modes (strict, public-read, insecure-pnda), the reading of user.name and who
// may act for others with it, the htpasswd file, API tokens, the asking of
// JupyterHub about its tokens, the limit on wrong passwords, and the directory of users and groups.
//
// It promises that in strict mode nobody is anybody without a proven
// credential, that user.name is never more than a claim, that a password or a
// token is never logged nor kept, that checking a wrong password costs the same
// whether or not the user exists (but for one that looks like JupyterHub's token,
// see Htpasswd.Authenticate), that no password of the htpasswd file reaches
// JupyterHub, and that guessing is slow. It may import dm, apihandlers and its
// sub-folder watched, golang.org/x/crypto, x/sync and x/time, and Prometheus'
// client.
package auth
