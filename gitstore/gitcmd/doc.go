// Package gitcmd is the only code that starts the git program.
//
// It owns how git runs: an explicit argument list and never a shell, an
// environment that nothing of the server's own environment, of a home folder
// or of the system's configuration can change, a context that ends the whole
// process group, and the lock of the data folder handed down, so that an
// orphan of a killed server keeps the next server waiting instead of racing it.
// It owns how many run: one pool, with classes that never wait for one another, a
// queue, a time and a memory limit for each. What does not fit, and a git that
// died for want of memory, is Unavailable and says nothing of the repository.
//
// It promises that a ref that UpdateRefs moved survives a power cut once the
// call returned nil, provided that the objects it points to were made durable
// before. What git says on standard error reaches the log as the cause of a
// *dm.Error, never its message.
//
// It may import dm, gitstore/durable, gitstore/gate, the standard library and
// golang.org/x/sys. It knows directories, not the layout of the record: which one is
// whose, repo says.
package gitcmd
