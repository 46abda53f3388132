package sync

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/disk"
	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"
)

// notes are what SYNC.md tells of single files. They outlast runs that find nothing
// new: what lies beside a file is told until it is gone.
type notes struct {
	commit  string            // of the server, that own, away and strange are of
	kept    map[string]string // files that stay as the user left them, and the copies beside them
	own     map[string]bool   // the server removed them, the user had changed them
	away    map[string]bool   // the user deleted them, the server has newer ones
	strange map[string]bool   // they can't be delivered
	failed  map[string]error  // of this run
	branch  string            // of this run: what keeps the user's branch where it is
	last    string            // when the folder was brought up to date
}

// readNotes reads the notes. What is damaged there is lost, and costs lines of
// SYNC.md only.
func (s *state) readNotes() (*notes, error) {
	n := &notes{kept: map[string]string{}, own: map[string]bool{}, away: map[string]bool{}, strange: map[string]bool{}, failed: map[string]error{}}
	lines, err := s.read(notesName)
	for _, line := range lines {
		var words [3]string
		for i, word := range strings.Split(line, "\t") {
			if i < len(words) {
				words[i], _ = strconv.Unquote(word)
			}
		}
		switch words[0] {
		case "commit":
			n.commit = words[1]
		case "last":
			n.last = words[1]
		case "kept":
			n.kept[words[1]] = words[2]
		default:
			if set := n.sets()[words[0]]; set != nil {
				set[words[1]] = true
			}
		}
	}
	return n, err
}

func (n *notes) sets() map[string]map[string]bool {
	return map[string]map[string]bool{"own": n.own, "away": n.away, "strange": n.strange}
}

func (s *state) writeNotes(n *notes) error {
	var lines []string
	add := func(words ...string) {
		for i, word := range words {
			words[i] = strconv.Quote(word)
		}
		lines = append(lines, strings.Join(words, "\t"))
	}
	add("commit", n.commit)
	add("last", n.last)
	for _, path := range slices.Sorted(maps.Keys(n.kept)) {
		add("kept", path, n.kept[path])
	}
	for name, set := range n.sets() {
		for _, path := range slices.Sorted(maps.Keys(set)) {
			add(name, path)
		}
	}
	if old, err := s.read(notesName); err == nil && slices.Equal(old, lines) {
		return nil
	}
	return s.write(s.Dir, notesName, lines, false)
}

// begin makes the notes those of a comparison with the server's files.
func (n *notes) begin(theirs *remote.Tree) {
	if n.commit != theirs.Commit {
		clear(n.own)
		clear(n.away)
	}
	n.commit = theirs.Commit
	clear(n.failed)
	clear(n.strange)
	for _, path := range theirs.Strange {
		n.strange[path] = true
	}
}

// forget drops what is no longer so: copies that are gone.
func (n *notes) forget(f *disk.Folder) {
	maps.DeleteFunc(n.kept, func(_, copy string) bool { return !f.Has(copy) })
}

var errOften = errors.New("there are too many copies beside it")
