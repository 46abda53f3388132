package repair

import (
	"compress/zlib"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// survey is one look at every file of a repository to its last byte. It is what
// proofs are made from: neither go-git nor git says reliably whether an object is
// gone or could only not be read.
type survey struct {
	dir   string
	names map[plumbing.Hash]struct{} // in packs that are there, whole
}

// newSurvey reads all refs, packs and loose objects. An error is a fault when
// the bytes prove it, else it says what could not be read. The caller holds the
// repository's lock, or is alone.
func newSurvey(dir string) (*survey, error) {
	heads, err := repo.ReadRefs(dir)
	if err != nil {
		return nil, err
	}
	v := &survey{dir: dir, names: map[plumbing.Hash]struct{}{}}
	if err := v.packs(); err != nil {
		return nil, err
	}
	if err := v.loose(); err != nil {
		return nil, err
	}
	for _, ref := range slices.Sorted(maps.Keys(heads)) {
		gone, err := v.lacks(heads[ref])
		if err != nil {
			return nil, err
		}
		if gone {
			return nil, repo.Broken(ref, "the object %s that it names is missing", heads[ref])
		}
	}
	return v, nil
}

// packs reads every pack and collects the names of its objects.
func (v *survey) packs() error {
	entries, err := os.ReadDir(repo.PackDir(v.dir))
	if errors.Is(err, fs.ErrNotExist) {
		return repo.Broken("objects/pack", "the folder is missing")
	}
	if err != nil {
		return err
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(there)) {
		if base, isPack := strings.CutSuffix(name, ".pack"); isPack && strings.HasPrefix(base, "pack-") && !there[base+".idx"] {
			return repo.Broken("objects/pack/"+base+".idx", "it is missing")
		}
		base, index := strings.CutSuffix(name, ".idx")
		if !index || !strings.HasPrefix(base, "pack-") {
			continue
		}
		if !there[base+".pack"] {
			if there[base+".keep"] {
				return repo.Broken("objects/pack/"+base+".pack", "it is missing")
			}
			continue // a repack was broken off while it removed what it had replaced
		}
		path := filepath.Join(repo.PackDir(v.dir), base)
		if file, err := pack.Check(path + ".pack"); pack.IsBroken(err) {
			return repo.Broken("objects/pack/"+filepath.Base(file), "%s", brokenText(err))
		} else if err != nil {
			return err
		}
		objects, err := pack.Names(path + ".pack")
		if err != nil {
			return err
		}
		for _, h := range objects {
			v.names[h] = struct{}{}
		}
	}
	return nil
}

func brokenText(err error) string {
	var b pack.Broken
	errors.As(err, &b)
	return string(b)
}

// loose reads the objects that are files of their own.
func (v *survey) loose() error {
	folders, err := os.ReadDir(filepath.Join(v.dir, "objects"))
	if err != nil {
		return err
	}
	for _, folder := range folders {
		if len(folder.Name()) != 2 || !folder.IsDir() {
			continue
		}
		files, err := os.ReadDir(filepath.Join(v.dir, "objects", folder.Name()))
		if err != nil {
			return err
		}
		for _, f := range files {
			if len(f.Name()) != 38 {
				continue
			}
			name := "objects/" + folder.Name() + "/" + f.Name()
			if err := checkLoose(filepath.Join(v.dir, name), folder.Name()+f.Name()); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// checkLoose compares the content of a loose object with its name.
func checkLoose(path, id string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum := sha1.New()
	z, err := zlib.NewReader(strings.NewReader(string(content)))
	if err == nil {
		_, err = io.Copy(sum, z)
	}
	if err != nil || hex.EncodeToString(sum.Sum(nil)) != id {
		return repo.Broken("objects/"+id[:2]+"/"+id[2:], "hash mismatch")
	}
	return nil
}

// lacks tells whether an object is in no pack and no file.
func (v *survey) lacks(h plumbing.Hash) (bool, error) {
	if _, ok := v.names[h]; ok || h == repo.EmptyTree {
		return false, nil
	}
	id := h.String()
	_, err := os.Lstat(filepath.Join(v.dir, "objects", id[:2], id[2:]))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return false, err
}

// Confirm looks whether the bytes of the repository in dir prove what made a
// look at it fail with err. It returns a fault, or an error that says why the
// question stays open.
func Confirm(dir string, err error) error {
	if err == nil || repo.Proof(err) != nil || repo.Shortage(err) {
		return err
	}
	v, seen := newSurvey(dir)
	if seen != nil {
		if repo.Proof(seen) != nil {
			return seen
		}
		return errors.Join(err, seen)
	}
	var l *repo.Lost
	if !errors.As(err, &l) {
		return err
	}
	gone, unread := v.lacks(plumbing.NewHash(l.ID))
	if unread != nil || !gone {
		return errors.Join(err, unread)
	}
	return repo.Broken("objects", "the %s %s is missing", l.What, l.ID)
}

// confirmFsck does the same with the lines that git fsck wrote about a
// repository: what git could not open it tells as missing.
func confirmFsck(dir string, lines []string) error {
	v, err := newSurvey(dir)
	if err != nil {
		return err
	}
	for _, line := range lines {
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "error in "):
			return repo.Broken("objects", "%s", line)
		case len(words) == 3 && words[0] == "missing" && plumbing.IsHash(words[2]):
			gone, err := v.lacks(plumbing.NewHash(words[2]))
			if err != nil {
				return err
			}
			if gone {
				return repo.Broken("objects", "the %s %s is missing", words[1], words[2])
			}
		}
	}
	return fmt.Errorf("git fsck: %s", strings.Join(lines, "; "))
}
