package plugins

import (
	"errors"
	"io"
	"io/fs"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// cleanFS shows a component's files without what tools left among them. List it
// with fs.ReadDir and fs.WalkDir.
type cleanFS struct {
	fs.FS
	litter map[string]bool // files, and whole directories
}

// clean finds the litter of a component, at any depth; a directory's path ends
// in '/'. Without any the files are given back as they are. files is how many
// there are beside the litter.
func clean(component fs.FS) (cleaned fs.FS, litter []string, files int, err error) {
	hidden := map[string]bool{}
	err = fs.WalkDir(component, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || file == "." {
			return err
		}
		is, err := isLitter(component, file, entry)
		switch {
		case err != nil:
			return err
		case is && entry.IsDir():
			hidden[file] = true
			litter = append(litter, file+"/")
			return fs.SkipDir
		case is:
			hidden[file] = true
			litter = append(litter, file)
		case !entry.IsDir():
			files++
		}
		return nil
	})
	if len(litter) == 0 {
		return component, nil, files, err
	}
	return cleanFS{component, hidden}, litter, files, err
}

func isLitter(files fs.FS, file string, entry fs.DirEntry) (bool, error) {
	if dm.ToolLitter(entry.Name(), entry.IsDir()) {
		return true, nil
	}
	if entry.IsDir() || !strings.HasPrefix(entry.Name(), "._") {
		return false, nil
	}
	f, err := files.Open(file)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head := make([]byte, dm.AppleDoubleHead)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false, err
	}
	return dm.AppleDouble(entry.Name(), head[:n]), nil
}

func (c cleanFS) hides(name string) bool {
	for {
		if c.litter[name] {
			return true
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return false
		}
		name = name[:i]
	}
}

// Open implements fs.FS.
func (c cleanFS) Open(name string) (fs.File, error) {
	if c.hides(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return c.FS.Open(name)
}

// Stat implements fs.StatFS.
func (c cleanFS) Stat(name string) (fs.FileInfo, error) {
	if c.hides(name) {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	return fs.Stat(c.FS, name)
}

// ReadDir implements fs.ReadDirFS.
func (c cleanFS) ReadDir(name string) ([]fs.DirEntry, error) {
	if c.hides(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	all, err := fs.ReadDir(c.FS, name)
	var kept []fs.DirEntry
	for _, e := range all {
		path := e.Name()
		if name != "." {
			path = name + "/" + path
		}
		if !c.litter[path] {
			kept = append(kept, e)
		}
	}
	return kept, err
}
