// Package treefs shows a package's files as an fs.FS: those of a tree that is
// recorded (FS), and those of one that is not yet (Sketch).
//
// Both are read-only, list in byte order and may be used from many goroutines. It
// imports gitstore/repo and go-git's names.
package treefs
