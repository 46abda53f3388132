package disk

import "github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"

// Kind is what lies at a path of the folder.
type Kind byte

const (
	Absent Kind = iota // nothing
	File
	Other      // a folder, a link or a device
	InTheWay   // something that is no folder is where a folder on the way must be
	Unreadable // it can't be told what lies there
)

// Found is what lies at a path of the folder: the user's, or ours.
type Found struct {
	Kind Kind
	Blob remote.Blob // of a file
	At   string      // InTheWay: the path of what is in the way
	Why  error       // Unreadable
}

// Is tells whether a file of that content lies there.
func (f Found) Is(b remote.Blob) bool { return f.Kind == File && f.Blob == b }
