package repo

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// Refs maps full ref names to object names.
type Refs map[string]plumbing.Hash

// ErrBadRef reports a ref file whose content is not an object name.
var ErrBadRef = errors.New("malformed ref")

// ReadRefs reads all refs of a repository, packed and loose, without changing
// anything and without starting git. Who needs them to be of one moment holds the
// repository's lock.
func ReadRefs(dir string) (Refs, error) {
	all := Refs{}
	if err := readPackedRefs(dir, func(name string, h plumbing.Hash) bool { all[name] = h; return true }); err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "refs")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, ".lock") {
			return err // no ref is called so; a git that died leaves locks
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		h, err := readLooseRef(path)
		if errors.Is(err, ErrBadRef) {
			return Broken(filepath.ToSlash(rel), "it is not an object name")
		}
		if err != nil {
			return err
		}
		all[filepath.ToSlash(rel)] = h
		return nil
	})
	return all, err
}

// ReadRef reads one ref; the zero hash means that it does not exist. The
// caller holds the repository's lock.
func ReadRef(dir, name string) (plumbing.Hash, error) {
	h, err := readLooseRef(filepath.Join(dir, filepath.FromSlash(name)))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return h, err
	}
	h = plumbing.ZeroHash
	err = readPackedRefs(dir, func(n string, found plumbing.Hash) bool {
		if n == name {
			h = found
		}
		return n != name
	})
	return h, err
}

func readLooseRef(path string) (plumbing.Hash, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return ParseHash(strings.TrimSuffix(string(b), "\n"), path)
}

// ParseHash reads the name of an object, which stands in the file where.
func ParseHash(text, where string) (plumbing.Hash, error) {
	h := plumbing.NewHash(text)
	if !plumbing.IsHash(text) || len(text) != 40 || h.IsZero() {
		return plumbing.ZeroHash, fmt.Errorf("%w in %s: %.60q", ErrBadRef, filepath.Base(where), text)
	}
	return h, nil
}

// readPackedRefs calls each for every line of packed-refs until it returns
// false. A missing file has no lines.
func readPackedRefs(dir string, each func(string, plumbing.Hash) bool) error {
	f, err := os.Open(filepath.Join(dir, "packed-refs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' || line[0] == '^' {
			continue
		}
		text, name, ok := strings.Cut(line, " ")
		if !ok {
			return Broken("packed-refs", "%v: %.60q", ErrBadRef, line)
		}
		h, err := ParseHash(text, "packed-refs")
		if err != nil {
			return Broken("packed-refs", "%v", err)
		}
		if !each(name, h) {
			return nil
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return Broken("packed-refs", "a line has no end")
	}
	return lines.Err()
}
