package sync

import (
	"crypto/sha1" // as git names contents; it is no proof of anything here
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"
	"golang.org/x/sys/unix"
)

// folder is the user's. Paths in it are the server's: with slashes, checked.
type folder struct {
	root dir
	last string // the path of the folder that was used last, which is kept open
	in   dir
}

// blocked tells that something which is no folder is where one must be.
type blocked struct{ at string }

func (b *blocked) Error() string { return b.at + " is no folder" }

// parent opens the folder that a path lies in; with make it makes what is missing.
func (f *folder) parent(path string, make bool) (in dir, name string, err error) {
	if !plain(path) {
		return dir{}, "", unix.EINVAL
	}
	where, name := split(path)
	if where == "" {
		return f.root, name, nil
	}
	if where == f.last {
		return f.in, name, nil
	}
	f.leave()
	in, done := f.root, 0
	for part := range strings.SplitSeq(where, "/") {
		done += len(part)
		next, err := in.sub(part)
		if make && errors.Is(err, fs.ErrNotExist) {
			next, err = in.needed(part)
		}
		if in.fd != f.root.fd {
			in.close()
		}
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return dir{}, "", &blocked{where[:done]}
		}
		if err != nil {
			return dir{}, "", err
		}
		in, done = next, done+1
	}
	f.last, f.in = where, in
	return in, name, nil
}

// plain tells whether a path stays in the folder: whatever stands in a manifest, a
// journal or notes, none leads up.
func plain(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// leave closes the folder that was kept open.
func (f *folder) leave() {
	if f.last != "" {
		f.in.close()
		f.last = ""
	}
}

// split parts a path into its folder, empty at the top, and its name.
func split(path string) (where, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// look tells what lies at a path.
func (f *folder) look(path string) found {
	in, name, err := f.parent(path, false)
	var way *blocked
	switch {
	case errors.As(err, &way):
		return found{kind: inTheWay, at: way.at}
	case errors.Is(err, fs.ErrNotExist):
		return found{}
	case err != nil:
		return found{kind: unreadable, why: err}
	}
	return in.look(name)
}

// has tells whether anything lies at a path.
func (f *folder) has(path string) bool {
	in, name, err := f.parent(path, false)
	if err == nil {
		_, err = in.stat(name)
	}
	return err == nil
}

// look tells what lies in the folder under a name.
func (d dir) look(name string) found {
	st, err := d.stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return found{}
	case err != nil:
		return found{kind: unreadable, why: err}
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return found{kind: other}
	}
	for range 3 {
		if b, err := d.hash(name); err == nil {
			return found{kind: file, blob: b}
		} else if !errors.Is(err, errChanging) {
			return found{kind: unreadable, why: err}
		}
	}
	return found{kind: unreadable, why: errChanging}
}

var errChanging = errors.New("it is being changed at this moment")

// hash reads a file and names its content.
func (d dir) hash(name string) (b remote.Blob, err error) {
	f, size, err := d.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return b, errChanging
	}
	if err != nil {
		return b, err
	}
	defer f.Close()
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	n, err := io.Copy(h, f)
	if err == nil && n != size {
		err = errChanging
	}
	return remote.Blob(h.Sum(nil)), err
}

// tidy removes the folders that became empty above a path of ours.
func (f *folder) tidy(path string) {
	for where, _ := split(path); where != ""; where, _ = split(where) {
		f.leave()
		in, name, err := f.parent(where, false)
		if err != nil || in.removeFolder(name) != nil {
			return // somebody's files are in it
		}
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
	where, name := split(path)
	if where != "" {
		where += "/"
	}
	if dot := strings.LastIndexByte(name, '.'); dot > 0 {
		return where + name[:dot] + "." + version + name[dot:]
	}
	return where + name + "." + version
}
