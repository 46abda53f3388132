// Package format takes a data folder for one process: what may stand in it, whose it
// is, and which number its layout has.
//
// # Promises
//
// A folder that is refused is left as it was: one of somebody else's, one with a link
// in a place of ours, one that a newer server wrote, and one of an earlier format
// until somebody accepts the upgrade. An upgrade rewrites no commit and moves no ref;
// it is done again when the server is killed in it.
//
// # Imports
//
// The root package, gitstore/repo, repair for its patience, and durable.
package format
