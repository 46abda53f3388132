package plugins_test

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestNobodyComparesTypes reads the source: what hangs on a component type its
// plugin says, so no other code of the server names one.
func TestNobodyComparesTypes(t *testing.T) {
	t.Parallel()
	types := []string{"jupyter", "sparkStreaming", "flink", "flinkStreaming", "oozie"}
	named, files, root := map[string]int{}, token.NewFileSet(), os.DirFS("..")
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && slices.Contains([]string{"cmd", "deploy", ".git"}, file) {
			return cmp.Or(err, fs.SkipDir)
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		source, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(files, file, source, 0)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil || !slices.Contains(types, text) {
				return true
			}
			if named[text]++; path.Dir(path.Dir(file)) != "plugins" {
				t.Errorf("%s names the component type %s: ask its plugin, through a port in plugin.go", files.Position(literal.Pos()), text)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range types {
		if named[name] == 0 {
			t.Errorf("no plugin names the component type %s", name)
		}
	}
}
