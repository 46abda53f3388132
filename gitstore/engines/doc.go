// Package engines is the record's side of engines that run work elsewhere: what is
// planned, as they are asked about it before it is accepted (Planned).
//
// It changes nothing. It imports gitstore/treefs, and go-git's names.
package engines
