package archive

import (
	"bytes"
	"compress/gzip"
	"io"
	"slices"
	"strings"
	"testing"
)

// kept remembers what a Read handed on.
type kept map[string]string

func (k kept) File(path string, executable bool, _ int64, r io.Reader) error {
	b, err := io.ReadAll(r)
	if executable {
		path += "*"
	}
	k[path] = string(b)
	return err
}

func TestWriterIsReadBack(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a-long-folder/", 20) + "é.txt"
	files := []struct {
		path       string
		executable bool
		content    string
	}{
		{"jupyter/report/notebook.ipynb", false, "{}"},
		{"jupyter/report/run.sh", true, strings.Repeat("x", 100_000)},
		{long, false, ""},
		{"exactly", false, strings.Repeat("z", 65535)},
	}
	write := func() []byte {
		var b bytes.Buffer
		w, err := NewWriter(&b, "flow-1.0.0")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := w.File(f.path, f.executable, int64(len(f.content))); err != nil {
				t.Fatal(err)
			}
			for piece := range slices.Chunk([]byte(f.content), 7000) {
				if _, err := w.Write(piece); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	first := write()
	if !bytes.Equal(first, write()) {
		t.Error("two archives of the same files differ")
	}
	got := kept{}
	unzipped, err := gzip.NewReader(bytes.NewReader(first))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, unzipped); err != nil {
		t.Errorf("the standard library reads it: %v", err)
	}
	result, err := Read(t.Context(), bytes.NewReader(first), Limits{}, got)
	if err != nil {
		t.Fatal(err)
	}
	if result.Top != "flow-1.0.0" || result.Files != len(files) {
		t.Errorf("read back %+v", result)
	}
	for _, f := range files {
		name := "flow-1.0.0/" + f.path
		if f.executable {
			name += "*"
		}
		if got[name] != f.content {
			t.Errorf("%s has %d bytes, want %d", name, len(got[name]), len(f.content))
		}
	}
}
