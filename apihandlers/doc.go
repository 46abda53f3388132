// Package apihandlers is the HTTP edge of the server: the route table and its
// router, the one table from error kinds to answers, the one reader of request
// bodies, middleware (request id, access log, metrics, deadlines, panics),
// trusted proxies, names and pages (Site), connections, health and the HTTP
// server's limits. Its sub-folders hold the APIs themselves and import it:
//
//	auth      a request in, a dm.Actor out
//	packages  PNDA's package repository, port 8888
//	manager   PNDA's deployment manager, port 5000
//	v1        the native API, on the deployment manager's port
//	githttp   git over HTTP, port 8099
//
// A handler identifies the caller, parses the request, asks the policy where
// the request only reads, calls one method of the record and encodes what came
// back. Changes are judged by the record itself, which knows the state.
//
// It promises that every request gets exactly one access line and one request
// id, that every error is a JSON object without causes or paths of the machine,
// that no query string, header or body is ever logged, and that no client can
// hold a connection by being slow for ever: a body may stand still for Stall and
// must keep 1 KiB a second in the long run, whatever it is for. It may import dm; the record is
// behind dm's ports.
package apihandlers
