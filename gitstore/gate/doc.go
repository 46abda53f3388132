// Package gate bounds how much work of one kind is done at once: uploads, reads of
// history, git processes, and the memory of changes that are planned.
//
// It promises that places are handed on in the order of coming, that whoever can't
// be served in time is refused with kind Unavailable, and that one client, as
// dm.Client names it, keeps nobody else from the places beyond its share.
//
// It may import dm and golang.org/x/sync.
package gate
