package sync

import "github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"

// kind is what lies at a path of the folder.
type kind byte

const (
	absent kind = iota
	file
	other      // a folder, a link or a device
	inTheWay   // something that is no folder is where a folder on the way must be
	unreadable // it can't be told what lies there
)

// found is what lies at a path of the folder: the user's, or ours.
type found struct {
	kind kind
	blob remote.Blob // of a file
	at   string      // inTheWay: the path of what is in the way
	why  error       // unreadable
}

// action is what is to be done about one path.
type action byte

const (
	settle action = iota // nothing: all have it, or the server changed nothing
	put                  // the server's file comes, where nothing is
	swap                 // the server's file takes the place of what an earlier run brought
	drop                 // what an earlier run brought goes
	beside               // the user's file stays, the server's comes beside it
	own                  // the user's file stays and is no longer delivered
	away                 // the user deleted it, so the server's newer one stays away
	wait                 // nobody can tell whose it is; the next run tries again
)

// decide is the whole rule: what was brought by earlier runs, what the server has
// and what lies in the folder make what is to be done. Content alone tells
// whether a person changed a file: modes are what disks, shares and chmod -R
// make of them.
func decide(base, theirs remote.Version, mine found) action {
	had, has := base != remote.Version{}, theirs != remote.Version{}
	switch {
	case base == theirs:
		return settle
	case mine.kind == unreadable:
		return wait
	case mine.kind == file && had && mine.blob == base.Blob:
		if !has {
			return drop
		}
		return swap // also when only the server's mode is new
	case mine.kind == file && mine.blob == theirs.Blob:
		return settle
	case mine.kind == file && has:
		return beside
	case mine.kind == file:
		return own
	case had && has:
		return away
	case had:
		return settle
	case mine.kind == absent:
		return put
	default:
		return beside
	}
}
