// Package engines brings what runs components on a cluster, for tests and for the
// demo: images of Spark and its operator, made without Docker from Debian's packages
// and PyPI, and the programs that they need, built from their Go modules. It plays the
// life of an application through PNDA's API on the node of package node.
//
// What it promises:
//
//   - what is made is kept in the user's cache under the hash of its recipe, and made
//     again only when that changes;
//   - what takes long says so, and goes on where it was ended;
//   - without what a machine needs for it (root, apt, pip), it tells the reason.
//
// Imports: packages node, chart and debian, go-containerregistry and client-go.
package engines
