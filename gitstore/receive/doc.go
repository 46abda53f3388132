// Package receive takes in what people send, as what it may be, hostile: the archive
// of an upload (Upload), and a push, for which it asks the record to publish a
// version or to change an application. It owns the stage in which a push arrives,
// what a push may look like, and the reading of objects that nobody but git has
// checked.
//
// # Promises
//
//   - A push arrives in a stage of its own, which is thrown away; nothing of one
//     that is refused enters a repository.
//   - What it costs is bounded while it arrives (Count) and where it is read:
//     no object, path, tree or chain of differences is followed without an end.
//   - All faults of a ref are told at once.
//   - It changes nothing by itself: Record, which gitstore implements, is the one
//     way out, and decides again when the change is made.
//
// It imports gitstore/repo, form, treefs, archive, pack and gitcmd, the root
// package, klauspost/compress, and of go-git only names and types of objects; never
// gitstore.
package receive
