package sync_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOddFolders: a folder's own name is no pattern.
func TestOddFolders(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a[b", "a[1]", `a\`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, nil)
			l.deliver(first)
			odd := "DM_SYNC_FOLDER=" + filepath.Join(l.home(), name)
			l.sync(odd)
			own := filepath.Join(l.home(), name, ".git/deployment-manager")
			l.must(os.WriteFile(filepath.Join(own, "refs/deployment-manager/fetched.lock"), nil, 0o600))
			l.deliver(with(files{"app/a.ipynb": "a two"}))
			l.sync(odd)
		})
	}
}

// TestDotsInOwnFiles: nothing that stands in the program's own files leads out of the folder.
func TestDotsInOwnFiles(t *testing.T) {
	t.Parallel()
	l := newLab(t, nil)
	l.deliver(first)
	l.sync()
	precious := filepath.Join(l.home(), "precious")
	l.must(os.WriteFile(precious, []byte("a one"), 0o600))
	manifest := l.path(".git/deployment-manager/manifest")
	content, err := os.ReadFile(manifest)
	l.must(err)
	text := strings.Replace(string(content), `"app/a.ipynb"`, `"../precious"`, 1)
	l.must(os.WriteFile(manifest, []byte(text), 0o600))
	l.deliver(with(files{"app/b.ipynb": "b two"}))
	l.try()
	if got, err := os.ReadFile(precious); err != nil || string(got) != "a one" {
		t.Errorf("the file outside is %q, %v", got, err)
	}
}
