package repair

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// SetAside is a repository that is out of service.
type SetAside struct {
	Repository dm.Repository `json:"repository"`
	Since      time.Time     `json:"since"`
	File       string        `json:"file,omitempty"` // below the repository's folder; "" when it could not be read
	Cause      string        `json:"cause"`
	Damaged    bool          `json:"damaged"` // its bytes prove it; otherwise it could not be looked at
}

// String is a line for the administrator.
func (a SetAside) String() string {
	if !a.Damaged {
		return fmt.Sprintf("%s/%s: cannot be read: %s", a.Repository.Kind, a.Repository.Name, a.Cause)
	}
	return fmt.Sprintf("%s/%s: damaged: %s: %s (set aside %s)", a.Repository.Kind, a.Repository.Name, a.File, a.Cause, a.Since.Format(time.RFC3339))
}

const noteEnding = ".json"

// notePath is the file that keeps why a repository was set aside. The
// repository itself stays where it is: it comes back when the note goes.
func (s *Service) notePath(r dm.Repository) string {
	return filepath.Join(s.DamagedDirOf(r.Kind), repo.EncodeName(r.Name)+noteEnding)
}

// setAside takes a repository that is proved to be damaged out of service and
// notes why. A note that can't be written is written at the next look. A
// workspace is moved away and made anew when its user asks. The caller holds the
// repository's lock, or is alone.
func (s *Service) setAside(r dm.Repository, f *repo.Fault) {
	s.Log.Error("a repository is damaged and is set aside", "kind", r.Kind, "name", r.Name, "file", f.File, "cause", f.Cause)
	s.takeAway(r, outOfService{fault: f, since: s.Clock().UTC()})
	var err error
	if r.Kind == dm.WorkspaceRepository {
		if err = s.MoveAway(r); err == nil {
			s.BringBack(r)
		}
	} else {
		err = s.writeNote(r, f)
	}
	if err != nil {
		s.Log.Error("the note of a damaged repository could not be written", "kind", r.Kind, "name", r.Name, "err", err)
	}
}

// writeNote keeps the reason, and the time when it was first found.
func (s *Service) writeNote(r dm.Repository, f *repo.Fault) error {
	note := SetAside{Repository: r, Since: s.Clock().UTC(), File: f.File, Cause: f.Cause, Damaged: true}
	if old, err := readNote(s.notePath(r)); err == nil {
		note.Since = old.Since
		if old == note {
			return nil
		}
	}
	text, err := json.MarshalIndent(note, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(s.notePath(r), append(text, '\n'))
}

func readNote(path string) (SetAside, error) {
	var note SetAside
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &note)
	}
	return note, err
}

// MoveAway puts a damaged workspace out of the way of the one that is derived
// anew. Only the last one is kept.
func (s *Service) MoveAway(r dm.Repository) error {
	from, to := s.Data.Path(r), filepath.Join(s.DamagedDirOf(r.Kind), repo.EncodeName(r.Name)+".git")
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return errors.Join(durable.Sync(filepath.Dir(to)), durable.Sync(filepath.Dir(from)))
}

// comeBack puts a repository into service again. The caller holds its lock, or
// is alone.
func (s *Service) comeBack(r dm.Repository) {
	s.BringBack(r)
	err := os.Remove(s.notePath(r))
	if err == nil {
		err = durable.Sync(s.DamagedDirOf(r.Kind))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Log.Warn("the note of a repository that is sound again could not be removed", "kind", r.Kind, "name", r.Name, "err", err)
	}
}

// numbered is the end of a second copy that an earlier server set aside.
var numbered = regexp.MustCompile(`\.git\.[0-9]+$`)

// ReadNotes brings back what an earlier server moved to damaged/, and marks all
// that was set aside, which is looked at before it is served.
func (s *Service) ReadNotes(kind dm.RepositoryKind) error {
	entries, err := os.ReadDir(s.DamagedDirOf(kind))
	if err != nil {
		return err
	}
	slices.Reverse(entries) // of several copies the last one is the latest
	for _, e := range entries {
		enc, ok := strings.CutSuffix(numbered.ReplaceAllString(e.Name(), ".git"), ".git")
		if !ok || !e.IsDir() || kind == dm.WorkspaceRepository {
			continue
		}
		if name, ok := repo.DecodeName(enc); ok {
			if err := s.moveBack(dm.Repository{Kind: kind, Name: name}, e.Name()); err != nil {
				return err
			}
		}
	}
	if entries, err = os.ReadDir(s.DamagedDirOf(kind)); err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.takeNote(kind, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// moveBack returns a repository to its place, unless that is taken.
func (s *Service) moveBack(r dm.Repository, folder string) error {
	to := s.Data.Path(r)
	switch _, err := os.Lstat(to); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := s.writeNote(r, &repo.Fault{File: ".", Cause: "an earlier version of the server set it aside"}); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(s.DamagedDirOf(r.Kind), folder), to); err != nil {
		return err
	}
	return errors.Join(durable.Sync(filepath.Dir(to)), durable.Sync(s.DamagedDirOf(r.Kind)))
}

// takeNote marks the repository of one note. A note whose repository somebody
// has removed goes.
func (s *Service) takeNote(kind dm.RepositoryKind, file string) error {
	path := filepath.Join(s.DamagedDirOf(kind), file)
	if strings.Contains(file, noteEnding+"-") {
		return os.Remove(path) // a server was killed while it wrote
	}
	enc, ok := strings.CutSuffix(file, noteEnding)
	name, known := repo.DecodeName(enc)
	if !ok || !known {
		return nil
	}
	r := dm.Repository{Kind: kind, Name: name}
	if _, err := os.Lstat(s.Data.Path(r)); errors.Is(err, fs.ErrNotExist) {
		s.Log.Warn("a repository that was set aside is gone", "kind", kind, "name", name)
		return os.Remove(path)
	}
	note, err := readNote(path)
	if repo.Shortage(err) {
		return err
	}
	if err != nil { // the note is broken, so the repository alone must tell
		note = SetAside{File: ".", Cause: "its note in damaged/ cannot be read", Since: s.Clock().UTC()}
	}
	s.Log.Error("a repository is still set aside", "kind", kind, "name", name, "file", note.File, "cause", note.Cause, "since", note.Since)
	s.takeAway(r, outOfService{fault: &repo.Fault{File: note.File, Cause: note.Cause}, since: note.Since})
	s.again.ask(r, 0)
	return nil
}

// SetAside lists the repositories that are out of service, by kind and name.
func (s *Service) SetAside() []SetAside {
	list := s.awayList()
	slices.SortFunc(list, func(a, b SetAside) int {
		return strings.Compare(string(a.Repository.Kind)+"/"+a.Repository.Name, string(b.Repository.Kind)+"/"+b.Repository.Name)
	})
	return list
}

// DamagedDirOf is where repositories of one kind are set aside.
func (s *Service) DamagedDirOf(kind dm.RepositoryKind) string {
	return filepath.Join(s.Data.Dir, repo.DamagedDir, string(kind))
}
