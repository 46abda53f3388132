package pack

import (
	"os"
	"path/filepath"
	"testing"
)

// Where a file system cannot link, the copy is whole and read-only, and
// nothing else stays.
func TestCopyInsteadOfLink(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	source, target := filepath.Join(from, "a.pack"), filepath.Join(to, "a.pack")
	if err := os.WriteFile(source, []byte("content"), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := copyFile(source, target); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(target)
	if err != nil || string(got) != "content" {
		t.Errorf("got %q, %v", got, err)
	}
	if info, err := os.Stat(target); err != nil || info.Mode().Perm() != 0o444 {
		t.Errorf("got %v, %v", info, err)
	}
	if err := copyFile(source, filepath.Join(to, "missing", "a.pack")); err == nil {
		t.Error("a folder that is not there can be copied to")
	}
	if entries, err := os.ReadDir(to); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
