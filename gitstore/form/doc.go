// Package form is what the record's commits and tags say: for each kind of them
// one type, with Encode, which writes it, beside Decode, which reads it.
//
//	Version     an upload: a tag, and the commit on main of its package
//	Withdrawal  the tag around the tag of a version that was taken back
//	Decision    a deploy or an undeploy: a commit of refs/deployed/<x.y.z>
//	Change      of an application: a commit of main
//	Outcome     of a change: a commit of refs/observed/head
//	Delivery    what a user gets of a change: commits of a workspace
//	Brought     where a workspace began, and how far it is: a commit at refs/brought/head
//	Sweep       of empty workspaces: a commit of sweeps.git
//
// # Promises
//
// Encoding what was decoded gives the object of the same name, or the object is
// none that this server wrote; that is how verify proves who did what. What older
// servers wrote is read, with zero values for what they did not say. Values are
// made harmless when they are written: none can forge another trailer.
//
// # Imports
//
// The root package, gitstore/repo for objects and trees, pack, archive for the archive
// of a pushed version, and go-git.
package form
