// Package disk owns how the sync program looks at a user's folder and changes it.
//
// It promises that no link is followed and nothing outside of the folder is reached,
// that each change is made in one moment where the disk can, and replaces nothing of
// somebody else's in any case, that a change is told to a test before it is made,
// and that what root makes in a user's home is the user's.
//
// Imports: remote, for the names of contents; x/sys/unix.
package disk
