package pushtest

import (
	"fmt"
	"slices"
	"strings"
)

// Heads are pushes whose commits or tags no record may hold.
func Heads() []Case { return slices.Concat(commitLines(), commitLinks(), tags()) }

// withCommit is a push of a commit that is made by changing a good one.
func withCommit(name, text string, change func(t Target, good string) string) Case {
	return Case{Name: "commit/" + name, Text: text, Body: func(t Target) []byte {
		objects := t.good("A commit.\n")
		last := &objects[len(objects)-1]
		last.Data = change(t, last.Data)
		return t.push(objects...)
	}}
}

// replaced changes the first of one text.
func replaced(from, to string) func(Target, string) string {
	return func(_ Target, good string) string { return strings.Replace(good, from, to, 1) }
}

func commitLines() []Case {
	author, committer := "author "+Person+"\n", "committer "+Person+"\n"
	line := func(extra string) func(Target, string) string { return replaced("\n\n", "\n"+extra+"\n\n") }
	said := func(message string) func(Target, string) string { return replaced("A commit.", message) }
	return []Case{
		withCommit("NUL in the header", "", line("encoding UTF-8\x00hidden")),
		withCommit("NUL in the author", "", replaced("Mallory", "Mal\x00lory")),
		withCommit("NUL in the message", "", said("A\x00commit")),
		withCommit("CR in the header", "", replaced(" +0000\n", " +0000\r\n")),
		withCommit("ESC in the author", "", replaced("Mallory", "\x1b[31mMallory")),
		withCommit("ESC in the message", "control character", said("\x1b]0;owned\x07")),
		withCommit("C1 in the message", "control character", said("\u009b2J")),
		withCommit("C1 behind Latin-1", "control character", replaced("\n\nA commit.", "\nencoding ISO-8859-1\n\n\x9b2J")),
		withCommit("ESC behind UTF-7", "encoding", replaced("\n\nA commit.", "\nencoding UTF-7\n\n+ABs-[2J")),
		withCommit("backspace in the message", "control character", said("good\b\b\b\bevil")),
		withCommit("ESC in a signature", "control character", line("gpgsig -----BEGIN\n \x1b[2J\n -----END")),
		withCommit("two authors", "", replaced(author, author+author)),
		withCommit("two committers", "", replaced(committer, committer+committer)),
		withCommit("two trees", "", func(t Target, good string) string { return "tree " + t.Tree + "\n" + good }),
		withCommit("two encodings", "duplicate field", line("encoding UTF-8\nencoding UTF-8")),
		withCommit("unknown field", "unknown field", line("x-secret yes")),
		withCommit("unknown field of 100 KB", "unknown field", line("junk "+strings.Repeat("j", 100<<10))),
		withCommit("field without a value", "unknown field", line("gpgsig")),
		withCommit("no author", "", replaced(author, "")),
		withCommit("no committer", "", replaced(committer, "")),
		withCommit("no tree", "", func(_ Target, good string) string { _, rest, _ := strings.Cut(good, "\n"); return rest }),
		withCommit("other order", "", func(_ Target, good string) string {
			tree, rest, _ := strings.Cut(good, "\n")
			return rest[:strings.Index(rest, "\n\n")+1] + tree + rest[strings.Index(rest, "\n\n"):]
		}),
		withCommit("author without an address", "", replaced("Mallory <mallory@elsewhere>", "Mallory")),
		withCommit("author with two addresses", "", replaced("<mallory@elsewhere>", "<a@b> <c@d>")),
		withCommit("no date", "", replaced(" 1700000000 +0000", "")),
		withCommit("date beyond time", "", replaced("1700000000", "99999999999999999999999")),
		withCommit("date as octal", "", replaced("1700000000", "01700000000")),
		withCommit("bad zone", "", replaced("+0000", "+abcd")),
		withCommit("message of 300 KB", "at most", said(strings.Repeat("words ", 50<<10))),
		withCommit("empty", "", func(Target, string) string { return "" }),
		withCommit("rubbish", "", func(Target, string) string { return strings.Repeat("\xff\n", 100) }),
		withCommit("tree in capitals", "", func(_ Target, good string) string {
			return good[:5] + strings.ToUpper(good[5:45]) + good[45:]
		}),
	}
}

func commitLinks() []Case {
	tree := func(name string, id func(Target) string) Case {
		return withCommit(name, "", func(t Target, good string) string { return "tree " + id(t) + good[45:] })
	}
	parent := func(name string, id func(Target) string) Case {
		return withCommit(name, "", func(t Target, good string) string {
			return strings.Replace(good, "\nauthor", "\nparent "+id(t)+"\nauthor", 1)
		})
	}
	missing := func(Target) string { return BlobOf("never sent").ID() }
	return []Case{
		tree("tree is missing", missing),
		tree("tree is a blob", func(t Target) string { return t.Blob }),
		tree("tree is a commit", func(t Target) string { return t.Hidden }),
		tree("tree of another repository", func(t Target) string { return t.ForeignTree }),
		tree("tree is nothing", func(Target) string { return Zero }),
		parent("parent is missing", missing),
		parent("parent is a blob", func(t Target) string { return t.Blob }),
		parent("parent is a tree", func(t Target) string { return t.Tree }),
		parent("parent is nothing", func(Target) string { return Zero }),
		parent("parent of another repository", func(t Target) string { return t.ForeignCommit }),
		{Name: "ref/names a blob", Body: func(t Target) []byte { return t.push(BlobOf("x")) }},
		{Name: "ref/names a tree", Body: func(t Target) []byte { return t.push(t.top()...) }},
		{Name: "ref/names a blob of the record", Body: func(t Target) []byte { return t.send(t.Blob, Pack()) }},
		{Name: "ref/names a tree of the record", Body: func(t Target) []byte { return t.send(t.Tree, Pack()) }},
		{Name: "ref/names what is missing", Body: func(t Target) []byte { return t.send(missing(t), Pack()) }},
		{Name: "ref/names a commit of another repository", Body: func(t Target) []byte { return t.send(t.ForeignCommit, Pack()) }},
	}
}

// withTag is a push of tags on a good commit; the last of them is pushed.
func withTag(name, text string, make func(t Target, commit string) []Object) Case {
	return Case{Name: "tag/" + name, Text: text, Body: func(t Target) []byte {
		objects := t.good("A commit.\n")
		return t.push(append(objects, make(t, objects[len(objects)-1].ID())...)...)
	}}
}

func tags() []Case {
	one := func(name, text string, tag func(t Target, commit string) Object) Case {
		return withTag(name, text, func(t Target, commit string) []Object { return []Object{tag(t, commit)} })
	}
	changed := func(name, text string, change func(string) string) Case {
		return one(name, text, func(_ Target, commit string) Object {
			tag := TagOf(commit, "commit", "1.0.0")
			return Object{Tag, change(tag.Data)}
		})
	}
	deep := func(n int) Case {
		return withTag(fmt.Sprintf("%d tags deep", n), "", func(_ Target, commit string) []Object {
			kind, objects := "commit", make([]Object, n)
			for i := range objects {
				objects[i] = TagOf(commit, kind, fmt.Sprint("t", i))
				commit, kind = objects[i].ID(), "tag"
			}
			return objects
		})
	}
	return []Case{
		one("of a blob", "", func(t Target, _ string) Object { return TagOf(t.Blob, "blob", "1.0.0") }),
		one("of a tree", "", func(t Target, _ string) Object { return TagOf(t.Tree, "tree", "1.0.0") }),
		one("of what is missing", "", func(Target, string) Object { return TagOf(BlobOf("never sent").ID(), "commit", "1.0.0") }),
		one("of another repository's commit", "", func(t Target, _ string) Object { return TagOf(t.ForeignCommit, "commit", "1.0.0") }),
		one("that lies of its kind", "", func(t Target, _ string) Object { return TagOf(t.Tree, "commit", "1.0.0") }),
		one("that calls a commit a tree", "", func(_ Target, commit string) Object { return TagOf(commit, "tree", "1.0.0") }),
		one("in a loop", "", func(Target, string) Object {
			// Its own name can't be in it; this is as near as one gets.
			return TagOf(TagOf(Zero, "tag", "loop").ID(), "tag", "loop")
		}),
		changed("with ESC in its name", "", func(s string) string { return strings.Replace(s, "tag 1.0.0", "tag \x1b[2J", 1) }),
		changed("with a climbing name", "", func(s string) string { return strings.Replace(s, "tag 1.0.0", "tag ../../x", 1) }),
		changed("with ESC in its message", "", func(s string) string { return s + "\x1b[2J" }),
		changed("without a tagger", "", func(s string) string { return strings.Replace(s, "tagger "+Person+"\n", "", 1) }),
		changed("with two objects", "", func(s string) string { return s[:48] + s }),
		changed("with an unknown field", "", func(s string) string { return strings.Replace(s, "\n\n", "\nx-secret yes\n\n", 1) }),
		changed("of 300 KB", "", func(s string) string { return s + strings.Repeat("words ", 50<<10) }),
		changed("that is empty", "", func(string) string { return "" }),
		deep(6), deep(3000),
	}
}
