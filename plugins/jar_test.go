package plugins_test

import (
	"archive/zip"
	"bytes"
	"io"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
)

func jarOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, "content of "+name); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func filled(t *testing.T, jar []byte, properties string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := plugins.FilledJar(&b, bytes.NewReader(jar), int64(len(jar)), []byte(properties)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFilledJarHoldsTheProperties(t *testing.T) {
	t.Parallel()
	jar := jarOf(t, "META-INF/MANIFEST.MF", "application.properties", "com/example/Main.class")
	got := filled(t, jar, "a=1\n")
	r, err := zip.NewReader(bytes.NewReader(got), int64(len(got)))
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
	want := map[string]string{
		"META-INF/MANIFEST.MF": "content of META-INF/MANIFEST.MF", "com/example/Main.class": "content of com/example/Main.class", "application.properties": "a=1\n",
	}
	if len(contents) != len(want) {
		t.Errorf("entries = %v, want %v", contents, want)
	}
	for name, content := range want {
		if contents[name] != content {
			t.Errorf("%s = %q, want %q", name, contents[name], content)
		}
	}
	if again := filled(t, jar, "a=1\n"); !bytes.Equal(got, again) {
		t.Error("the same jar and properties gave other bytes")
	}
}

func TestFilledJarRefusesWhatIsNone(t *testing.T) {
	t.Parallel()
	jar := jarOf(t, "a", "b")
	for name, broken := range map[string][]byte{
		"empty": {}, "text": []byte("PK\x03\x04 but no more"), "cut": jar[:len(jar)-30],
		"an entry outside": bytes.Replace(jar, []byte("PK\x03\x04"), []byte("PK\x03\x05"), 1),
	} {
		err := plugins.FilledJar(io.Discard, bytes.NewReader(broken), int64(len(broken)), nil)
		if dm.KindOf(err) != dm.Invalid {
			t.Errorf("%s: error = %v, want kind invalid", name, err)
		}
	}
}
