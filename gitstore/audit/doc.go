// Package audit proves the record from its bytes: that every object is sound, every
// ref is where the index and the evidence have it, every version's files are those
// of its archive, every commit and tag is one that the server wrote for who it names,
// in an order in which things can have happened, and every workspace is what the
// record makes of where it began.
//
// # Promises
//
// Verify changes nothing. It tells every fault that it finds, naming the repository
// and the object, and goes on. What a commit should look like it does not say itself:
// it encodes again what form decodes.
//
// # Imports
//
// The root package, the rooms of the record below it (repo, form, index, repair,
// workspace, archive), and go-git for reading.
package audit
