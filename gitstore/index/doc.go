// Package index is what the heads of all repositories say, in memory: it is read
// from them, and readers ask it instead of them.
//
// # Promises
//
// Entries never change: a writer that holds the repository's lock puts a new one in
// the place of the old, so what a reader has stays as it is. What an entry says
// follows from the repository alone; ReadPackage and ReadApplication make it, and
// tell which refs others prove to be missing or rewound. Beside it stands what only
// this process knows: deploys under way, names being created, failed deploys of ids
// that can't name a package. All of that is bounded.
//
// # Imports
//
// The root package, gitstore/repo, form, repair for its findings and gitcmd for
// moves of refs.
package index
