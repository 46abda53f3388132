package dm_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMakefileRunsTests: go test passes when its -run matches nothing, so a test
// that gets another name would silently no longer be run.
func TestMakefileRunsTests(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	run := regexp.MustCompile(`-run '\^Test(\w+|\([\w|]+\))' (\./\S+)`)
	lines := strings.ReplaceAll(string(text), "-run '^TestRoot'", "-run '^TestRoot' ./cmd/deployment-manager")     // which that line enters by cd
	lines = strings.ReplaceAll(lines, "-run '^TestServer' ./kube", "-run '^TestServer' ./deploy/testcluster/kube") // likewise
	found := run.FindAllStringSubmatch(lines, -1)
	if want := strings.Count(lines, "-run "); len(found) != want || want < 5 {
		t.Fatalf("%d of %d -run are understood, want all and at least 5", len(found), want)
	}
	for _, m := range found {
		tests := testsOf(t, m[2])
		for name := range strings.SplitSeq(strings.Trim(m[1], "()"), "|") {
			if !strings.Contains(tests, "\nfunc Test"+name) {
				t.Errorf("the Makefile runs Test%s in %s, where there is none", name, m[2])
			}
		}
	}
}

// testsOf is the text of a folder's tests.
func testsOf(t *testing.T, folder string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
