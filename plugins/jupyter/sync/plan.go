package sync

import (
	"fmt"
	"strings"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/disk"
	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"
)

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
func decide(base, theirs remote.Version, mine disk.Found) action {
	had, has := base != remote.Version{}, theirs != remote.Version{}
	switch {
	case base == theirs:
		return settle
	case mine.Kind == disk.Unreadable:
		return wait
	case mine.Kind == disk.File && had && mine.Blob == base.Blob:
		if !has {
			return drop
		}
		return swap // also when only the server's mode is new
	case mine.Kind == disk.File && mine.Blob == theirs.Blob:
		return settle
	case mine.Kind == disk.File && has:
		return beside
	case mine.Kind == disk.File:
		return own
	case had && has:
		return away
	case had:
		return settle
	case mine.Kind == disk.Absent:
		return put
	default:
		return beside
	}
}

// copyName is the name of a copy beside a path, with the version and, from the
// second on, a number. What is in the way of its folder, at at, gets a folder
// beside it.
func copyName(path, at, version string, number int) string {
	if number > 1 {
		version = fmt.Sprint(version, ".", number)
	}
	if at != "" {
		return at + "." + version + path[len(at):]
	}
	where, name := disk.Split(path)
	if where != "" {
		where += "/"
	}
	if dot := strings.LastIndexByte(name, '.'); dot > 0 {
		return where + name[:dot] + "." + version + name[dot:]
	}
	return where + name + "." + version
}
