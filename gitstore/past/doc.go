// Package past answers questions about history (Answers): what was asked of an
// application or a package and what came of it, what was in effect at an instant,
// what differs between two deployments or versions. Who follows all that happens
// (Stream) gets the newest events from memory, and those of long ago from the same
// histories.
//
// # Promises
//
// It reads what the tips that the index has lead to, takes no lock and writes nothing:
// a commit never changes, so what was read once holds for ever, and only what came
// since is read when somebody asks again. What it remembers is bounded in bytes.
// A difference is bounded in files, bytes and lines, and says what it leaves out.
//
// # Imports
//
// The root package, gitstore/index, repair for what is out of service, form, repo,
// events and gitcmd, and go-git for reading.
package past
