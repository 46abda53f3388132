package gitstore

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

// refs maps full ref names to object names.
type refs map[string]plumbing.Hash

// errBadRef reports a ref file whose content is not an object name.
var errBadRef = errors.New("malformed ref")

// readRefs reads all refs of a repository, packed and loose, without changing
// anything and without starting git. It is used at start-up, when no one
// writes, and by verify.
func readRefs(dir string) (refs, error) {
	all := refs{}
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
		if errors.Is(err, errBadRef) {
			return broken(filepath.ToSlash(rel), "it holds no object name")
		}
		if err != nil {
			return err
		}
		all[filepath.ToSlash(rel)] = h
		return nil
	})
	return all, err
}

// readRef reads one ref; the zero hash means that it does not exist. The
// caller holds the repository's lock.
func readRef(dir, name string) (plumbing.Hash, error) {
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
	return parseHash(strings.TrimSuffix(string(b), "\n"), path)
}

func parseHash(text, where string) (plumbing.Hash, error) {
	h := plumbing.NewHash(text)
	if !plumbing.IsHash(text) || len(text) != 40 || h.IsZero() {
		return plumbing.ZeroHash, fmt.Errorf("%w in %s: %.60q", errBadRef, filepath.Base(where), text)
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
			return broken("packed-refs", "%v: %.60q", errBadRef, line)
		}
		h, err := parseHash(text, "packed-refs")
		if err != nil {
			return broken("packed-refs", "%v", err)
		}
		if !each(name, h) {
			return nil
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return broken("packed-refs", "a line has no end")
	}
	return lines.Err()
}
