// Package gitstore is THE RECORD: the methods that change the repositories on disk.
// Publish, Withdraw, DeployPackage, UndeployPackage, Create, Change, Start, Stop,
// Rollback and Destroy each plan, ask admission, build objects and then move one
// ref; what that ref says is the truth, and everything else is written before it
// and never moves, or is derived from it and rebuilt.
//
// # Its rooms
//
// Store wires them, and kinds.go has a row for each kind of repository:
//
//	repo                 one repository on a disk: its layout, and the one way to write
//	pack, gitcmd         packs; the only code that starts git
//	form, treefs         what a commit says; a tree as a file system
//	engines              what engines are asked about, and what they left
//	archive, receive     what people send: archives, pushes
//	index                what the heads say, in memory, and the bounds of names
//	past, events         questions about history; the numbered stream of transitions
//	repair               what is out of service, and how it comes back
//	format, upkeep       whose the folder is and its format; refs and packs kept few
//	workspace, programs  what users get; what their pods run to get it
//	audit                verify
//	durable, gate        small files that survive a power cut; how much at once
//
// # Promises
//
//   - A change whose method returned nil survives a power cut. One whose method
//     returned an error changed nothing that a reader can see.
//   - One process owns a data folder. Opening it is recovery: what a killed
//     server left half done is removed or finished, and a damaged repository is
//     set aside so that it alone answers Unavailable.
//   - Reads come from the index. Only the questions of dm.History walk history,
//     once; what came since is read when they come again.
//   - Each change of a package or of an application has the next number of one
//     sequence (DM-Seq, since format 3), in the commit or tag that its ref moved to,
//     or, of a withdrawal, in the tag around what was taken away. Who follows them
//     (Events) misses none: the newest are in memory, those before and those from
//     before a restart are read from the histories (past). A change that
//     failed and was found made only later was never acknowledged, and who is past
//     its number is not told of it.
//   - What anybody can make under ever new names and nobody can delete is bounded
//     when it would come into being.
//   - Every method may be called from many goroutines.
//
// # Imports
//
// Its rooms, the root package, of go-git the names of objects, golang.org/x/sync and
// the Prometheus client; it never imports apihandlers, hooks or plugins.
package gitstore
