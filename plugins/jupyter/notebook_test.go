package jupyter_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/jupyter"
)

func remarks(t *testing.T, files fs.FS) []string {
	t.Helper()
	p := jupyter.New(nil)
	notes, err := p.Remarks(dm.PackageComponent{Type: "jupyter", Name: "n", Files: files})
	if err != nil {
		t.Fatal(err)
	}
	return notes
}

func TestRemarksOnNotebooks(t *testing.T) {
	t.Parallel()
	const good = `{"cells": [{"cell_type": "code", "source": ["x"]}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}`
	const conflicted = "{\n \"cells\": [\n<<<<<<< HEAD\n  {}\n=======\n  []\n>>>>>>> topic\n ]\n}\n"
	large := `{"cells": [], "x": "` + strings.Repeat("x", jupyter.MaxNotebook) + `"}`
	for _, c := range []struct{ name, content, want string }{
		{"a notebook", good, ""},
		{"a notebook without cells in it", `{"cells": []}`, ""},
		{"spaces around", "\r\n " + good + " \n\n", ""},
		{"a byte order mark", "\ufeff" + good, ""},
		{"format 3", `{"metadata": {}, "nbformat": 3, "worksheets": [{"cells": []}]}`, ""},
		{"references outside of strings", `{"cells": [{"execution_count": ${component_count}, "collapsed":${component_yes}}], "x": [${component_x}, ${component_y}]}`, ""},
		{"deeper than JSON from outside may be", `{"cells": ` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, ""},
		{"text that speaks of conflicts", `{"cells": [{"source": ["<<<<<<< HEAD\n", ">>>>>>> x"]}]}`, ""},
		{"large", large, ""},
		{"empty", "", "it is empty"},
		{"spaces", " \r\n\t", "it is empty"},
		{"a mark alone", "\ufeff", "it is empty"},
		{"a git-lfs pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("a", 64) + "\nsize 12345\n",
			"it is a Git LFS pointer, run git lfs pull before you pack or push"},
		{"conflict markers", conflicted, "it has conflict markers, at line 3"},
		{"conflict markers with CRLF", strings.ReplaceAll(conflicted, "\n", "\r\n"), "it has conflict markers, at line 3"},
		{"conflict markers in line 1", "<<<<<<< HEAD\n{}\n=======\n>>>>>>> x\n", "it has conflict markers, at line 1"},
		{"HTML", "<!DOCTYPE html><html>sign in</html>", "it is not a JSON object"},
		{"Python", "import os\n", "it is not a JSON object"},
		{"a JSON list", "[]", "it is not a JSON object"},
		{"cut off", good[:len(good)-30], "it is not JSON, at line 1"},
		{"a comma too many", "{\n\"cells\": [\n1,\n]}", "it is not JSON, at line 4"},
		{"two of them", good + good, "it is not JSON, at line 1"},
		{"JSON of something else", `{"name": "x"}`, "it has no cells"},
		{"cells that are no list", `{"cells": {}}`, "it has no cells"},
		{"cells that are null", `{"cells": null}`, "it has no cells"},
		{"a large git-lfs pointer", "version https://git-lfs.github.com/spec/v1\n" + strings.Repeat("x", jupyter.MaxNotebook), "it is a Git LFS pointer, run git lfs pull before you pack or push"},
		{"large and no JSON", strings.Repeat("x", jupyter.MaxNotebook+1), "it is not a JSON object"},
	} {
		want := ""
		if c.want != "" {
			want = "jupyter/n/sub/A.IPYNB is not a notebook: " + c.want
		}
		files := fstest.MapFS{"sub/A.IPYNB": {Data: []byte(c.content)}, "other.json": {Data: []byte("no JSON")}}
		if got := strings.Join(remarks(t, files), "|"); got != want {
			t.Errorf("%s: %q, want %q", c.name, got, want)
		}
	}
}

func TestRemarksAreFew(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{}
	for i := range 30 {
		files[fmt.Sprintf("%02d.ipynb", i)] = &fstest.MapFile{}
	}
	got := remarks(t, files)
	if len(got) != 6 || got[4] != "jupyter/n/04.ipynb is not a notebook: it is empty" || got[5] != "25 more files of jupyter/n are not notebooks" {
		t.Errorf("remarks = %q, want five and a count", got)
	}
}

// partFS fails to read with err.
type partFS struct {
	fstest.MapFS
	err error
}

type partFile struct {
	fs.File
	err error
}

func (f partFile) Read([]byte) (int, error) { return 0, f.err }

func (p partFS) Open(name string) (fs.File, error) {
	f, err := p.MapFS.Open(name)
	if strings.HasSuffix(name, ".ipynb") && err == nil {
		f = partFile{f, p.err}
	}
	return f, err
}

func TestRemarksOnWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	p := jupyter.New(nil)
	files := fstest.MapFS{"a.ipynb": {Data: []byte("x")}}
	broken := errors.New("broken disk")
	if _, err := p.Remarks(dm.PackageComponent{Files: partFS{files, broken}}); !errors.Is(err, broken) {
		t.Errorf("error = %v, want %v", err, broken)
	}
	if notes, err := p.Remarks(dm.PackageComponent{Files: partFS{files, errors.ErrUnsupported}}); err != nil || len(notes) > 0 {
		t.Errorf("what is not held: %q, %v, want nothing", notes, err)
	}
}

func TestMoved(t *testing.T) {
	t.Parallel()
	p := jupyter.New(nil)
	record := func(names ...dm.ComponentName) dm.PluginRecord {
		r := dm.ApplyRequest{Application: "noon-run"}
		for _, name := range names {
			r.Components = append(r.Components, dm.Component{Type: "jupyter", Name: name})
		}
		made, err := p.Apply(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	for _, c := range []struct {
		before, after dm.PluginRecord
		want          string
	}{
		{record("a"), record("a"), ""},
		{record("a"), record("b"), ""},
		{record("a", "b"), record("a", "c", "d"), ""},
		{record(), record("a"), ""},
		{record("a", "b"), record(), ""},
		{record(".ipynb_checkpoints", "n"), record("n"), "the files of n are in the folder noon-run itself now, not in one of their own below it: it is the only jupyter component"},
		{record("a"), record("a", "b", "c"), "each of the 3 jupyter components has a folder of its own in noon-run now: the files of a are in noon-run/a"},
	} {
		if got := p.Moved(c.before, c.after); got != c.want {
			t.Errorf("from %v to %v: %q, want %q", c.before.Components, c.after.Components, got, c.want)
		}
	}
}
