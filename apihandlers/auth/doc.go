// Package auth turns a request into a dm.Actor or refuses it. It owns the
// modes (strict, public-read, insecure-pnda), the reading of user.name, the
// htpasswd file and the directory of users and groups.
//
// It promises that in strict mode nobody is anybody without a proven
// credential, that user.name is never more than a claim, that a password is
// never logged nor kept, and that checking a wrong password costs the same
// whether or not the user exists. It may import dm and apihandlers.
package auth
