package gitstore

import (
	"errors"
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
)

func TestSketchIsAFileSystem(t *testing.T) {
	t.Parallel()
	s := newSketch([]sketched{
		{path: "b/c/d.txt", size: 3, open: held([]byte("abc"), 3)}, {path: "a", open: held(nil, 0)}, {path: "b/a", size: 1, open: held([]byte("x"), 1), executable: true}, {path: "é/x", size: 2, open: held([]byte("yz"), 2)},
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
	s := newSketch([]sketched{{path: "a", size: 10, open: held([]byte("begin"), 10)}, {path: "b", size: 10, open: held(nil, 10)}})
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
	if got := newSketch(nil); len(got.dirs["."]) != 0 {
		t.Errorf("an empty package lists %v", got.dirs)
	}
	if _, err := fs.ReadDir(newSketch(nil), "."); err != nil {
		t.Error(err)
	}
}
