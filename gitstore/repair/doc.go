// Package repair keeps the record in service: it knows which repositories are not,
// and why, looks at them again until they are sound, and mends what the record has
// elsewhere.
//
// # Promises
//
//   - Only the bytes of a repository take it out of service for good (repo.Fault).
//     What could not be looked at, for want of files, memory, rights or a disk that
//     answers, is looked at again and comes back without anybody's hand.
//   - A repository that is damaged stays where it is, with a note in damaged/; a
//     workspace is moved away, and made again when its user asks.
//   - A pack, an index or an object that is gone or broken comes back from its twin,
//     from the archive of its package, or from any other repository that has it.
//   - A ref that vanished or was set back is told by known-refs (evidence.go), and
//     nothing begins in its place until somebody asks for a repair.
//
// # Imports
//
// The root package, gitstore/repo, form, pack, archive, durable and gitcmd, and
// go-git for names. What a repository means it asks of the record (Record).
package repair
