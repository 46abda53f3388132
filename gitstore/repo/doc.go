// Package repo is one bare repository on a disk, written durably: where it
// stands, how it is changed, read, examined and kept small. What its commits say
// is not known here.
//
// # Promises
//
//   - A Tx is the one way to write. It holds the repository's lock from Begin to
//     End; when Land has returned nil its objects and refs survive a power cut, and
//     when it did not land nothing of it stays.
//   - One ref makes a change a fact. Refs that must stand before it are durable
//     before, those that follow from it come after and may be made up for later. Where
//     several are one fact, packed-refs has all refs and one rename moves them.
//   - A new repository appears whole, with its first refs, by one rename.
//   - Only bytes that were read to their end prove damage (Fault). What could not be
//     looked at is no damage.
//   - An object that a repository has is not written to it again (share.go).
//   - Reading takes no lock and goes on while maintenance replaces packs.
//
// # Ownership
//
// It owns the data folder's layout (layout.go draws it) and the file known-refs. It
// starts git through gitcmd, writes packs through pack and tells what landed
// through events; it imports these three, durable, the root
// package, and go-git and go-billy for reading objects.
package repo
