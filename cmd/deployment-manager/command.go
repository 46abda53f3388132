package main

import (
	"net/url"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// deployCommand is what a person pastes into a terminal to deploy a package.
// A server that takes every name is told it in the query; any other asks for a
// password, which is typed and stays out of the command.
func deployCommand(address string, insecure bool, user dm.UserName, ref dm.PackageRef) string {
	target := address + "/packages/" + url.PathEscape(ref.String())
	if insecure {
		query := url.Values{"user.name": {string(user)}}
		return "curl -X PUT " + shellQuoted(target+"?"+query.Encode())
	}
	return "curl -u " + shellQuoted(string(user)) + " -X PUT " + shellQuoted(target)
}

// shellQuoted writes text so that a shell takes it for one word and nothing
// else. A name may hold quotes, spaces and $.
func shellQuoted(text string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("_-./:@%+,", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
