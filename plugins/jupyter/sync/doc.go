// Package sync owns the pod's side of a workspace: the program that brings what is
// deployed for a user into the user's folder, and sync.sh, the shell that brings
// the program there.
//
// It promises that the program changes and deletes no file that the user changed,
// brings back none that the user deleted, lets one file that can't be brought hold
// up no other, gets further with each run however that ends, takes no longer than it
// may, and shows the user's token to nobody but the server.
//
//	run       the way of a run, from the environment to the line at its end
//	plan      what is to be done about one file; pure
//	apply     changes of the folder, a batch at a time; settle judges what was made
//	state     the lock, and the manifest of what was brought    notes, report    SYNC.md
//	clone     .git, kept as a pulled clone    upgrade    folders of before
//
// Rooms below: disk, the user's folder; remote, the server's repository. Imports:
// these two, and x/sys/unix.
package sync
