// Package programs keeps tools.git: the program that brings notebooks into a pod, one
// branch for each processor type, for pods that have git and nothing else of ours.
//
// It owns the names of those programs. The repository is derived: the same
// programs give the same commits, so a start with what was there before writes
// nothing, and anything else, damage too, is answered by making the whole of it
// anew. It is read at the start only, and no program is kept in memory.
//
// It may import the root package, gitstore/repo and form, and go-git's names of
// objects.
package programs
