// Package workspace derives the repositories of users: what applications deliver to
// them, one branch per application and a main that shows them all. A workspace is
// brought up when its user asks for it; a change of an application writes nothing here.
//
// # Promises
//
// The chain of a user begins with what is in effect when the user first asks. Where
// it began, and whom the server took the user for since, stands in refs/brought/head;
// from there the commits are a function of the record alone, whoever asks how often,
// and a workspace that is lost while that ref can be read comes back with the same
// ones. All refs of a workspace move at once. A user gets the objects that are new to
// them, and never one of an earlier deployment. Who has nothing is answered with the
// blank workspace, from which every workspace starts. How many there may be is
// bounded. A workspace that can't be brought up is its user's trouble and nobody
// else's, and the next who asks tries again.
//
// # Imports
//
// The root package, gitstore/repo, form, index, repair, pack and durable, and go-git for
// trees.
package workspace
