package dm_test

import (
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// The names of people who write Persian, Hindi, Sinhala or with emoji.
func TestNamesWithJoiners(t *testing.T) {
	t.Parallel()
	for _, path := range []string{
		"کتاب\u200cها/می\u200cخواهم.ipynb",
		"PDF\u200cها.ipynb", "۲\u200cنفره", "خانه\u200c.ipynb",
		"क्\u200dष/क्\u200cष.csv", "क्\u200d.csv",
		"ශ්\u200dරී.txt",
		"👩\u200d🔬.ipynb", "👩🏽\u200d🚀 notes.txt", "👨\u200d👩\u200d👧\u200d👦", "❤\ufe0f\u200d🔥.png", "🏳\ufe0f\u200d🌈", "☺\ufe0f/1\ufe0f⃣.md", "🧑🏿\u200d🦽\u200d➡\ufe0f",
		"🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f.png", "🏴", "🏴\u200d☠\ufe0f.txt",
	} {
		if err := dm.CheckPath(path); err != nil {
			t.Errorf("%q: %v", path, dm.Public(err))
		}
		if got, err := dm.ParseReason("because of " + path); err != nil || !strings.HasSuffix(got, path) {
			t.Errorf("reason: got %q, %v", got, err)
		}
	}
	for _, c := range []struct{ path, want string }{
		{".g\u200cit", "U+200C"}, {".gi\u200dt/config", "U+200D"}, {"\u200c.git", "U+200C"}, {".git\u200d", "U+200D"},
		{".g\u200citmodules", "U+200C"}, {".g\ufe0fit", "git reads as .git"}, {".git\ufe0f", "git reads as .git"}, {".gitattributes\ufe0f", "git reads as .gitattributes"},
		{"git~1\ufe0f", "git reads as .git"}, {".git\ufe0f\u200d", "git reads as .git"}, {".g\ufe0f\u200cit", "git reads as .git"},
		{"a\u200db", "U+200D"}, {"README\u200d", "U+200D"}, {"\u200d", "U+200D"}, {"a\u200c\u200cb", "U+200C"}, {"ک/\u200c", "U+200C"}, {"ک/\u200c.git", "U+200C"}, {"ک \u200c ", "U+200C"},
		{"ک\u200eب", "U+200E"}, {"ک\u200fب", "U+200F"}, {"ک\u061cب", "U+061C"}, {"ک\u202bب", "U+202B"}, {"👩\u202e", "U+202E"}, {"👩\u2066🔬", "U+2066"},
		{"👩\u200b🔬", "U+200B"}, {"👩\u2060🔬", "U+2060"}, {"👩\ufeff🔬", "U+FEFF"}, {"é\u00adé", "U+00AD"},
		{"🏴\U000e0067", "U+E0067"}, {"a\U000e0067\U000e007f", "U+E0067"}, {"🏴\U000e007f", "U+E007F"}, {"🏴\U000e0001\U000e007f", "U+E0001"},
		{"🏴" + strings.Repeat("\U000e0067", 7) + "\U000e007f", "U+E0067"}, {"🏴\U000e0067\U000e007f\U000e007f", "U+E007F"},
	} {
		err := dm.CheckPath(c.path)
		if dm.KindOf(err) != dm.Invalid || !strings.Contains(dm.Public(err), c.want) {
			t.Errorf("%q: got %v, want %s", c.path, err, c.want)
		}
	}
}

// Names that one file system cannot tell apart cannot stand together.
func TestJoinersTellNoTwoPathsApart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ a, b, want string }{
		{"می\u200cخواهم", "میخواهم", "differ only in joiners, which cannot be seen"},
		{"क्\u200dष/a", "क्ष/b", "differ only in joiners"},
		{"É\u200cک", "é\u200cک", "differ only in letter case"},
		{"می\u200cخواهم", "می\u200cخواهم", "duplicate path"},
		{"می\u200cخواهم", "می\u200cخواهد", ""},
		{"👩\u200d🔬", "👩🔬/x", "differ only in joiners"},
	} {
		var set dm.PathSet
		if err := set.Add(c.a, false); err != nil {
			t.Fatal(err)
		}
		err := set.Add(c.b, false)
		refused(t, err, c.want)
	}
}

func FuzzUnprintable(f *testing.F) {
	for _, s := range []string{"ک\u200cب", "a\u200db", "🏴\U000e0067\U000e007f", "\xff\u200d", "é\ufffd\u200d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, at := dm.Unprintable(s)
		if at >= 0 && !strings.HasPrefix(s[at:], string(r)) {
			t.Errorf("%q at %d of %q", r, at, s)
		}
		if at < 0 && strings.ContainsAny(s, "\n\x1b\u202e\u2028\u200b\ue000") {
			t.Errorf("%q is let through", s)
		}
	})
}
