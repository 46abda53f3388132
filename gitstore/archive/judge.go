package archive

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// Entry is a file or a directory of a package, as an archive or a pushed tree
// names it.
type Entry struct {
	Name      string // as it stands there; a directory's may end in '/'
	Directory bool
	Mode      int64 // permissions, and what else an archive wrote there
	Size      int64 // bytes
	Fault     string
}

// Judge is the one rule for what a package may hold, whichever way it comes:
// the reader of archives asks it, and so does who judges a push.
type Judge struct {
	limits   Limits
	paths    dm.PathSet
	top      map[string]bool // name → is a directory
	findings []dm.Finding
	bytes    int64 // of all files
}

// NewJudge starts with an empty package.
func NewJudge(limits Limits) *Judge {
	return &Judge{limits: limits.orDefault(), top: map[string]bool{}}
}

// Entry judges one entry and returns the path under which it is known: "" when
// there is a fault, which is kept for Refusal, and for the root directory that
// some archives name. An error ends the judgement: a limit is exceeded, or there
// are so many faults that no more are collected.
func (j *Judge) Entry(e Entry) (path string, err error) {
	if e.Size > j.limits.File {
		return "", dm.Errorf(dm.TooLarge, op, "the file \"%s\" has %d bytes, at most %d are allowed", shown(e.Name), e.Size, j.limits.File)
	}
	if j.bytes += e.Size; j.bytes > j.limits.Unpacked {
		return "", dm.Errorf(dm.TooLarge, op, "the package unpacks to more than %d bytes", j.limits.Unpacked)
	}
	path, fault := j.path(e)
	if j.paths.Len() > j.limits.Entries {
		return "", dm.Errorf(dm.TooLarge, op, "the package has more than %d files and directories", j.limits.Entries)
	}
	if fault != "" {
		j.findings = append(j.findings, dm.Finding{Path: shown(e.Name), Message: fault})
		if len(j.findings) == maxFindings {
			return "", j.Refusal()
		}
		return "", nil
	}
	return path, nil
}

// Refusal is the error for all faults so far, nil when there are none.
func (j *Judge) Refusal() error {
	if len(j.findings) == 0 {
		return nil
	}
	return dm.Refuse(op, "the package is refused", j.findings)
}

// path returns the entry's path, or what is wrong with the entry.
func (j *Judge) path(e Entry) (path, fault string) {
	if e.Fault != "" {
		return "", e.Fault
	}
	path = strings.TrimPrefix(e.Name, "./")
	if e.Directory {
		path = strings.TrimSuffix(path, "/")
		if e.Name == "." || e.Name == "./" {
			return "", specialBits(e)
		}
	}
	path = dm.NormalPath(path)
	if err := dm.CheckPath(path); err != nil {
		return "", message(err)
	}
	if err := j.paths.Add(path, e.Directory); err != nil {
		return "", message(err)
	}
	first, _, below := strings.Cut(path, "/")
	j.top[first] = e.Directory || below
	return path, specialBits(e)
}

// topEntries are the names at the top level in byte order, and the single
// outer directory, "" when there is none. What tools leave beside it does not
// count: macOS's tar writes one entry more that only other systems see.
func (j *Judge) topEntries() (names []string, single string) {
	names = slices.Sorted(maps.Keys(j.top))
	content := names
	if len(names) > 1 {
		content = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return dm.Beside(name, j.top[name]) })
	}
	if len(content) == 1 && j.top[content[0]] {
		single = content[0]
	}
	return names, single
}

// specialBits refuses modes that ask for another user's rights. The bits that
// repeat the type of the entry, as some Java tools write them, are fine.
func specialBits(e Entry) string {
	const setID = 0o7000
	kindBits := int64(0o100000)
	if e.Directory {
		kindBits = 0o040000
	}
	if e.Mode&setID != 0 {
		return fmt.Sprintf("the mode %04o has a setuid, setgid or sticky bit", e.Mode&0o7777)
	}
	if rest := e.Mode &^ 0o777; rest != 0 && rest != kindBits {
		return fmt.Sprintf("the mode %o has bits that are not permissions", e.Mode)
	}
	return ""
}

// message is the sentence of an error of the root package.
func message(err error) string {
	var e *dm.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// Faults of entries that are neither files nor directories.
const (
	SymbolicLink = "it is a symbolic link; only files and directories are allowed"
	Submodule    = "it is a submodule; only files and directories are allowed"
)
