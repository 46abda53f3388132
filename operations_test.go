package dm_test

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestOperationsExist reads the source: an operation that is written as
// package.Name names its own package and a function or type of it, so that who
// reads the log finds the place.
func TestOperationsExist(t *testing.T) {
	t.Parallel()
	called := regexp.MustCompile(`^([a-z]+[0-9]*)\.([A-Za-z0-9]+)$`)
	files := token.NewFileSet()
	folders, packages := map[string][]*ast.File{}, map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (path == "deploy" || path == ".git" || path == filepath.Join("cmd", "deployment-manager") || path == filepath.Join("plugins", "spark")) {
			return cmp.Or(err, fs.SkipDir) // the command's options are written with dots as well, and Spark's
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err == nil {
			folders[filepath.Dir(path)] = append(folders[filepath.Dir(path)], file)
			packages[file.Name.Name] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, list := range folders {
		declared := map[string]bool{}
		for _, file := range list {
			for _, d := range file.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					declared[d.Name.Name] = true
				case *ast.GenDecl:
					for _, spec := range d.Specs {
						if s, ok := spec.(*ast.TypeSpec); ok {
							declared[s.Name.Name] = true
						}
					}
				}
			}
		}
		for _, file := range list {
			ast.Inspect(file, func(n ast.Node) bool {
				text, ok := n.(*ast.BasicLit)
				if !ok || text.Kind != token.STRING {
					return true
				}
				value, err := strconv.Unquote(text.Value)
				parts := called.FindStringSubmatch(value)
				if err != nil || parts == nil || !packages[parts[1]] {
					return true
				}
				seen++
				if parts[1] != file.Name.Name || !declared[parts[2]] {
					t.Errorf("%s: %s names nothing in package %s", files.Position(text.Pos()), value, file.Name.Name)
				}
				return true
			})
		}
	}
	if seen < 50 {
		t.Errorf("only %d operations were found", seen)
	}
}
