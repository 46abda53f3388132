// Command deployment-manager is the server and its few companions: serve runs
// it, token makes and revokes API tokens, demo plays the walk-through, verify
// checks a data folder, repair looks again at what is out of service, version
// tells what this is. Called under the name of the hook, as git does through a link
// to it, it is that hook of a push.
//
// The package owns what belongs to a process: the command line, the
// configuration (options.go declares every option once), signals, listeners,
// exit codes, and wire.go, the map of the server, which builds every part in
// order and plugs them together. It holds no rule about packages or
// applications. It may import every other package of the module; no other
// package may import it.
package main
