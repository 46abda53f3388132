// Package events is the sequence of transitions in memory: it gives numbers,
// puts what landed under them in order, and keeps the newest.
//
// # Promises
//
// A number is reserved before the object that carries it is written, and either
// lands or is given up afterwards. No reader sees a number before all smaller
// ones landed or were given up, so who has read up to n has missed nothing below
// it. Numbers only grow, also in a repository that is read when the log is already
// in use; those that were given up stay unused.
//
// Of all this only the cursors of readers are durable: after a restart the record
// says what the highest number was, and what happened before. What is kept is
// bounded in events and in bytes.
//
// # Imports
//
// Package dm, gitstore/durable and the standard library.
package events
