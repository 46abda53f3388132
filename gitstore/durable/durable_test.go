package durable_test

import (
	"os"
	"path/filepath"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/durable"
)

func TestSyncOfNothing(t *testing.T) {
	t.Parallel()
	if err := durable.Sync(filepath.Join(t.TempDir(), "x")); dm.KindOf(err) != dm.Internal {
		t.Errorf("Sync of nothing: %v", err)
	}
}

// TestWriteFile replaces a file, and fails without leaving anything.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, content := range []string{"one", "two"} {
		if err := durable.WriteFile(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("got %q, %v, want %q", got, err, content)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := durable.WriteFile(filepath.Join(dir, "folder"), nil); err == nil {
		t.Error("a file took the place of a folder")
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("there are %v, %v", entries, err)
	}
}
