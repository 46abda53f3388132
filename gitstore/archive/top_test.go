package archive_test

import (
	"bytes"
	"testing"

	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
)

// What tools leave beside the outer directory does not make it one of several.
func TestLitterBesideTheTop(t *testing.T) {
	t.Parallel()
	const own = "app-1.0.0/jupyter/n/a.ipynb"
	for _, c := range []struct {
		name   string
		beside []string
		top    string
	}{
		{"nothing", nil, "app-1.0.0"},
		{"macOS's tar", []string{"._app-1.0.0"}, "app-1.0.0"},
		{"macOS's zip", []string{"__MACOSX/app-1.0.0/._jupyter", "__MACOSX/._app-1.0.0"}, "app-1.0.0"},
		{"macOS's and Windows' folders", []string{".DS_Store", "Thumbs.db"}, "app-1.0.0"},
		{"JupyterLab's", []string{".ipynb_checkpoints/a"}, "app-1.0.0"},
		{"hidden files and folders", []string{".gitignore", ".github/workflows/ci.yml"}, "app-1.0.0"},
		{"a file", []string{"README"}, ""},
		{"a directory", []string{"b/x"}, ""},
		{"a file beside litter", []string{".DS_Store", "README"}, ""},
		{"a file that is called as litter's folder", []string{"__MACOSX"}, ""},
		{"a directory that is called as litter's file", []string{"Thumbs.db/x"}, ""},
	} {
		files := map[string]string{own: "{}"}
		for _, path := range c.beside {
			files[path] = "x"
		}
		result, got, err := read(t, bytes.NewReader(archivetest.Tgz(files)), archive.Limits{})
		if err != nil || result.Top != c.top {
			t.Errorf("%s: top = %q, %v, want %q", c.name, result.Top, err, c.top)
		}
		if len(got.files) != len(files) {
			t.Errorf("%s: %d files, want all %d", c.name, len(got.files), len(files))
		}
	}
	for _, only := range []string{".hidden/jupyter/n/a.ipynb", "__MACOSX/x"} {
		result, _, err := read(t, bytes.NewReader(archivetest.Tgz(map[string]string{only: ""})), archive.Limits{})
		if err != nil || result.Top == "" {
			t.Errorf("%s alone: top = %q, %v, want it named, so that it can be told", only, result.Top, err)
		}
	}
}
