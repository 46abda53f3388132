package archive

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
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

func TestWrittenIsReadBack(t *testing.T) {
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
	var members []Member
	for _, f := range files {
		members = append(members, Member{f.path, f.executable, int64(len(f.content)), func(w io.Writer) error {
			for piece := range slices.Chunk([]byte(f.content), 7000) {
				if _, err := w.Write(piece); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	write := func(members []Member) []byte {
		var b bytes.Buffer
		if err := Write(&b, "flow-1.0.0", members); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	first := write(members)
	slices.Reverse(members)
	if !bytes.Equal(first, write(members)) {
		t.Error("two archives of the same files differ")
	}
	// Tags have digests of what this wrote when the version was pushed.
	const want = "ad0ffe045ed2a7b397eb290dba5dc1bc1c15856a8924e831c391d4f6e07c0ae1"
	if got := fmt.Sprintf("%x", sha256.Sum256(first)); got != want {
		t.Errorf("the archive has SHA-256 %s, want %s for ever", got, want)
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

// TestWriteNoticesSizes: who gives less or more than was told gets no archive.
func TestWriteNoticesSizes(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "12", "1234"} {
		err := Write(io.Discard, "flow-1.0.0", []Member{
			{"a", false, 3, func(w io.Writer) error { _, err := io.WriteString(w, content); return err }},
			{"b", false, 0, func(io.Writer) error { return nil }},
		})
		if err == nil {
			t.Errorf("%d bytes for 3: no error", len(content))
		}
	}
}
