// Package dm holds the words of the deployment manager: names, phases, specs,
// events, errors, the policy and the path rules, and the ports that the rooms
// of the house implement for one another.
//
// # The house in one sentence
//
// git is the system of record: every uploaded package is a tagged commit in a
// bare repository, every deployment of an application is a ref in that
// application's bare repository, hooks on those refs dispatch plugins, and
// every JupyterHub user has a derived repository that a pod clones.
//
// # The one way through it
//
//	REST call or git push
//	  -> gitstore: plan, admit, move ONE ref durably
//	  -> hooks:    wake
//	  -> dispatcher: desired != observed
//	  -> plugin
//	  -> gitstore: observed
//
// # Imports
//
// This package imports the standard library, and golang.org/x/text/unicode/norm
// because Unicode's normal form C is part of the path and name rules and the
// standard library does not offer it. It does no I/O. Every other package of
// the module may import it; apihandlers, hooks, plugins and gitstore never
// import one another and meet only through the interfaces in ports.go and
// plugin.go, which cmd/deployment-manager/wire.go plugs together.
package dm
