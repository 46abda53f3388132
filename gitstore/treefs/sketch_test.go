package treefs

import (
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
)

func TestSketchIsAFileSystem(t *testing.T) {
	t.Parallel()
	s := NewSketch([]Sketched{
		{Path: "b/c/d.txt", Size: 3, Open: Held([]byte("abc"), 3)}, {Path: "a", Open: Held(nil, 0)}, {Path: "b/a", Size: 1, Open: Held([]byte("x"), 1), Executable: true}, {Path: "é/x", Size: 2, Open: Held([]byte("yz"), 2)},
	})
	if err := fstest.TestFS(s, "b/c/d.txt", "a", "b/a", "é/x"); err != nil {
		t.Error(err)
	}
	if info, err := fs.Stat(s, "b/a"); err != nil || info.Mode()&0o111 == 0 || info.Size() != 1 {
		t.Errorf("b/a: %v, %v, want it executable, with one byte", info, err)
	}
}

func TestSketchHoldsBeginnings(t *testing.T) {
	t.Parallel()
	s := NewSketch([]Sketched{{Path: "a", Size: 10, Open: Held([]byte("begin"), 10)}, {Path: "b", Size: 10, Open: Held(nil, 10)}})
	for name, want := range map[string]string{"a": "begin", "b": ""} {
		f, err := s.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		if string(got) != want || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s = %q, %v, want %q and then that no more is held", name, got, err, want)
		}
		if info, err := f.Stat(); err != nil || info.Size() != 10 {
			t.Errorf("%s: %v, %v, want the size of the whole", name, info, err)
		}
	}
	if got := NewSketch(nil); len(got.dirs["."]) != 0 {
		t.Errorf("an empty package lists %v", got.dirs)
	}
	if _, err := fs.ReadDir(NewSketch(nil), "."); err != nil {
		t.Error(err)
	}
}
