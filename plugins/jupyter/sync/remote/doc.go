// Package remote owns what the sync program knows of the server: one user's
// repository there, and the program's own, which holds what was fetched.
//
// It promises that no setting, hook, filter or trace of the user's takes part when
// git is started, that the token stands in no argument and in no file and goes to the
// server's address only, that every git it started ends with its context, and that
// paths, objects and trees from the server are checked and bounded.
//
// Imports: x/sys/unix.
package remote
