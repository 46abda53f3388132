package plugins_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
)

// jarTime is a time as tools write it into jars.
var jarTime = time.Date(2024, 2, 29, 13, 37, 0, 0, time.UTC)

// jarOf makes a jar with these entries, each with a content that tells its name.
func jarOf(t testing.TB, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		method := zip.Deflate
		if strings.HasSuffix(name, ".properties") {
			method = zip.Store
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: jarTime})
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "/") {
			continue
		}
		if _, err := io.WriteString(f, strings.Repeat("content of "+name+"\n", 9)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func filled(t testing.TB, jar []byte, properties string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := plugins.FilledJar(&b, bytes.NewReader(jar), int64(len(jar)), []byte(properties)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// entries are the contents of a jar by name.
func entries(t testing.TB, jar []byte) map[string]string {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(jar), int64(len(jar)))
	if err != nil {
		t.Fatal(err)
	}
	contents := map[string]string{}
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		all, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := contents[f.Name]; twice {
			t.Errorf("%s is there twice", f.Name)
		}
		contents[f.Name] = string(all)
	}
	return contents
}

// jarNames are those of a signed jar that has properties.
var jarNames = []string{"META-INF/", "META-INF/MANIFEST.MF", "META-INF/ANA.SF", "META-INF/ANA.RSA", "application.properties", "com/example/application.properties", "com/example/Main.class"}

func TestFilledJarHoldsTheProperties(t *testing.T) {
	t.Parallel()
	for name, names := range map[string][]string{"replaced": jarNames, "added": append(jarNames[:4:4], jarNames[5:]...), "to nothing": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			jar := jarOf(t, names...)
			want := entries(t, jar)
			want["application.properties"] = "a=1\n"
			got := filled(t, jar, "a=1\n")
			if contents := entries(t, got); !maps.Equal(contents, want) {
				t.Errorf("entries are %q, want %q", contents, want)
			}
			if again := filled(t, jar, "a=1\n"); !bytes.Equal(got, again) {
				t.Error("the same jar and properties gave other bytes")
			}
			if once := filled(t, got, "a=1\n"); !bytes.Equal(got, once) {
				t.Error("a jar that has these properties is not left as it is")
			}
			if other := filled(t, jar, "a=2\n"); bytes.Equal(got, other) {
				t.Error("other properties gave the same bytes")
			}
		})
	}
}

// TestFilledJarIsStable: these bytes are named by addresses that live longer than a
// server, and than the version of Go that it was built with.
func TestFilledJarIsStable(t *testing.T) {
	t.Parallel()
	const want = "4a15da9769188e77523160ddbcdf48d6a2f97b2bc8cc3f479c43306c836270a2"
	jar := jarOf(t, "a/", "b.properties", "application.properties", "c.properties") // nothing of it is compressed
	if got := fmt.Sprintf("%x", sha256.Sum256(filled(t, jar, "a=1\n"))); got != want {
		t.Errorf("the digest is %s, want %s", got, want)
	}
}

// readJar reads a jar in both ways in which Java does.
const readJar = `import java.io.*; import java.util.*; import java.util.zip.*;
class ReadJar {
	public static void main(String[] args) throws Exception {
		try (ZipFile jar = new ZipFile(args[0])) {
			for (ZipEntry e : Collections.list(jar.entries())) {
				System.out.println(e.getName() + " " + jar.getInputStream(e).readAllBytes().length + (e.getLastModifiedTime() == null ? "?" : ""));
			}
		}
		try (ZipInputStream jar = new ZipInputStream(new FileInputStream(args[0]))) {
			for (ZipEntry e = jar.getNextEntry(); e != null; e = jar.getNextEntry()) {
				System.out.println(e.getName() + " " + jar.readAllBytes().length + (e.getLastModifiedTime() == null ? "?" : ""));
			}
		}
	}
}`

func TestFilledJarIsReadByJava(t *testing.T) {
	t.Parallel()
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("skipped: Java is not installed")
	}
	dir := t.TempDir()
	source, jar := filepath.Join(dir, "ReadJar.java"), filepath.Join(dir, "filled.jar")
	for path, content := range map[string][]byte{source: []byte(readJar), jar: filled(t, jarOf(t, "META-INF/", "a.class", "b/"), "a=1\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := exec.CommandContext(t.Context(), java, "-XX:TieredStopAtLevel=1", source, jar).CombinedOutput()
	once := "META-INF/ 0\na.class 171\nb/ 0\napplication.properties 4\n"
	if err != nil || string(got) != once+once {
		t.Errorf("Java reads %v:\n%s", err, got)
	}
}

// broken is a jar with bytes at a place replaced.
func broken(jar []byte, at int, by ...byte) []byte {
	jar = bytes.Clone(jar)
	copy(jar[at:], by)
	return jar
}

func TestFilledJarRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	jar := jarOf(t, "a", "b")
	directory, end := bytes.Index(jar, []byte("PK\x01\x02")), len(jar)-22
	second := bytes.LastIndex(jar, []byte("PK\x01\x02"))
	le := binary.LittleEndian
	many := func(n uint64) []byte { // says in the record of large ones that it has n entries
		record := append([]byte("PK\x06\x06"), make([]byte, 52)...)
		le.PutUint64(record[4:], 44)
		le.PutUint64(record[24:], n)
		le.PutUint64(record[32:], n)
		le.PutUint64(record[40:], uint64(end-directory))
		le.PutUint64(record[48:], uint64(directory))
		locator := append([]byte("PK\x06\x07"), make([]byte, 16)...)
		le.PutUint64(locator[8:], uint64(end))
		le.PutUint32(locator[16:], 1)
		all := append(bytes.Clone(jar[:end]), append(record, locator...)...)
		return append(all, broken(jar[end:], 8, 0xff, 0xff, 0xff, 0xff)...)
	}
	folder := jarOf(t, "a/b")
	for name, c := range map[string]struct {
		jar  []byte
		want string
	}{
		"empty":                   {nil, "not a jar: not a valid zip file"},
		"text":                    {[]byte("PK\x03\x04 but no more"), "not a jar: not a valid zip file"},
		"cut":                     {jar[:len(jar)-30], "not a jar: not a valid zip file"},
		"a comment that is cut":   {broken(jar, end+20, 9), "not a jar"},
		"no entry at its place":   {broken(jar, 0, 'X'), `the entry "a" of the jar can't be copied: not a valid zip file`},
		"an entry outside":        {broken(jar, directory+42, 0xff, 0xff, 0xff, 0x7f), `the entry "a" of the jar can't be copied`},
		"an entry before it":      {broken(jar, end+16, 0xff, 0xff, 0xff, 0xff), `the entry "a" of the jar can't be copied: unexpected EOF`},
		"more than the jar":       {broken(jar, directory+20, 0xff, 0xff, 0xff, 0x7f), `have more bytes than the jar, the first that is too much is "a"`},
		"an entry that ends":      {broken(jar, second+20, byte(len(jar)-40), 0), `the entry "b" of the jar can't be copied: unexpected EOF`},
		"an entry of 4 GiB":       {broken(jar, directory+24, 0xff, 0xff, 0xff, 0xff), `"a" of the jar can't be copied`},
		"a folder with a content": {bytes.ReplaceAll(folder, []byte("a/b"), []byte("ab/")), `the entry "ab/" of the jar can't be copied: it is a folder and has content`},
		"claims":                  {many(1 << 40), "the jar has 1099511627776 entries, at most 100000 are taken"},
		"many":                    {manyEntries(jarEntriesMost + 1), "the jar has 100001 entries, at most 100000 are taken"},
		"a directory of its own":  {manyEntries(400_000), "the directory of the jar has more than 16 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := plugins.FilledJar(io.Discard, bytes.NewReader(c.jar), int64(len(c.jar)), nil)
			if dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), c.want) {
				t.Errorf("error = %v, want invalid, with %q", err, c.want)
			}
		})
	}
}

const jarEntriesMost = 100_000

// manyEntries is a jar whose directory has so many entries, all in one place.
func manyEntries(n int) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if _, err := w.Create("a"); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	jar := b.Bytes()
	directory, end := bytes.Index(jar, []byte("PK\x01\x02")), len(jar)-22
	entry := jar[directory:end]
	all := append(bytes.Clone(jar[:directory]), bytes.Repeat(entry, n)...)
	tail := broken(jar[end:], 8, byte(n), byte(n>>8), byte(n), byte(n>>8))
	binary.LittleEndian.PutUint32(tail[12:], uint32(n*len(entry)))
	return append(all, tail...)
}

// TestFilledJarTellsWhoseFaultItIs: a disk that is full is no fault of a package.
func TestFilledJarTellsWhoseFaultItIs(t *testing.T) {
	t.Parallel()
	jar, fault := jarOf(t, jarNames...), errors.New("the disk is full")
	for left := range 40 {
		err := plugins.FilledJar(&fullDisk{left: left * 20, err: fault}, bytes.NewReader(jar), int64(len(jar)), []byte("a=1"))
		if left*20 < len(jar) && (!errors.Is(err, fault) || dm.KindOf(err) != dm.Internal) {
			t.Errorf("after %d bytes: error = %v, want that of the disk", left*20, err)
		}
	}
	for reads := range 9 {
		err := plugins.FilledJar(io.Discard, &badDisk{ReaderAt: bytes.NewReader(jar), left: reads, err: fault}, int64(len(jar)), nil)
		if !errors.Is(err, fault) || dm.KindOf(err) != dm.Internal {
			t.Errorf("after %d reads: error = %v, want that of the disk", reads, err)
		}
	}
}

type fullDisk struct {
	left int
	err  error
}

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, d.err
	}
	return len(p), nil
}

type badDisk struct {
	io.ReaderAt
	left int
	err  error
}

func (d *badDisk) ReadAt(p []byte, off int64) (int, error) {
	if d.left--; d.left < 0 {
		return 0, d.err
	}
	return d.ReaderAt.ReadAt(p, off)
}

func FuzzFilledJar(f *testing.F) {
	f.Add(jarOf(f, jarNames...), []byte("a=1\n"))
	f.Add(jarOf(f), []byte(nil))
	f.Fuzz(func(t *testing.T, jar, properties []byte) {
		var b bytes.Buffer
		if err := plugins.FilledJar(&b, bytes.NewReader(jar), int64(len(jar)), properties); err != nil {
			if dm.KindOf(err) != dm.Invalid {
				t.Errorf("error = %v, want kind invalid", err)
			}
			return
		}
		if most := 3*len(jar) + len(properties) + 1024; b.Len() > most {
			t.Errorf("a jar of %d bytes became one of %d", len(jar), b.Len())
		}
		r, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
		if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
			t.Fatalf("what came out is no jar: %v", err)
		}
		last := r.File[len(r.File)-1]
		in, err := last.Open()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(in); last.Name != "application.properties" || err != nil || !bytes.Equal(got, properties) {
			t.Errorf("%s = %q, %v, want %q", last.Name, got, err, properties)
		}
	})
}
