package dm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/pndaproject/deployment-manager"

// goPackage is what these tests read of go list.
type goPackage struct {
	Dir, ImportPath                    string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports                            []string
	IgnoredGoFiles, CgoFiles           []string
}

func (p goPackage) folder() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// room is the part of the house that a folder of the module belongs to.
func room(folder string) string {
	name, _, _ := strings.Cut(folder, "/")
	return name
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	// What go list reads is unknown to go test, which would tell an old result
	// again. What the test reads itself, the names in each folder, it compares.
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if entry != nil && entry.IsDir() && slices.Contains([]string{".git", "bin", "data"}, path) {
			return filepath.SkipDir
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	list := exec.Command("go", "list", "-json=Dir,ImportPath,GoFiles,TestGoFiles,XTestGoFiles,Imports,IgnoredGoFiles,CgoFiles", "./...")
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// mayImport is the picture of docs/architecture.md: cmd may use every room, a
// room may use itself and the words, and the words use nobody.
func mayImport(from, to string) bool {
	switch {
	case to == "":
		return true
	case room(from) == "cmd":
		return room(to) != "cmd"
	case from == "":
		return false
	}
	return room(from) == room(to)
}

// TestImportsPointDown judges what is shipped. Tests may plug real rooms
// together, which is better than a fake.
func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		for _, path := range p.Imports {
			to, ours := strings.CutPrefix(path, module)
			to = strings.TrimPrefix(to, "/")
			if ours && !mayImport(p.folder(), to) {
				t.Errorf("%q imports %q: want only the words (the root package) and its own room; a port in ports.go is the way", p.folder(), to)
			}
		}
	}
}

// recordRooms is the picture of the record in docs/architecture.md, from the bottom
// up: which rooms of gitstore each one may import.
var recordRooms = map[string][]string{
	"archive":   {},
	"durable":   {},
	"events":    {"durable"},
	"gate":      {},
	"pack":      {"durable"},
	"gitcmd":    {"durable", "gate"},
	"repo":      {"durable", "events", "gitcmd", "pack"},
	"treefs":    {"repo"},
	"engines":   {"form", "index", "repair", "repo", "treefs"},
	"form":      {"archive", "pack", "repo"},
	"programs":  {"form", "repo"},
	"receive":   {"archive", "form", "gitcmd", "pack", "repo", "treefs"},
	"repair":    {"archive", "durable", "form", "gitcmd", "pack", "repo"},
	"format":    {"durable", "repair", "repo"},
	"upkeep":    {"repair", "repo"},
	"index":     {"form", "gitcmd", "repair", "repo"},
	"past":      {"events", "form", "gitcmd", "index", "repair", "repo"},
	"workspace": {"durable", "form", "index", "pack", "repair", "repo"},
	"audit":     {"archive", "form", "index", "repair", "repo", "workspace"},
}

// TestRoomsOfTheRecordPointDown keeps each of them what it is for.
func TestRoomsOfTheRecordPointDown(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range listPackages(t) {
		name, inside := strings.CutPrefix(p.folder(), "gitstore/")
		if !inside || strings.HasSuffix(name, "test") {
			continue
		}
		may, known := recordRooms[name]
		if !known {
			t.Errorf("gitstore/%s stands in no picture: add it to recordRooms and to docs/architecture.md", name)
		}
		seen[name] = true
		for _, path := range p.Imports {
			to, ours := strings.CutPrefix(path, module+"/gitstore")
			if ours && !slices.Contains(may, strings.TrimPrefix(to, "/")) {
				t.Errorf("gitstore/%s imports gitstore%s: it may import %v", name, to, may)
			}
		}
	}
	for name := range recordRooms {
		if !seen[name] {
			t.Errorf("there is no room gitstore/%s", name)
		}
	}
}

func TestWordsImportOnlyStandardLibrary(t *testing.T) {
	t.Parallel()
	allowed := []string{"golang.org/x/text/unicode/norm"} // Unicode's normal form C, see doc.go
	for _, p := range listPackages(t) {
		if p.folder() != "" {
			continue
		}
		for _, path := range p.Imports {
			first, _, _ := strings.Cut(path, "/")
			if strings.Contains(first, ".") && !slices.Contains(allowed, path) {
				t.Errorf("the root package imports %s, want only the standard library and %v", path, allowed)
			}
			if slices.Contains([]string{"os", "os/exec", "net", "net/http", "syscall"}, path) {
				t.Errorf("the root package imports %s, want no input or output in it", path)
			}
		}
	}
}

// TestShippedCodeImportsNoTestCode keeps corpora and contracts for tests out of
// the program.
func TestShippedCodeImportsNoTestCode(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		for _, path := range p.Imports {
			if strings.HasPrefix(path, module) && strings.HasSuffix(path, "test") && !strings.HasSuffix(p.folder(), "test") {
				t.Errorf("%q imports %s, want only tests to", p.folder(), path)
			}
		}
	}
}

// TestPodProgramLeavesTLSToGit keeps what every pod fetches small: git in the pod
// speaks to the server, and has the TLS for it. The program alone asks one question.
func TestPodProgramLeavesTLSToGit(t *testing.T) {
	t.Parallel()
	listPackages(t) // so that no old result is told again
	for _, processor := range []string{"amd64", "arm64"} {
		list := exec.Command("go", "list", "-deps", "./cmd/deployment-manager-sync")
		list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+processor)
		out, err := list.CombinedOutput()
		if err != nil {
			t.Fatalf("go list: %v\n%s", err, out)
		}
		for _, path := range strings.Fields(string(out)) {
			if slices.Contains([]string{"net/http", "crypto/tls", "crypto/x509"}, path) {
				t.Errorf("the program for %s pods has %s in it", processor, path)
			}
		}
	}
}

func TestOnlyGitcmdStartsPrograms(t *testing.T) {
	t.Parallel()
	starters := map[string]string{
		"gitstore/gitcmd":             "owns the git program",
		"cmd/deployment-manager":      "the demo runs git as a person would",
		"plugins/jupyter/sync/remote": "the program in users' pods has no server beside it",
	}
	for _, p := range listPackages(t) {
		if _, ok := starters[p.folder()]; !ok && slices.Contains(p.Imports, "os/exec") {
			t.Errorf("%q imports os/exec, want only %v", p.folder(), starters)
		}
	}
}

func TestShapeOfTheHouse(t *testing.T) {
	t.Parallel()
	for _, p := range listPackages(t) {
		if !slices.Contains(p.GoFiles, "doc.go") {
			t.Errorf("%q has no doc.go that says what it owns, promises and may import", p.folder())
		}
		namedForSomething(t, p.folder())
		for _, file := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles, p.IgnoredGoFiles, p.CgoFiles) {
			short(t, filepath.Join(p.Dir, file))
		}
		whole := 0
		for _, file := range p.GoFiles {
			whole += lines(t, filepath.Join(p.Dir, file))
		}
		if slices.Contains([]string{"apihandlers", "gitstore", "hooks", "plugins"}, room(p.folder())) && whole > 2500 {
			t.Errorf("%q has %d lines without its tests, want at most 2500: what is it that could stand alone?", p.folder(), whole)
		}
	}
}

func namedForSomething(t *testing.T, folder string) {
	t.Helper()
	for part := range strings.SplitSeq(filepath.ToSlash(folder), "/") {
		if slices.Contains([]string{"internal", "pkg", "util", "utils", "common", "helpers"}, part) {
			t.Errorf("the folder %q is named for nothing; name it for what it gives", folder)
		}
	}
}

func short(t *testing.T, file string) {
	t.Helper()
	if n := lines(t, file); n > 500 {
		t.Errorf("%s has %d lines, want at most 500", file, n)
	}
}

func lines(t *testing.T, file string) int {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}
