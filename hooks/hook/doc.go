// Package hook is the program that git starts when a push has arrived: it hands
// git's bytes to the server, which decides, and the server's back to git. It
// owns what the two say to each other.
//
// It promises to start fast, because every push waits for it: it imports nothing
// of the house and of the standard library only what needs no start of its own.
package hook
