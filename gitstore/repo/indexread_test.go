package repo

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-git/go-billy/v5"
)

// TestBufferedIndexes: what is read ahead must not show in where a file stands.
func TestBufferedIndexes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const content = "0123456789abcdefghij"
	for _, name := range []string{"pack.idx", "pack.pack"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := repositoryFiles(dir)
	for _, name := range []string{"pack.idx", "pack.pack"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := files.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, buffered := f.(*bufferedFile); buffered != (name == "pack.idx") {
				t.Errorf("buffered: %t", buffered)
			}
			for _, step := range []struct {
				offset int64
				whence int
				want   string
			}{
				{0, io.SeekCurrent, "0123"}, {0, io.SeekCurrent, "4567"}, {2, io.SeekCurrent, "abcd"},
				{1, io.SeekStart, "1234"}, {-4, io.SeekEnd, "ghij"}, {-8, io.SeekCurrent, "cdef"},
			} {
				if _, err := f.Seek(step.offset, step.whence); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, 4)
				if _, err := io.ReadFull(f, got); err != nil || string(got) != step.want {
					t.Errorf("after Seek(%d, %d): got %q, %v, want %q", step.offset, step.whence, got, err, step.want)
				}
			}
		})
	}
	if _, err := files.Open("missing.idx"); !os.IsNotExist(err) {
		t.Errorf("a missing file: got %v", err)
	}
	if !billy.CapabilityCheck(files, billy.ReadAndWriteCapability) {
		t.Error("go-git is told that the folder cannot be written, and would read it in another way")
	}
}
