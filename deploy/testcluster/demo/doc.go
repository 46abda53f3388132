// Command demo shows Spark jobs on a cluster of this machine's own: it starts a node
// with a control plane, installs the server and the Spark operator with their charts,
// and takes a job from an upload to its end, through PNDA's API. The node goes on in
// the background, with the server's ports on this machine, until down ends it.
//
// Imports: packages engines and node.
package main
