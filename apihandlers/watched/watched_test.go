package watched

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kept is two files whose value is their contents, joined; "bad" is a fault.
type kept struct {
	*Files[string]
	a, b  string
	now   *atomic.Int64
	log   *bytes.Buffer
	reads *atomic.Int32
	wrote *atomic.Int64 // how often
}

func open(t *testing.T) kept {
	t.Helper()
	folder := t.TempDir()
	k := kept{a: filepath.Join(folder, "a"), b: filepath.Join(folder, "b"), now: &atomic.Int64{}, log: &bytes.Buffer{}, reads: &atomic.Int32{}, wrote: &atomic.Int64{}}
	k.write(t, k.a, "1")
	k.write(t, k.b, "1")
	var err error
	k.Files, err = Open(Config[string]{
		What: "pair", Paths: []string{k.a, k.b}, Max: 4,
		Parse: func(files []File, before string) (string, error) {
			k.reads.Add(1)
			if string(files[0].Data) == "bad" {
				return "", errors.New("a fault")
			}
			return string(files[0].Data) + string(files[1].Data), nil
		},
		Clock: func() time.Time { return time.Unix(0, k.now.Load()) },
		Log:   slog.New(slog.NewTextHandler(k.log, nil)),
	})
	must(t, err)
	return k
}

// write gives each version a time of its own, which many file systems do only
// to those that are some milliseconds apart.
func (k kept) write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
	at := time.Unix(k.wrote.Add(1), 0)
	must(t, os.Chtimes(path, at, at))
}

// replace puts another file of equal size and time in the place of path.
func (k kept) replace(t *testing.T, path, text string) {
	t.Helper()
	old, err := os.Stat(path)
	must(t, err)
	k.write(t, path+".new", text)
	must(t, os.Chtimes(path+".new", old.ModTime(), old.ModTime()))
	must(t, os.Rename(path+".new", path))
}

func TestFiles(t *testing.T) {
	t.Parallel()
	k := open(t)
	steps := []struct {
		name   string
		change func()
		later  time.Duration
		want   string
		faults int // told until now
	}{
		{"at first", func() {}, Every, "11", 0},
		{"changed, not yet looked", func() { k.write(t, k.a, "20") }, Every - 1, "11", 0},
		{"changed", func() {}, 1, "201", 0},
		{"the other", func() { k.write(t, k.b, "3") }, Every, "203", 0},
		{"replaced by its like", func() { k.replace(t, k.b, "4") }, Every, "204", 0},
		{"a fault", func() { k.write(t, k.a, "bad") }, Every, "204", 1},
		{"a fault still", func() {}, Every, "204", 1},
		{"another version of the fault", func() { k.write(t, k.b, "50") }, Every, "204", 2},
		{"gone", func() { must(t, os.Remove(k.a)) }, Every, "204", 3},
		{"gone still", func() {}, Every, "204", 3},
		{"too large", func() { k.write(t, k.a, "12345") }, Every, "204", 4},
		{"mended", func() { k.write(t, k.a, "6") }, Every, "650", 4},
		{"the clock goes back", func() { k.write(t, k.a, "700") }, -time.Hour, "70050", 4},
	}
	for _, step := range steps {
		step.change()
		k.now.Add(int64(step.later))
		if got := k.Get(); got != step.want {
			t.Errorf("%s: got %s, want %s", step.name, got, step.want)
		}
		if got := strings.Count(k.log.String(), "stays in effect"); got != step.faults {
			t.Errorf("%s: %d faults were told, want %d: %s", step.name, got, step.faults, k.log)
		}
	}
}

func TestOpenFaults(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	config := Config[int]{What: "file", Paths: []string{path}, Max: 1, Parse: func([]File, int) (int, error) { return 1, nil }}
	if _, err := Open(config); dm.KindOf(err) != dm.Invalid || strings.Contains(dm.Public(err), path) {
		t.Errorf("missing: got %v", err)
	}
	must(t, os.WriteFile(path, []byte("xx"), 0o600))
	if _, err := Open(config); dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), "larger than 1 bytes") {
		t.Errorf("too large: got %v", err)
	}
	config.Paths = []string{filepath.Dir(path)}
	if _, err := Open(config); dm.KindOf(err) != dm.Invalid {
		t.Errorf("a folder: got %v", err)
	}
}

// TestOneReader: however many ask at once, a version is read once.
func TestOneReader(t *testing.T) {
	t.Parallel()
	k := open(t)
	k.write(t, k.a, "20")
	k.now.Add(int64(Every))
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if got := k.Get(); got != "201" {
				t.Errorf("got %s", got)
			}
		})
	}
	group.Wait()
	if got := k.reads.Load(); got != 2 {
		t.Errorf("the files were read %d times, want 2", got)
	}
}
