package archive_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/archive/archivetest"
)

// recorder is a Sink that keeps what it gets, and checks the promises.
type recorder struct {
	t     testing.TB
	files map[string]string // path → mode and digest
	order []string
	space [8 << 10]byte
}

func (r *recorder) File(path string, executable bool, size int64, content io.Reader) error {
	if err := dm.CheckPath(path); err != nil {
		r.t.Errorf("the sink got the path %q: %v", path, err)
	}
	if _, ok := r.files[path]; ok {
		r.t.Errorf("the sink got the path %q twice", path)
	}
	h := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, content, r.space[:])
	if err != nil {
		return err
	}
	if n != size {
		r.t.Errorf("%q has %d bytes, %d were announced", path, n, size)
	}
	r.files[path] = fmt.Sprintf("%v %d %x", executable, n, h.Sum(nil))
	r.order = append(r.order, path)
	return nil
}

func read(t testing.TB, body io.Reader, limits archive.Limits) (archive.Result, *recorder, error) {
	r := &recorder{t: t, files: map[string]string{}}
	result, err := archive.Read(context.Background(), body, limits, r)
	return result, r, err
}

var small = archive.Limits{Wire: archivetest.Wire, Unpacked: archivetest.Unpacked, File: archivetest.File, Entries: archivetest.Entries}

func TestHostileArchivesAreRefused(t *testing.T) {
	t.Parallel()
	cases := archivetest.Hostile()
	if len(cases) < 90 {
		t.Errorf("the corpus has %d cases, want at least 90", len(cases))
	}
	names := map[string]bool{}
	for _, c := range cases {
		if names[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		names[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			for _, limits := range []archive.Limits{{}, small} {
				_, got, err := read(t, c.Open(), limits)
				checkRefusal(t, c, got, err)
				_, got, err = read(t, iotest.OneByteReader(c.Open()), limits)
				checkRefusal(t, c, got, err)
			}
		})
	}
}

func checkRefusal(t *testing.T, c archivetest.Case, got *recorder, err error) {
	t.Helper()
	text := dm.Public(err)
	if dm.KindOf(err) != c.Kind || !strings.Contains(text, c.Text) {
		t.Errorf("got %v: %s\nwant %s: …%s…", dm.KindOf(err), text, c.Kind, c.Text)
	}
	for _, r := range text {
		if r < ' ' || r == 0x7f || r == 0x202e {
			t.Errorf("the text %q holds the character %U", text, r)
		}
	}
	if !strings.HasPrefix(c.Name, "bomb/") {
		for path := range got.files {
			if path != archivetest.Harmless && path != "x" && !strings.HasPrefix(path, archivetest.Top+"/") {
				t.Errorf("the sink got %q", path)
			}
		}
	}
}

func TestBenignArchivesAreRead(t *testing.T) {
	t.Parallel()
	for _, c := range archivetest.Benign() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			result, got, err := read(t, iotest.HalfReader(c.Open()), small)
			if err != nil {
				t.Fatalf("refused: %v", dm.Public(err))
			}
			want, err := standard(c.Open())
			if err != nil {
				t.Fatalf("the standard reader refuses it: %v", err)
			}
			compare(t, got.files, want)
			if special := strings.Contains(c.Name, "top") || strings.Contains(c.Name, "nothing"); (result.Top == archivetest.Top) == special {
				t.Errorf("the top is %q of %q", result.Top, result.TopEntries)
			}
			if result.Files != len(want) {
				t.Errorf("%d files, want %d", result.Files, len(want))
			}
		})
	}
}

// standard reads an archive with the standard library, as an oracle.
func standard(body io.Reader) (map[string]string, error) {
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	var r io.Reader = bytes.NewReader(data)
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		if r, err = gzip.NewReader(r); err != nil {
			return nil, err
		}
	}
	files := map[string]string{}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		sum := sha256.New()
		n, err := io.Copy(sum, t)
		if err != nil {
			return nil, err
		}
		files[dm.NormalPath(strings.TrimPrefix(h.Name, "./"))] = fmt.Sprintf("%v %d %x", h.Mode&0o100 != 0, n, sum.Sum(nil))
	}
}

func compare(t testing.TB, got, want map[string]string) {
	t.Helper()
	for path, w := range want {
		if got[path] != w {
			t.Errorf("%q: got %q, want %q", path, got[path], w)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%q is there, but not for the standard reader", path)
		}
	}
}

// A bomb must cost neither memory nor much of what it unpacks to.
func TestBombsStaySmallInMemory(t *testing.T) { // not parallel: it measures allocations
	for _, c := range archivetest.Bombs() {
		t.Run(c.Name, func(t *testing.T) {
			var before, after runtime.MemStats
			body := c.Open()
			runtime.ReadMemStats(&before)
			_, got, err := read(t, body, small)
			runtime.ReadMemStats(&after)
			checkRefusal(t, c, got, err)
			if used := after.TotalAlloc - before.TotalAlloc; used > 24<<20 {
				t.Errorf("%d MiB were allocated", used>>20)
			}
		})
	}
}

func TestResultTellsTheTop(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name  string
		files map[string]string
		top   string
		names []string
		dirs  int
	}{
		{"one directory", map[string]string{"a/b/c": "1", "a/d": "22"}, "a", []string{"a"}, 2},
		{"one file", map[string]string{"a": "1"}, "", []string{"a"}, 0},
		{"two directories", map[string]string{"b/x": "1", "a/y": "1"}, "", []string{"a", "b"}, 2},
		{"directory and file", map[string]string{"a/x": "1", "b": "1"}, "", []string{"a", "b"}, 1},
		{"nothing", nil, "", nil, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, _, err := read(t, bytes.NewReader(archivetest.Tgz(c.files)), archive.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			size := 0
			for _, content := range c.files {
				size += len(content)
			}
			want := archive.Result{Top: c.top, TopEntries: c.names, Files: len(c.files), Directories: c.dirs, Bytes: int64(size)}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestAllFaultsAreCollected(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ files, findings int }{{7, 7}, {100, 100}, {150, 100}} {
		some := map[string]string{"fine": "x"}
		for i := range c.files {
			some[fmt.Sprintf("a/../f%03d", i)] = "x"
		}
		_, got, err := read(t, bytes.NewReader(archivetest.Tgz(some)), archive.Limits{})
		var e *dm.Error
		if !errors.As(err, &e) || e.Kind != dm.Invalid || len(e.Findings) != c.findings {
			t.Errorf("%d faults: got %v", c.files, err)
			continue
		}
		if e.Findings[0].Path != "a/../f000" || !strings.Contains(e.Findings[0].Message, `".."`) {
			t.Errorf("first finding %+v", e.Findings[0])
		}
		if len(got.files) != 0 {
			t.Errorf("files behind a fault reached the sink: %v", got.order)
		}
	}
}

func TestFailuresOfTheBodyKeepTheirCause(t *testing.T) {
	t.Parallel()
	gone := errors.New("connection reset")
	known := dm.Errorf(dm.Forbidden, "test", "not you")
	good := archivetest.Tgz(archivetest.Package())
	plain := archivetest.Tar(archivetest.Package())
	for _, data := range [][]byte{good, plain} {
		for _, at := range []int{0, 1, 5, len(data) / 2, len(data) - 1, len(data)} {
			_, _, err := read(t, io.MultiReader(bytes.NewReader(data[:at]), iotest.ErrReader(gone)), archive.Limits{})
			if !errors.Is(err, gone) || dm.KindOf(err) != dm.Invalid {
				t.Errorf("at %d of %d: got %v, want its cause", at, len(data), err)
			}
			_, _, err = read(t, io.MultiReader(bytes.NewReader(data[:at]), iotest.ErrReader(known)), archive.Limits{})
			if !errors.Is(err, known) || dm.KindOf(err) != dm.Forbidden {
				t.Errorf("at %d of %d: got %v, want its kind", at, len(data), err)
			}
		}
	}
}

func TestCancelEndsReading(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := archive.Read(ctx, bytes.NewReader(archivetest.Tgz(nil)), archive.Limits{}, &recorder{t: t})
	if !errors.Is(err, context.Canceled) || dm.KindOf(err) != dm.Unavailable {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) File(string, bool, int64, io.Reader) error { return f.err }

// lazy reads nothing of the files.
type lazy struct{ files int }

func (l *lazy) File(string, bool, int64, io.Reader) error { l.files++; return nil }

func TestSinks(t *testing.T) {
	t.Parallel()
	full := errors.New("disk full")
	body := archivetest.Tgz(archivetest.Package())
	_, err := archive.Read(context.Background(), bytes.NewReader(body), archive.Limits{}, failing{full})
	if !errors.Is(err, full) || dm.KindOf(err) != dm.Internal {
		t.Errorf("failing sink: got %v", err)
	}
	l := &lazy{}
	if _, err := archive.Read(context.Background(), bytes.NewReader(body), archive.Limits{}, l); err != nil || l.files != 2 {
		t.Errorf("lazy sink: got %d files, %v", l.files, err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	body := archivetest.Tar(map[string]string{"a/b": strings.Repeat("x", 1000), "a/c": "y"})
	wire := int64(len(body))
	cases := []struct {
		name   string
		limits archive.Limits
		kind   dm.Kind
		text   string
	}{
		{"exactly enough", archive.Limits{Wire: wire, Unpacked: wire, File: 1000, Entries: 3}, "", ""},
		{"wire", archive.Limits{Wire: wire - 1}, dm.TooLarge, fmt.Sprintf("more than %d bytes", wire-1)},
		{"unpacked", archive.Limits{Unpacked: wire - 1}, dm.TooLarge, "unpacks to more"},
		{"file", archive.Limits{File: 999}, dm.TooLarge, `"a/b" has 1000 bytes, at most 999`},
		{"entries", archive.Limits{Entries: 2}, dm.TooLarge, "more than 2 files"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := read(t, bytes.NewReader(body), c.limits)
			if dm.KindOf(err) != c.kind || !strings.Contains(dm.Public(err), c.text) && c.kind != "" {
				t.Errorf("got %v, want %s: %s", err, c.kind, c.text)
			}
		})
	}
}

// The programs that people have make what we read: the same files in every
// format of GNU tar, and as git archives them.
func TestArchivesOfRealPrograms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := "app-1.0.0/jupyter/c/" + strings.Repeat("long ", 35) + "name.txt"
	want := map[string]string{"app-1.0.0/jupyter/c/a.txt": "text", "app-1.0.0/empty": "", "app-1.0.0/jupyter/c/año/データ.csv": strings.Repeat("1,2\n", 999)}
	for path, content := range want {
		write(t, filepath.Join(dir, path), content)
	}
	run := func(name string, args ...string) []byte {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C.UTF-8"}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %v: %v", name, args, err)
		}
		return out
	}
	bodies := map[string][]byte{}
	version, err := exec.Command("tar", "--version").Output()
	gnu := err == nil && strings.Contains(string(version), "GNU")
	if gnu {
		bodies["ustar"] = run("tar", "-c", "--format=ustar", "app-1.0.0")
		bodies["v7"] = run("tar", "-c", "--format=v7", "app-1.0.0")
	}
	write(t, filepath.Join(dir, long), "long")
	want[long] = "long"
	if gnu {
		for _, format := range []string{"gnu", "pax", "oldgnu"} {
			bodies[format] = run("tar", "-c", "--format="+format, "app-1.0.0")
		}
		bodies["dot"] = run("tar", "-c", "./app-1.0.0")
		bodies["large records"] = run("tar", "-c", "-b", "100", "app-1.0.0")
	}
	run("git", "init", "-q")
	run("git", "add", ".")
	run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x")
	bodies["git"] = run("git", "archive", "--format=tar", "HEAD")
	for name, body := range bodies {
		result, got, err := read(t, bytes.NewReader(body), archive.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, dm.Public(err))
			continue
		}
		if result.Top != "app-1.0.0" {
			t.Errorf("%s: top %q", name, result.Top)
		}
		for path, content := range want {
			if path == long && (name == "ustar" || name == "v7") {
				continue
			}
			if w := fmt.Sprintf("false %d %x", len(content), sha256.Sum256([]byte(content))); got.files[path] != w {
				t.Errorf("%s: %q is %q, want %q", name, path, got.files[path], w)
			}
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTgzIsDeterministic(t *testing.T) {
	t.Parallel()
	if !slices.Equal(archivetest.Tgz(archivetest.Package()), archivetest.Tgz(archivetest.Package())) {
		t.Error("the same files give different bytes")
	}
}

// Whatever is accepted is read as the standard reader reads it.
func FuzzRead(f *testing.F) {
	for _, c := range slices.Concat(archivetest.Hostile(), archivetest.Benign()) {
		body, err := io.ReadAll(c.Open())
		if err != nil {
			f.Fatal(err)
		}
		if len(body) < 64<<10 {
			f.Add(body)
		}
	}
	limits := archive.Limits{Wire: 1 << 20, Unpacked: 8 << 20, File: 4 << 20, Entries: 500}
	f.Fuzz(func(t *testing.T, body []byte) {
		result, got, err := read(t, bytes.NewReader(body), limits)
		if err != nil {
			if k := dm.KindOf(err); k != dm.Invalid && k != dm.TooLarge {
				t.Errorf("kind %s: %v", k, err)
			}
			return
		}
		if result.Files != len(got.files) {
			t.Errorf("%d files told, %d seen", result.Files, len(got.files))
		}
		want, err := standard(bytes.NewReader(body))
		if err != nil {
			t.Skipf("the standard reader is stricter: %v", err)
		}
		compare(t, got.files, want)
	})
}

// Two members of a gzip may meet at any byte of the tar, and within its end.
func TestMembersMayMeetAnywhere(t *testing.T) {
	t.Parallel()
	whole := archivetest.Tar(map[string]string{"app-1.0.0/jupyter/c/a.txt": "text"})
	_, want, err := read(t, bytes.NewReader(whole), small)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	for at := range whole {
		if near := at % 512; at%13 != 0 && near > 1 && near < 511 {
			continue // where blocks meet and in each of them is enough
		}
		out.Reset()
		for _, piece := range [][]byte{whole[:at], whole[at:]} {
			z.Reset(&out)
			_, _ = z.Write(piece)
			_ = z.Close()
		}
		if _, got, err := read(t, bytes.NewReader(out.Bytes()), small); err != nil {
			t.Fatalf("at %d: %v", at, dm.Public(err))
		} else {
			compare(t, got.files, want.files)
		}
		if _, _, err := read(t, bytes.NewReader(out.Bytes()[:out.Len()-1]), small); dm.KindOf(err) != dm.Invalid {
			t.Fatalf("at %d: without its last byte: %v", at, err)
		}
	}
}

func TestFaultsAreToldWithTheirPlaceAndWhatToDo(t *testing.T) {
	t.Parallel()
	damaged := archivetest.Tar(archivetest.Package())
	damaged[1024] ^= 1
	var linked bytes.Buffer
	w := tar.NewWriter(&linked)
	_ = w.WriteHeader(&tar.Header{Name: "a/x", Typeflag: tar.TypeReg, Mode: 0o644})
	_ = w.WriteHeader(&tar.Header{Name: "a/y", Typeflag: tar.TypeLink, Linkname: "a/x", Mode: 0o644})
	_ = w.Close()
	long := strings.Repeat("n", 199) + "ä" + strings.Repeat("n", 60)
	for _, c := range []struct {
		name string
		body []byte
		want []string
	}{
		{"header", damaged, []string{"header checksum mismatch, at byte 1024, after the header of \"app-1.0.0/jupyter/c/example.ipynb\"", "tar -czf"}},
		{"cut", damaged[:600], []string{"is truncated, at byte 600, after the header of \"app-1.0.0/jupyter/c/example.ipynb\"", "tar -tzf"}},
		{"hard link", linked.Bytes(), []string{"a/y: it is a hard link", "--hard-dereference"}},
		{"name", archivetest.Tar(map[string]string{"a/\x1b[2J数": "x"}), []string{`a/\x1b[2J数`}},
		{"long name", archivetest.Tar(map[string]string{long: "x"}), []string{strings.Repeat("n", 199) + "…: "}},
	} {
		_, _, err := read(t, bytes.NewReader(c.body), small)
		for _, want := range c.want {
			if text := dm.Public(err); !strings.Contains(text, want) {
				t.Errorf("%s: got %q\nwant …%s…", c.name, text, want)
			}
		}
	}
}
