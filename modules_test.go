package dm_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tool is what the files of a folder in another module, its tests too, may
// import of the project.
type tool struct {
	imports      []string
	standardOnly bool // and nothing of others
}

// tools are the folders of the modules below deploy. They use the server as its
// users do: by its programs, its ports and its image.
var tools = map[string]tool{
	"deploy/bench":                  {imports: []string{"deploy/examples", "gitstore/gitcmd"}},
	"deploy/image":                  {imports: []string{"deploy/image/debian"}},
	"deploy/image/debian":           {standardOnly: true},
	"deploy/testcluster":            {},
	"deploy/testcluster/components": {},
	"deploy/testcluster/prepare":    {imports: []string{"deploy/testcluster"}},
	"deploy/testcluster/chart":      {imports: []string{"deploy/testcluster", "deploy/testcluster/chart"}},
	"deploy/testcluster/jupyterhub": {imports: []string{"deploy/testcluster"}},
	"deploy/testcluster/kube":       {imports: []string{"", "deploy/testcluster", "plugins/kube", "plugins/spark", "plugins/plugintest"}},
	"deploy/testcluster/coredns":    {},
	"deploy/testcluster/node":       {imports: []string{"deploy/testcluster", "deploy/testcluster/node", "deploy/image/debian"}},
	"deploy/testcluster/e2e":        {imports: []string{"deploy/testcluster", "deploy/testcluster/chart", "deploy/testcluster/node", "deploy/image/debian"}},
	"deploy/testcluster/engines":    {imports: []string{"deploy/testcluster", "deploy/testcluster/chart", "deploy/testcluster/engines", "deploy/testcluster/node", "deploy/image/debian"}},
	"deploy/testcluster/demo":       {imports: []string{"deploy/testcluster/engines", "deploy/testcluster/node"}},
}

// TestOtherModules holds the modules below deploy to the rules of this one. It
// reads their files, since go list would fetch all that they import.
func TestOtherModules(t *testing.T) {
	t.Parallel()
	documented := map[string]bool{}
	err := filepath.WalkDir("deploy", func(path string, entry fs.DirEntry, err error) error {
		folder := filepath.ToSlash(filepath.Dir(path))
		if err != nil || filepath.Ext(path) != ".go" || !inOtherModule(folder) {
			return err
		}
		allowed, known := tools[folder]
		if !known {
			t.Errorf("%s is in a folder that tools does not list", path)
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		documented[folder] = documented[folder] || file.Doc != nil && !strings.HasSuffix(path, "_test.go")
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !allowed.mayImport(imported) {
				t.Errorf("%s imports %s, want of the project only %v; of others none: %v", path, imported, allowed.imports, allowed.standardOnly)
			}
		}
		short(t, path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for folder := range tools {
		if !documented[folder] {
			t.Errorf("%s has no comment that says what it owns, promises and may import", folder)
		}
		namedForSomething(t, folder)
	}
}

func (t tool) mayImport(path string) bool {
	if to, ours := strings.CutPrefix(path, module); ours {
		return slices.Contains(t.imports, strings.TrimPrefix(to, "/"))
	}
	first, _, _ := strings.Cut(path, "/")
	return !t.standardOnly || !strings.Contains(first, ".")
}

// inOtherModule tells whether a folder, or one above it, has a go.mod.
func inOtherModule(folder string) bool {
	for ; folder != "."; folder = filepath.Dir(folder) {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return true
		}
	}
	return false
}
