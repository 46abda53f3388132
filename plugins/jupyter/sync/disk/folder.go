package disk

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

// Folder is the user's. Paths in it are the server's: with slashes, checked.
type Folder struct {
	Root Dir
	last string // the path of the folder that was used last, which is kept open
	in   Dir
}

// Blocked tells that something which is no folder is where one must be.
type Blocked struct{ At string }

func (b *Blocked) Error() string { return b.At + " is no folder" }

// Parent opens the folder that a path lies in; with make it makes what is missing.
func (f *Folder) Parent(path string, make bool) (in Dir, name string, err error) {
	if !Plain(path) {
		return Dir{}, "", unix.EINVAL
	}
	where, name := Split(path)
	if where == "" {
		return f.Root, name, nil
	}
	if where == f.last {
		return f.in, name, nil
	}
	f.Leave()
	in, done := f.Root, 0
	for part := range strings.SplitSeq(where, "/") {
		done += len(part)
		next, err := in.Sub(part)
		if make && errors.Is(err, fs.ErrNotExist) {
			next, err = in.Needed(part)
		}
		if in.Fd != f.Root.Fd {
			in.Close()
		}
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return Dir{}, "", &Blocked{where[:done]}
		}
		if err != nil {
			return Dir{}, "", err
		}
		in, done = next, done+1
	}
	f.last, f.in = where, in
	return in, name, nil
}

// Plain tells whether a path stays in the folder: whatever stands in a manifest, a
// journal or notes, none leads up.
func Plain(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// Leave closes the folder that was kept open.
func (f *Folder) Leave() {
	if f.last != "" {
		f.in.Close()
		f.last = ""
	}
}

// Split parts a path into its folder, empty at the top, and its name.
func Split(path string) (where, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// Look tells what lies at a path.
func (f *Folder) Look(path string) Found {
	in, name, err := f.Parent(path, false)
	var way *Blocked
	switch {
	case errors.As(err, &way):
		return Found{Kind: InTheWay, At: way.At}
	case errors.Is(err, fs.ErrNotExist):
		return Found{}
	case err != nil:
		return Found{Kind: Unreadable, Why: err}
	}
	return in.Look(name)
}

// Has tells whether anything lies at a path.
func (f *Folder) Has(path string) bool {
	in, name, err := f.Parent(path, false)
	if err == nil {
		_, err = in.Stat(name)
	}
	return err == nil
}

// Look tells what lies in the folder under a name.
func (d Dir) Look(name string) Found {
	st, err := d.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Found{}
	case err != nil:
		return Found{Kind: Unreadable, Why: err}
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return Found{Kind: Other}
	}
	for range 3 {
		if b, err := d.hash(name); err == nil {
			return Found{Kind: File, Blob: b}
		} else if !errors.Is(err, ErrChanging) {
			return Found{Kind: Unreadable, Why: err}
		}
	}
	return Found{Kind: Unreadable, Why: ErrChanging}
}

var ErrChanging = errors.New("it is being changed at this moment")

// hash reads a file and names its content.
func (d Dir) hash(name string) (b remote.Blob, err error) {
	f, size, err := d.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return b, ErrChanging
	}
	if err != nil {
		return b, err
	}
	defer f.Close()
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	n, err := io.Copy(h, f)
	if err == nil && n != size {
		err = ErrChanging
	}
	return remote.Blob(h.Sum(nil)), err
}

// Tidy removes the folders that became empty above a path of ours.
func (f *Folder) Tidy(path string) {
	for where, _ := Split(path); where != ""; where, _ = Split(where) {
		f.Leave()
		in, name, err := f.Parent(where, false)
		if err != nil || in.RemoveFolder(name) != nil {
			return // somebody's files are in it
		}
	}
}
