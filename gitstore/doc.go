// Package gitstore is THE RECORD: the repositories on disk, and the methods
// that change them. Publish, Withdraw, DeployPackage, UndeployPackage, Create,
// Change, Start, Stop, Rollback and Destroy each plan, ask admission, build
// objects and then move one ref; what that ref says is the truth, and everything
// else is written before it and never moves, or is derived from it and rebuilt.
//
// # Promises
//
//   - A change whose method returned nil survives a power cut: objects are
//     fsynced before the ref moves, the ref and its directory before the method
//     returns.
//   - A change whose method returned an error changed nothing that a reader can
//     see.
//   - One process owns a data folder. Opening it is recovery: what a killed
//     server left half done is removed or finished, and a damaged repository is
//     set aside so that it alone answers Unavailable.
//   - Only the bytes of a repository set it aside (repo.Fault). A check
//     that could not be made is made again (repair), and what is sound again
//     comes back without anybody's hand.
//   - A ref that vanished or was set back is noticed at the next start: what is
//     known of it, or another ref, contradicts it, and nothing begins in its place.
//   - Reads come from an index in memory. Only the questions of dm.History
//     walk history, once; what came since is read when they come again.
//   - Each change of a package or of an application has the next number of one
//     sequence (DM-Seq, since format 3), in the commit or tag that its ref moved to,
//     or, of a withdrawal, in the tag around what was taken away. Who follows them
//     (Events) misses none: the newest are in memory (events), those before and
//     those from before a restart are read from the histories (past). A
//     change that failed and was found made only later was never acknowledged, and
//     who is past its number is not told of it.
//   - No object is written to a repository that has it, and nobody gets one of a
//     deployment that was not for them.
//   - Maintenance brings refs and small packs together under a repository's
//     lock while readers go on. Packs with a .keep file stay byte for byte, and
//     an object that no ref leads to stays for two weeks.
//   - What anybody can make under ever new names and nobody can delete is
//     bounded when it would come into being (Bounds). A sweep, off by default,
//     takes empty workspaces only, each of which can be made again and is, and
//     records what it took.
//   - Every method may be called from many goroutines.
//
// # Ownership
//
// Only this package and its sub-folders touch repositories. Only gitcmd starts
// git, only pack writes packs, only archive reads uploads. It imports those
// sub-folders, the root package, go-git for reading immutable objects by their
// hash, the semaphores of golang.org/x/sync and the Prometheus client for its
// counters; it never imports
// apihandlers, hooks or plugins.
package gitstore
