// Package upkeep keeps repositories small: it brings refs and small packs together
// and has git prune what no ref has led to for two weeks.
//
// # Promises
//
// It works under a repository's lock while readers go on, one repository at a time,
// and looks without the lock first. Packs with a .keep file stay byte for byte.
// Where there is little to do nothing is done. One repository that can't be
// maintained keeps none of the others.
//
// # Imports
//
// The root package, gitstore/repo and repair, and the Prometheus client.
package upkeep
