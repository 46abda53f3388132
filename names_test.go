package dm_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// refused checks an error against the text that it must hold; "" means that
// there must be no error.
func refused(t *testing.T, err error, text string) {
	t.Helper()
	switch {
	case text == "" && err != nil:
		t.Errorf("refused: %v", err)
	case text != "" && (dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), text)):
		t.Errorf("got %v, want a refusal that says %q", err, text)
	case len(dm.Public(err)) > 600:
		t.Errorf("the refusal has %d bytes", len(dm.Public(err)))
	}
}

func TestParsePackageFile(t *testing.T) {
	t.Parallel()
	cases := []struct {
		file, name, version, suffix, refused string
	}{
		{file: "flow-collector-2.14.3.tar.gz", name: "flow-collector", version: "2.14.3", suffix: ".tar.gz"},
		{file: "flow-collector-2.14.3.tgz", name: "flow-collector", version: "2.14.3", suffix: ".tgz"},
		{file: "my_flow.app-1.0.0.tgz", name: "my_flow.app", version: "1.0.0", suffix: ".tgz"},
		{file: "foo-1.2.3-bar-2.0.0.tgz", name: "foo-1.2.3-bar", version: "2.0.0", suffix: ".tgz"},
		{file: "7-0.0.0.tgz", name: "7", version: "0.0.0", suffix: ".tgz"},
		{file: "a--999999999.0.1.tgz", name: "a-", version: "999999999.0.1", suffix: ".tgz"},
		{file: strings.Repeat("n", 128) + "-1.0.0.tgz", name: strings.Repeat("n", 128), version: "1.0.0", suffix: ".tgz"},

		{file: "", refused: "must end in"},
		{file: ".tgz", refused: "<name>-<x.y.z>"},
		{file: "a-1.0.0", refused: "must end in"},
		{file: "a-1.0.0.TGZ", refused: "must end in"},
		{file: "a-1.0.0.tar", refused: "must end in"},
		{file: "a-1.0.0.tar.gz.tgz", refused: "three numbers"},
		{file: "a-1.0.0-beta.tgz", refused: "three numbers"},
		{file: "a-1.0.0b1.tgz", refused: "digits"},
		{file: "a-1.0.0SNAPSHOT.tgz", refused: "digits"},
		{file: "a-1.0.tgz", refused: "three numbers"},
		{file: "a-1.2.3.4.tgz", refused: "three numbers"},
		{file: "a-1..3.tgz", refused: "digits"},
		{file: "a-01.9.0.tgz", refused: "leading zeros"},
		{file: "a-1.9.00.tgz", refused: "leading zeros"},
		{file: "a-1.9.1234567890.tgz", refused: "9 digits"},
		{file: "a-1.9.+1.tgz", refused: "digits"},
		{file: "a-1.9.\u0661.tgz", refused: "digits"},
		{file: "-1.0.0.tgz", refused: "empty"},
		{file: "1.0.0.tgz", refused: "<name>-<x.y.z>"},
		{file: ".a-1.0.0.tgz", refused: "must start with"},
		{file: "_a-1.0.0.tgz", refused: "must start with"},
		{file: "../a-1.0.0.tgz", refused: "must start with"},
		{file: "a/../b-1.0.0.tgz", refused: "are allowed"},
		{file: `a\b-1.0.0.tgz`, refused: "are allowed"},
		{file: "a b-1.0.0.tgz", refused: "are allowed"},
		{file: "a\x00-1.0.0.tgz", refused: "are allowed"},
		{file: "a\n-1.0.0.tgz", refused: "are allowed"},
		{file: "año-1.0.0.tgz", refused: "are allowed"},
		{file: "a.git-1.0.0.tgz", refused: ".git"},
		{file: "a.GIT-1.0.0.tgz", refused: ".git"},
		{file: strings.Repeat("n", 129) + "-1.0.0.tgz", refused: "129 bytes"},
		{file: strings.Repeat("n", 1<<20), refused: "must end in"},
		{file: "a-" + strings.Repeat("1", 1<<20) + ".tgz", refused: "three numbers"},
	}
	for _, c := range cases {
		t.Run(c.file[:min(len(c.file), 40)], func(t *testing.T) {
			t.Parallel()
			got, err := dm.ParsePackageFile(c.file)
			refused(t, err, c.refused)
			if err != nil {
				return
			}
			if string(got.Ref.Name) != c.name || got.Ref.Version.String() != c.version || got.Suffix != c.suffix {
				t.Errorf("got %+v, want %s %s %s", got, c.name, c.version, c.suffix)
			}
			if got.String() != c.file {
				t.Errorf("String() = %q, want %q", got.String(), c.file)
			}
		})
	}
}

func FuzzParsePackageFile(f *testing.F) {
	for _, file := range []string{"flow-2.14.3.tar.gz", "a-1.0.0.tgz", "a-01.0.0.tgz", "../a-1.0.0.tgz", "a.git-1.0.0.tgz", "foo-1.2.3-bar-2.0.0.tgz"} {
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file string) {
		got, err := dm.ParsePackageFile(file)
		if err != nil {
			if dm.KindOf(err) != dm.Invalid {
				t.Errorf("kind %s", dm.KindOf(err))
			}
			return
		}
		if got.String() != file {
			t.Errorf("%q reads back as %q", file, got.String())
		}
		if strings.ContainsAny(file, "/\\ \x00") || file[0] == '.' || file[0] == '-' {
			t.Errorf("%q is accepted", file)
		}
		again, err := dm.ParsePackageRef(got.Ref.String())
		if err != nil || again != got.Ref {
			t.Errorf("the id %q reads back as %v, %v", got.Ref, again, err)
		}
	})
}

func TestVersionsCompareByNumber(t *testing.T) {
	t.Parallel()
	want := []string{"0.0.1", "0.0.2", "1.9.0", "1.10.0", "10.2.29", "10.2.30", "999999999.0.0"}
	var versions []dm.Version
	for _, text := range slices.Backward(want) {
		v, err := dm.ParseVersion(text)
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, v)
	}
	slices.SortFunc(versions, dm.Version.Compare)
	for i, v := range versions {
		if v.String() != want[i] {
			t.Errorf("place %d has %s, want %s", i, v, want[i])
		}
	}
	if versions[0].Compare(versions[0]) != 0 {
		t.Error("a version differs from itself")
	}
}

func TestSplitPackageID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ id, name, version string }{
		{"a-1.0.0", "a", "1.0.0"}, {"a-b-1", "a-b", "1"}, {"nothing", "", "nothing"}, {"", "", ""}, {"a-", "a", ""}, {"-1", "", "1"},
	} {
		if name, version := dm.SplitPackageID(c.id); name != c.name || version != c.version {
			t.Errorf("%q: got %q, %q, want %q, %q", c.id, name, version, c.name, c.version)
		}
	}
}

func TestPackageRefInJSON(t *testing.T) {
	t.Parallel()
	var got struct{ Package dm.PackageRef }
	if err := json.Unmarshal([]byte(`{"package": "a-b-1.2.3"}`), &got); err != nil || got.Package.IsZero() {
		t.Fatalf("got %+v, %v", got, err)
	}
	out, err := json.Marshal(got)
	if err != nil || string(out) != `{"Package":"a-b-1.2.3"}` {
		t.Errorf("got %s, %v", out, err)
	}
	if err := json.Unmarshal([]byte(`{"package": "x"}`), &got); err == nil {
		t.Error("a wrong id is accepted")
	}
}

func TestParseApplicationName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, refused string }{
		{"a", ""}, {"_a", ""}, {"7-up_X", ""}, {strings.Repeat("a", 63), ""},
		{"", "1 to 63"}, {strings.Repeat("a", 64), "64 characters"}, {"-a", "must start"}, {"a.b", "a-z"}, {"a/b", "a-z"},
		{"..", "a-z"}, {"a b", "a-z"}, {"á", "a-z"}, {"a\n", "a-z"},
	} {
		got, err := dm.ParseApplicationName(c.name)
		refused(t, err, c.refused)
		if err == nil && string(got) != c.name {
			t.Errorf("%q reads as %q", c.name, got)
		}
	}
	if dm.ApplicationName("My_App").Fold() != dm.ApplicationName("my-app").Fold() {
		t.Error("names that Kubernetes cannot tell apart fold to different texts")
	}
}

func TestParseUserName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, refused string }{
		{"pnda", ""}, {"Ana María", ""}, {"zoë@example.org", ""}, {"o'neill", ""}, {"用户", ""}, {strings.Repeat("u", 128), ""},
		{"", "empty"}, {strings.Repeat("u", 129), "129 bytes"}, {"-x", "must not start"}, {".x", "must not start"}, {"..", "must not start"},
		{"a/b", "not allowed"}, {`a\b`, "not allowed"}, {"a\x00", "not allowed"}, {"a\nb", "not allowed"}, {"a\u202eb", "not allowed"},
		{"ana.GIT", "end in .git"}, {"a\xff", "UTF-8"}, {"zoe\u0308", "normal form C"},
	} {
		got, err := dm.ParseUserName(c.name)
		refused(t, err, c.refused)
		if err == nil && string(got) != c.name {
			t.Errorf("%q reads as %q", c.name, got)
		}
	}
}

func TestParseSubject(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, refused string }{
		{"everyone", ""}, {"user:ana", ""}, {"group:class-7", ""},
		{"", "user:<name>"}, {"ana", "user:<name>"}, {"Everyone", "user:<name>"}, {"user:", "empty"}, {"group:", "empty"}, {"user:../x", "must not start"},
	} {
		_, err := dm.ParseSubject(c.text)
		refused(t, err, c.refused)
	}
	if u, ok := dm.UserSubject("ana").User(); !ok || u != "ana" {
		t.Errorf("got %q, %v", u, ok)
	}
	if _, ok := dm.Everyone.Group(); ok {
		t.Error("everyone is a group")
	}
}

func TestParseRevision(t *testing.T) {
	t.Parallel()
	good := strings.Repeat("0123456789abcdef", 3)[:40]
	for _, c := range []struct{ text, refused string }{
		{good, ""}, {good[:39], "40"}, {good + "0", "40"}, {strings.ToUpper(good), "40"}, {"HEAD", "40"}, {strings.Repeat("x", 1<<20), "40"},
	} {
		_, err := dm.ParseRevision(c.text)
		refused(t, err, c.refused)
	}
}
