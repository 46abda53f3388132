// Package workspace derives the repositories of users: what applications deliver to
// them, one branch per application and a main that shows them all.
//
// # Promises
//
// What a user gets is a function of the application's changes alone, so a workspace
// that is lost, or that a sweep took while nothing lay in it, comes back with the
// same commits. A user gets the objects that are new to them, and never one of an
// earlier deployment. Who has nothing is answered with the blank workspace, from
// which every workspace starts. How many there may be is bounded.
//
// # Imports
//
// The root package, gitstore/repo, form, index, repair, pack and durable, and
// go-git for trees.
package workspace
