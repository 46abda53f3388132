package jupyter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// How much of the notebooks of one component is looked at, in bytes. Longer
// ones, and those beyond, are judged by their beginning.
const (
	MaxNotebook  = 4 << 20
	MaxNotebooks = 32 << 20
	NotebookHead = 4 << 10
)

// maxRemarks is how many notebooks of a component are named.
const maxRemarks = 5

// IsNotebook tells whether a file calls itself a notebook.
func IsNotebook(file string) bool { return strings.EqualFold(path.Ext(file), ".ipynb") }

// Looks implements dm.Remarker.
func (*Plugin) Looks(path string, size int64) int64 {
	switch {
	case !IsNotebook(path):
		return 0
	case size <= MaxNotebook:
		return size
	}
	return NotebookHead
}

// Remarks names the files that call themselves notebooks and are none: Jupyter
// can't open them, though they can be delivered. A file system that holds only
// a part of a file, and says so with errors.ErrUnsupported, is believed.
func (*Plugin) Remarks(c dm.PackageComponent) ([]string, error) {
	var notes []string
	left, more := MaxNotebooks, 0
	err := fs.WalkDir(c.Files, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !IsNotebook(file) {
			return err
		}
		data, whole, err := look(c.Files, file, &left)
		if errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		if err != nil {
			return err
		}
		fault := notebookFault(data, whole)
		switch {
		case fault == "":
		case len(notes) == maxRemarks:
			more++
		default:
			notes = append(notes, fmt.Sprintf("%s/%s/%s is not a notebook: %s", c.Type, c.Name, file, fault))
		}
		return nil
	})
	if more > 0 {
		notes = append(notes, fmt.Sprintf("%d more files of %s/%s are not notebooks", more, c.Type, c.Name))
	}
	return notes, err
}

// look reads a notebook, or its beginning where it is long.
func look(files fs.FS, file string, left *int) (data []byte, whole bool, err error) {
	f, err := files.Open(file)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	n := int64(NotebookHead)
	if size := info.Size(); size <= min(MaxNotebook, int64(*left)) {
		n = size
	}
	*left -= int(n)
	data, err = io.ReadAll(io.LimitReader(f, n))
	return data, n == info.Size(), err
}

var conflict = regexp.MustCompile(`(?m)^(<<<<<<<|>>>>>>>|\|\|\|\|\|\|\|) `)

// reference is one outside a string, where a value stands once it is filled.
var reference = regexp.MustCompile(`([:\[,]\s*)\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// notebookFault tells why a file is no notebook, "" when it is one as far as
// data, its beginning or the whole, tells.
func notebookFault(data []byte, whole bool) string {
	text := bytes.TrimSpace(dm.WithoutMark(data))
	switch {
	case len(text) == 0 && whole:
		return "it is empty"
	case len(text) == 0:
		return ""
	case bytes.HasPrefix(text, []byte("version https://git-lfs.github.com/spec/")):
		return "it is a Git LFS pointer, run git lfs pull before you pack or push"
	}
	// JSON has no line of that form, so one is enough.
	if at := conflict.FindIndex(data); at != nil {
		return fmt.Sprintf("it has conflict markers, at line %d", lineOf(data, at[0]))
	}
	if text[0] != '{' {
		return "it is not a JSON object"
	}
	if !whole {
		return ""
	}
	return formatFault(text)
}

// formatFault judges a whole text that begins as a JSON object.
func formatFault(text []byte) string {
	var notebook struct {
		Cells      json.RawMessage `json:"cells"`
		Worksheets json.RawMessage `json:"worksheets"` // of format 3
	}
	err := json.Unmarshal(text, &notebook)
	if err != nil {
		err = json.Unmarshal(reference.ReplaceAll(text, []byte("${1}0")), &notebook)
	}
	switch syntax := (*json.SyntaxError)(nil); {
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is not JSON, at line %d", lineOf(text, int(syntax.Offset)))
	case err != nil:
		return "it is not JSON"
	case !bytes.HasPrefix(notebook.Cells, []byte("[")) && !bytes.HasPrefix(notebook.Worksheets, []byte("[")):
		return "it has no cells"
	}
	return ""
}

// lineOf is the number of the line in which the byte at stands.
func lineOf(data []byte, at int) int { return 1 + bytes.Count(data[:min(at, len(data))], []byte("\n")) }
