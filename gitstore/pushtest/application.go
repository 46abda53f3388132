package pushtest

import (
	"fmt"
	"strings"
)

// Applications are pushes that only an application's main has to refuse.
func Applications() []Case { return append(files(), histories()...) }

// withFile is a push of a commit with another application.json.
func withFile(name, text string, change func(spec string) string) Case {
	return Case{Name: "file/" + name, Text: text, Body: func(t Target) []byte {
		spec := BlobOf(change(t.Spec))
		tree := TreeOf(File("application.json", spec))
		return t.push(spec, tree, CommitOf(tree.ID(), "A wish.\n", t.Old))
	}}
}

func files() []Case {
	is := func(content string) func(string) string { return func(string) string { return content } }
	with := func(key, value string) func(string) string {
		return func(spec string) string { return strings.Replace(spec, "{", "{"+key+": "+value+", ", 1) }
	}
	return []Case{
		withFile("empty", "", is("")),
		withFile("of 10 MiB", "at most", func(spec string) string { return spec + strings.Repeat(" ", 10<<20) }),
		withFile("deep", "", with(`"overrides"`, strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_000))),
		withFile("deep lists", "", is(strings.Repeat("[", 500_000))),
		withFile("keys twice", "", func(spec string) string { return strings.Replace(spec, "{", `{"package": "other-9.9.9", `, 1) }),
		withFile("keys twice below", "", with(`"overrides"`, `{"jupyter": {"report": {"topic": "a", "topic": "b"}}}`)),
		withFile("keys twice by case", "", func(spec string) string { return strings.Replace(spec, "{", `{"PACKAGE": "other-9.9.9", `, 1) }),
		withFile("two values", "", func(spec string) string { return spec + spec }),
		withFile("rubbish behind", "", func(spec string) string { return spec + "\x00" }),
		withFile("not UTF-8", "", func(spec string) string { return strings.Replace(spec, "{", "{\"\xff\": 1, ", 1) }),
		withFile("byte order mark inside", "", func(spec string) string { return strings.Replace(spec, "{", "{\ufeff", 1) }),
		withFile("a list", "", is("[]")),
		withFile("null", "", is("null")),
		withFile("a number", "", is("1e999")),
		withFile("unknown key", "unknown key", with(`"colour"`, `"red"`)),
		withFile("key with ESC", "unknown key", with(`"\u001b[2J"`, `"red"`)),
		withFile("key of 1 MB", "", with(`"`+strings.Repeat("k", 900<<10)+`"`, "1")),
		withFile("10,000 faults", "", func(spec string) string {
			var b strings.Builder
			for i := range 10_000 {
				fmt.Fprintf(&b, `"k%d": 1, `, i)
			}
			return strings.Replace(spec, "{", "{"+b.String(), 1)
		}),
		withFile("other name", "name", with(`"name"`, `"other"`)),
		withFile("other owner", "owner", with(`"owner"`, `"root"`)),
		withFile("unknown state", "state", with(`"state"`, `"flying"`)),
		withFile("state with ESC", "state", with(`"state"`, `"\u001b[2J"`)),
		withFile("package that climbs", "", is(`{"package": "../../etc-1.0.0"}`)),
		withFile("package that is no text", "", is(`{"package": {"$ref": "x"}}`)),
		withFile("audience of nobody known", "", with(`"audience"`, `["user:\u001b[2J"]`)),
		withFile("overrides that are a list", "", with(`"overrides"`, `[1]`)),
		{Name: "file/missing", Text: "no application.json", Body: func(t Target) []byte {
			b := BlobOf("x")
			tree := TreeOf(File("other.json", b))
			return t.push(b, tree, CommitOf(tree.ID(), "A wish.\n", t.Old))
		}},
		{Name: "file/is a folder", Text: "no application.json", Body: func(t Target) []byte {
			b := BlobOf(t.Spec)
			sub := TreeOf(File("x", b))
			tree := TreeOf(Folder("application.json", sub))
			return t.push(b, sub, tree, CommitOf(tree.ID(), "A wish.\n", t.Old))
		}},
		{Name: "file/is a link", Text: "symbolic link", Body: func(t Target) []byte {
			b := BlobOf("/etc/passwd")
			tree := TreeOf(Entry{"120000", "application.json", b.ID()})
			return t.push(b, tree, CommitOf(tree.ID(), "A wish.\n", t.Old))
		}},
	}
}

func histories() []Case {
	// behind is a good commit on top of a bad one on top of main.
	behind := func(name, text string, bad func(t Target) []Object) Case {
		return Case{Name: "history/" + name, Text: text, Body: func(t Target) []byte {
			objects := bad(t)
			top := t.top()
			objects = append(objects, top...)
			return t.push(append(objects, CommitOf(top[1].ID(), "All is well.\n", objects[len(objects)-3].ID()))...)
		}}
	}
	badTree := func(entry func(Object) Entry) func(Target) []Object {
		return func(t Target) []Object {
			b := BlobOf("x")
			tree := TreeOf(entry(b))
			return []Object{b, tree, CommitOf(tree.ID(), "Look away.\n", t.Old)}
		}
	}
	return []Case{
		withEntry("history/a mode beyond numbers, which git reads as 100644", "mode", "7777777777777100644", "file", "x"),
		behind("a link before a good tip", "symbolic link", badTree(func(b Object) Entry { return Entry{"120000", "x", b.ID()} })),
		behind(".gitmodules before a good tip", "", badTree(func(b Object) Entry { return Entry{"100644", ".gitmodules", b.ID()} })),
		behind("backslashes before a good tip", "backslash", badTree(func(b Object) Entry { return Entry{"100644", `a\b`, b.ID()} })),
		behind("NFD before a good tip", "normal form", badTree(func(b Object) Entry { return Entry{"100644", "e\u0301", b.ID()} })),
		behind("ESC before a good tip", "control character", func(t Target) []Object {
			top := t.top()
			return append(top, CommitOf(top[1].ID(), "\x1b[2J", t.Old))
		}),
		{Name: "history/ESC in a side branch of a merge", Text: "control character", Body: func(t Target) []byte {
			top := t.top()
			root := CommitOf(top[1].ID(), "\x1b[2J")
			return t.push(append(append(top, root), CommitOf(top[1].ID(), "Merge.\n", t.Old, root.ID()))...)
		}},
		{Name: "history/a root that is not related", Text: "your main does not contain the server's; pull first", Body: func(t Target) []byte {
			top := t.top()
			return t.push(append(top, CommitOf(top[1].ID(), "A new world.\n"))...)
		}},
		{Name: "history/main as it is", Text: "everything up-to-date", Body: func(t Target) []byte { return t.send(t.Old, Pack()) }},
		{Name: "history/back to an earlier main", Text: "your main does not contain the server's; pull first", Body: func(t Target) []byte { return t.send(t.Hidden, Pack()) }},
		{Name: "history/no other files", Text: "changes nothing", Body: func(t Target) []byte {
			return t.push(CommitOf(t.Main, "The same files.\n", t.Old))
		}},
		{Name: "history/as if there were no main", Body: func(t Target) []byte {
			old := t
			old.Old = ""
			return old.Good()
		}},
		{Name: "history/10,050 commits", Text: "more than 10000", Body: func(t Target) []byte {
			top, parent := t.top(), t.Old
			for i := range 10_050 {
				c := CommitOf(top[1].ID(), fmt.Sprint(i), parent)
				top, parent = append(top, c), c.ID()
			}
			return t.push(top...)
		}},
		{Name: "history/300 commits of 10,000 paths each", Text: "more than", Body: func(t Target) []byte {
			b := BlobOf("x")
			var entries []Entry
			for i := range 100 {
				entries = append(entries, File(fmt.Sprintf("f%02d", i), b))
			}
			leaf := TreeOf(entries...)
			for i := range entries {
				entries[i] = Folder(fmt.Sprintf("d%02d", i), leaf)
			}
			wide := TreeOf(entries...)
			objects, parent := append(t.top(), b, leaf, wide), t.Old
			for i := range 300 {
				// Another name each time, so that no two commits share a path.
				tree := TreeOf(Folder(fmt.Sprintf("w%04d", i), wide))
				c := CommitOf(tree.ID(), "", parent)
				objects, parent = append(objects, tree, c), c.ID()
			}
			return t.push(append(objects, CommitOf(objects[1].ID(), "All is well.\n", parent))...)
		}},
	}
}
