package repo

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// intent is a note that a change is bringing packs into an existing repository.
// A server that is killed before the change's ref moves leaves packs that no
// ref leads to and no gc removes, because they have .keep files; the next start
// finds the note and takes them away.
type intent struct {
	Kind  dm.RepositoryKind `json:"kind"`
	Name  string            `json:"name"`
	Packs []string          `json:"packs"` // file names of those that were there before, or of which an index was
}

const intentPrefix = "intent-"

// intend writes the note of a change of r, whose lock the caller holds, and
// returns what ends the change: after a failure that takes its packs away, so
// that a full disk does not get fuller with every attempt. The note is not
// fsynced: a power cut that loses it costs room and nothing else.
func (f *Folder) intend(r dm.Repository) (end func(failed bool), err error) {
	entries, err := os.ReadDir(PackDir(f.Path(r)))
	if err != nil {
		return nil, err
	}
	note := intent{Kind: r.Kind, Name: r.Name, Packs: []string{}}
	for _, e := range entries { // a lost pack may come back to its index
		if base, ok := strings.CutSuffix(e.Name(), ".idx"); ok {
			note.Packs = append(note.Packs, base+".pack")
		} else if filepath.Ext(e.Name()) == ".pack" {
			note.Packs = append(note.Packs, e.Name())
		}
	}
	text, err := json.Marshal(note)
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(f.Temporary(), intentPrefix+"*")
	if err != nil {
		return nil, err
	}
	end = func(failed bool) {
		var err error
		if failed {
			err = f.sweepRepository(note)
		}
		if err := errors.Join(err, os.Remove(file.Name())); err != nil {
			f.Log.Warn("leftovers of a change could not be removed", "kind", r.Kind, "name", r.Name, "err", err)
		}
	}
	if _, err := file.Write(text); err != nil {
		end(false)
		return nil, errors.Join(err, file.Close())
	}
	return end, file.Close()
}

// RemoveUnlanded takes away the packs of changes that a killed server did not end. A
// note that can't be read, or a repository that was set aside, costs room only.
func (f *Folder) RemoveUnlanded() error {
	notes, err := filepath.Glob(filepath.Join(f.Temporary(), intentPrefix+"*"))
	if err != nil {
		return err
	}
	for _, path := range notes {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var note intent
		if json.Unmarshal(text, &note) == nil {
			if err := f.sweepRepository(note); err != nil {
				f.Log.Error("packs of an interrupted change could not be removed", "kind", note.Kind, "name", note.Name, "err", err)
			}
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// KeptMended is the text of the .keep file of a pack with which a repository was
// mended. It may have come while a change was under way and does not go with it.
const KeptMended = "mended"

// sweepRepository removes the packs that came after those of the note, unless
// the change was made. The caller holds the repository's lock, or is alone.
func (f *Folder) sweepRepository(note intent) error {
	r := dm.Repository{Kind: note.Kind, Name: note.Name}
	dir := f.Path(r)
	all, err := Packs(dir)
	if errors.Is(err, fs.ErrNotExist) || f.Sound(r) != nil {
		return nil
	}
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(all, func(path string) bool { return slices.Contains(note.Packs, filepath.Base(path)) || mended(path) })
	named, err := packsNamed(dir, left)
	switch {
	case err != nil:
		return err
	case r.Kind != dm.PackageRepository && len(named) > 0:
		return nil // the change is made, and one commit leads to all its packs
	}
	// In a package's repository each pack has a ref of its own.
	left = slices.DeleteFunc(left, func(path string) bool { return slices.Contains(named, path) })
	return RemovePacks(left)
}

// mended tells whether a pack mended its repository; of one that can't be told it
// is believed.
func mended(path string) bool {
	text, err := os.ReadFile(strings.TrimSuffix(path, ".pack") + ".keep")
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	return strings.TrimSpace(string(text)) == KeptMended
}

// packsNamed returns those of packs that hold the object of a ref.
func packsNamed(dir string, packs []string) ([]string, error) {
	if len(packs) == 0 {
		return nil, nil
	}
	heads, err := ReadRefs(dir)
	if err != nil {
		return nil, err
	}
	var named []string
	for _, h := range heads {
		path, err := pack.Find(PackDir(dir), h)
		if err != nil {
			return nil, err
		}
		if slices.Contains(packs, path) {
			named = append(named, path)
		}
	}
	return named, nil
}

// RemovePacks removes packs with what belongs to them; git looks for indexes,
// so they go first.
func RemovePacks(packs []string) error {
	var errs []error
	for _, path := range packs {
		base := strings.TrimSuffix(path, ".pack")
		for _, extension := range []string{".idx", ".pack", ".keep"} {
			if err := os.Remove(base + extension); !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}
