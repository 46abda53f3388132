// Package dm holds the words of the deployment manager: names, phases, specs,
// events, errors, the policy and the path rules, and the ports that the rooms
// of the house implement for one another.
//
// # The house in one sentence
//
// git is the system of record: every uploaded package is a tagged commit in a
// bare repository, every deployment of an application is a ref in that
// application's bare repository, hooks on those refs dispatch plugins, and
// every JupyterHub user has a repository that is made of them when a pod asks.
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
// # Words
//
// One word for one thing:
//
//	record      what gitstore keeps of packages and applications
//	publish     make an upload or a pushed tag a version; then it is deployed
//	proposal    an application.json that a push asks for
//	admission   the one judgement on a change, from REST and from push
//	accept      do what one ref of a push asks for
//	land        move refs durably: from then on a change is a fact
//	deployment  one change of an application's content, with a number
//	delivery    what users get of one change in their workspaces
//	bring up    take a workspace to what the record has for its user, who asks
//	outcome     how a change ended, or a deploy of a package
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
