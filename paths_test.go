package dm_test

import (
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

func TestCheckPath(t *testing.T) {
	t.Parallel()
	part := strings.Repeat("p", 255)
	cases := []struct {
		name, path, refused string
	}{
		{"plain", "a/b.txt", ""},
		{"spaces and punctuation", "My notebook (1), final & more; 100 %.ipynb", ""},
		{"colon", "C:evil", ""},
		{"option", "--upload-pack=x", ""},
		{"unicode", "datos/año/データ-😀.csv", ""},
		{"dot files", ".gitignore", ""},
		{"three dots", ".../a", ""},
		{"tilde", "git~x", ""},
		{"tilde without stem", "~1", ""},
		{"near a short name", "gi7ebx~1", ""},
		{"short name of other length", "gi7~1", ""},
		{"longest part", part, ""},
		{"deepest", strings.Repeat("d/", 31) + "f", ""},
		{"longest", strings.Repeat(part+"/", 4)[:1020] + "/abc", ""},

		{"empty", "", "empty"},
		{"part too long", part + "p", "256 bytes"},
		{"too deep", strings.Repeat("d/", 32) + "f", "33 levels"},
		{"too long", strings.Repeat(part+"/", 5), "at most 1024"},
		{"absolute", "/a", "absolute"},
		{"climbing", "../a", `".."`},
		{"climbing inside", "a/../b", `".."`},
		{"climbing at the end", "a/..", `".."`},
		{"dot", ".", `"."`},
		{"dot inside", "a/./b", `"."`},
		{"slash at the end", "a/", "empty part"},
		{"two slashes", "a//b", "empty part"},
		{"backslash", `a\b`, "backslash"},
		{"NUL", "a\x00b", "U+0000"},
		{"newline", "a\nb", "U+000A"},
		{"escape", "\x1b[2J", "U+001B"},
		{"delete", "a\x7f", "U+007F"},
		{"C1 control", "a\u0085", "U+0085"},
		{"right to left", "a\u202egpj.exe", "U+202E"},
		{"zero width", "a\u200bb", "U+200B"},
		{"line separator", "a\u2028b", "U+2028"},
		{"private use", "a\ue000b", "U+E000"},
		{"invalid UTF-8", "a\xffb", "UTF-8"},
		{"form D", "cafe\u0301", "normal form C"},
		{"git", "a/.git/config", "git reads as .git"},
		{"git by case", ".GiT", "git reads as .git"},
		{"git with dots and spaces", ".git. .", "git reads as .git"},
		{"git with a stream", ".git::$INDEX_ALLOCATION", "git reads as .git"},
		{"git, short", "GIT~1", "git reads as .git"},
		{"git with an ignored character", ".g\u200cit", "U+200C"},
		{"gitmodules", "a/.gitmodules", ".gitmodules"},
		{"gitmodules, short", "GITMOD~1", ".gitmodules"},
		{"gitmodules, hashed", "GI7EBA~1", ".gitmodules"},
		{"gitmodules, hashed and cut", "gi7e~123", ".gitmodules"},
		{"gitmodules, cut to one letter", "g~123456", ".gitmodules"},
		{"gitattributes", ".gitattributes ", ".gitattributes"},
		{"gitattributes, short", "gitatt~4", ".gitattributes"},
		{"gitattributes, hashed", "gi7d29~1", ".gitattributes"},
		{"gitattributes, hashed and cut", "gi7d~123.", ".gitattributes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := dm.CheckPath(c.path)
			if c.refused == "" {
				if err != nil {
					t.Errorf("CheckPath(%q) = %v, want nil", c.path, err)
				}
				return
			}
			if dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), c.refused) {
				t.Errorf("CheckPath(%q) = %v, want a refusal that says %q", c.path, err, c.refused)
			}
			if len(dm.Public(err)) > 1200 {
				t.Errorf("the text has %d bytes", len(dm.Public(err)))
			}
		})
	}
}

func TestNormalPath(t *testing.T) {
	t.Parallel()
	if got := dm.NormalPath("cafe\u0301/a"); got != "caf\u00e9/a" {
		t.Errorf("got %q", got)
	}
}

func TestPathSet(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		add     []string // a directory ends in '/'
		refused string   // text of the last one's refusal
		length  int
	}{
		{"files", []string{"a/b", "a/c", "d"}, "", 4},
		{"directory before its file", []string{"a/", "a/b"}, "", 2},
		{"directory after its file", []string{"a/b/c", "a/", "a/b/"}, "", 3},
		{"nearly the same", []string{"a-b/c", "a/b", "ab"}, "", 5},
		{"file twice", []string{"a/b", "a/b"}, "duplicate path", 2},
		{"directory twice", []string{"a/", "a/"}, "duplicate path", 1},
		{"implied directory named twice", []string{"a/b", "a/", "a/"}, "duplicate path", 2},
		{"file below a file", []string{"a", "a/b"}, "both a file and a directory", 1},
		{"file over a directory", []string{"a/b", "a"}, "both a file and a directory", 2},
		{"directory over a file", []string{"a", "a/"}, "both a file and a directory", 1},
		{"letter case", []string{"a/Readme", "a/README"}, "letter case", 2},
		{"letter case of directories", []string{"A/x", "a/y"}, "letter case", 2},
		{"letter case across kinds", []string{"A/x", "a"}, "letter case", 2},
		{"Kelvin sign", []string{"\u212a", "k"}, "letter case", 1},
		{"long s", []string{"\u017f", "S"}, "letter case", 1},
		{"final sigma", []string{"\u03c2", "\u03a3"}, "letter case", 1},
		{"accented letters", []string{"É/a", "é/b"}, "letter case", 2},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var set dm.PathSet
			var err error
			for i, path := range c.add {
				name, dir := strings.CutSuffix(path, "/")
				err = set.Add(name, dir)
				if err != nil && i < len(c.add)-1 {
					t.Fatalf("Add(%q): %v", path, err)
				}
			}
			switch {
			case c.refused == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.refused != "" && (dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), c.refused)):
				t.Errorf("got %v, want a refusal that says %q", err, c.refused)
			}
			if set.Len() != c.length {
				t.Errorf("Len() = %d, want %d", set.Len(), c.length)
			}
		})
	}
}

// Deep and long paths in great number must not cost memory for every part.
func TestPathSetMemory(t *testing.T) { // not parallel: it measures allocations
	const files = 600
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var set dm.PathSet
	for i := range files {
		if err := set.Add(strings.Repeat(fmt.Sprintf("%031d/", i), 31)+"f", false); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / files; each > 20<<10 {
		t.Errorf("a path of 993 bytes and 32 levels takes %d bytes", each)
	}
}

func FuzzCheckPath(f *testing.F) {
	for _, path := range []string{"a/b", "../a", ".git", "gi7e~123", "cafe\u0301", "a\u202eb", "C:evil", "a//b", "\xff", strings.Repeat("a/", 40)} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		err := dm.CheckPath(path)
		if err != nil {
			if dm.KindOf(err) != dm.Invalid {
				t.Errorf("kind %s", dm.KindOf(err))
			}
			return
		}
		if !fs.ValidPath(path) || path == "." {
			t.Errorf("%q is accepted but not a path for io/fs", path)
		}
		if dm.NormalPath(path) != path {
			t.Errorf("%q is accepted but not normal", path)
		}
		var set dm.PathSet
		if err := set.Add(path, false); err != nil {
			t.Errorf("%q cannot be added to an empty set: %v", path, err)
		}
		if want := strings.Count(path, "/") + 1; set.Len() != want {
			t.Errorf("%q makes %d members, want %d", path, set.Len(), want)
		}
		if dm.KindOf(set.Add(path, false)) != dm.Invalid {
			t.Errorf("%q can be added twice", path)
		}
	})
}
