// Package sync owns the pod's side of a workspace: sync.sh, the script that
// brings what is deployed for a user into the user's folder.
//
// It promises that the script changes and deletes no file that the user
// changed, ends in bounded time with exit code 0, and shows the user's token to
// nobody but the server. The script's own head says how it works; the tests run
// it with real git against real servers.
//
// Imports: nothing.
package sync
