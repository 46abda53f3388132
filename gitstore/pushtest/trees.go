package pushtest

import (
	"fmt"
	"slices"
	"strings"
)

// Trees are pushes whose trees no record may hold.
func Trees() []Case {
	return slices.Concat(gitNames(), badNames(), modes(), shapes(), wrongKinds(), collisions(), giants())
}

func gitNames() []Case {
	var cases []Case
	for name, content := range map[string]string{
		"ext::":       "[submodule \"x\"]\n\tpath = x\n\turl = ext::sh -c touch% /tmp/x\n",
		"file:":       "[submodule \"x\"]\n\tpath = x\n\turl = file:///etc\n",
		"an option":   "[submodule \"x\"]\n\tpath = x\n\turl = -u./payload\n",
		"CR":          "[submodule \"x\"]\n\tpath = \"x\r\"\n\turl = https://elsewhere/x\n",
		"update":      "[submodule \"x\"]\n\tpath = x\n\turl = https://elsewhere/x\n\tupdate = !touch x\n",
		"../ as name": "[submodule \"../../x\"]\n\tpath = x\n\turl = https://elsewhere/x\n",
		"no harm":     "[submodule \"x\"]\n\tpath = x\n\turl = https://elsewhere/x\n",
	} {
		cases = append(cases, inFront("gitmodules/"+name, ".gitmodules", "100644", content))
	}
	cases = append(cases,
		inFront("gitmodules/as a link", ".gitmodules", "120000", "elsewhere"),
		inFront("gitattributes/30 MiB", ".gitattributes", "100644", strings.Repeat("* text\n", 30<<20/7)),
		inFront("gitattributes/as a link", ".gitattributes", "120000", "elsewhere"),
		inFront("gitattributes/small", ".gitattributes", "100644", "* filter=x\n"),
	)
	for _, name := range []string{
		".git", ".GIT", ".Git", "git~1", "GIT~1", ".git ", ".git.", ".git . .", ".git::$INDEX_ALLOCATION", ".git:x", ".g\u200cit", "\u200d.git",
		"GITMOD~1", "gi7eba~1", ".gitmodules ", ".GitModules.", ".gitmodules::$DATA", "GITATT~2", "gi7d29~1", ".gitATTRIBUTES",
	} {
		cases = append(cases, inFront("git's own/"+fmt.Sprintf("%q", name), name, "100644", "x"))
	}
	return append(cases, withTree("git's own/.git as a folder below", "", func(Target) ([]Object, []Entry) {
		config := BlobOf("[core]\n\tfsmonitor = touch x\n")
		inner := TreeOf(File("config", config))
		outer := TreeOf(Folder(".git", inner))
		return []Object{config, inner, outer}, []Entry{Folder("sub", outer)}
	}))
}

// inFront is a push of a tree with one bad entry that stands where it sorts.
func inFront(name, path, mode, content string) Case {
	return Case{Name: name, Body: func(t Target) []byte {
		spec, b := BlobOf(t.Spec), BlobOf(content)
		entries := []Entry{File("application.json", spec), {mode, path, b.ID()}}
		slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
		top := TreeOf(entries...)
		return t.push(spec, b, top, CommitOf(top.ID(), "A commit.\n", t.Old))
	}}
}

func badNames() []Case {
	var cases []Case
	for name, path := range map[string]string{
		"backslashes":   `z\..\b`,
		"parent":        "..",
		"itself":        ".",
		"climbs":        "../x",
		"climbs inside": "z/../../x",
		"slash":         "z/b",
		"absolute":      "/etc/passwd",
		"empty":         "",
		"ESC":           "z\x1b[2J",
		"line end":      "z\nDM-User: root",
		"CR":            "z\r",
		"tab":           "z\tb",
		"DEL":           "z\x7f",
		"C1":            "z\u009b2J",
		"turned round":  "z\u202egpj.exe",
		"no width":      "z\u200b",
		"line of text":  "z\u2028",
		"not UTF-8":     "z\xff\xfe",
		"overlong":      "z\xc0\xaf",
		"surrogate":     "z\xed\xa0\x80",
		"300 bytes":     strings.Repeat("z", 300),
		"5,000 bytes":   strings.Repeat("z", 5000),
	} {
		cases = append(cases, inFront("name/"+name, path, "100644", "x"))
	}
	return cases
}

func modes() []Case {
	cases := []Case{
		withEntry("mode/link out", "symbolic link", "120000", "link", "/etc/passwd"),
		withEntry("mode/link inside", "symbolic link", "120000", "link", "application.json"),
		withTree("mode/submodule", "submodule", func(t Target) ([]Object, []Entry) {
			return nil, []Entry{{"160000", "sub", CommitOf(Zero, "x").ID()}}
		}),
		withTree("mode/link in a folder", "symbolic link", func(Target) ([]Object, []Entry) {
			b := BlobOf("../../..")
			sub := TreeOf(Entry{"120000", "up", b.ID()})
			return []Object{b, sub}, []Entry{Folder("sub", sub)}
		}),
		withTree("mode/zero-padded folder", "", func(Target) ([]Object, []Entry) {
			b := BlobOf("x")
			sub := TreeOf(File("x", b))
			return []Object{b, sub}, []Entry{{"040000", "sub", sub.ID()}}
		}),
	}
	for _, mode := range []string{
		"0100644", "104755", "102755", "101644", "106777", "100664", "100666", "100600", "100000", "644", "0", "010644", "020644", "060644", "140644",
		"40755", "100648", "10x644", "-100644", "",
	} {
		cases = append(cases, withEntry("mode/"+fmt.Sprintf("%q", mode), "", mode, "file", "x"))
	}
	return cases
}

func shapes() []Case {
	raw := func(name string, data func(Target) string) Case {
		return Case{Name: "shape/" + name, Body: func(t Target) []byte {
			spec := BlobOf(t.Spec)
			tree := Object{Tree, data(t)}
			return t.push(spec, tree, CommitOf(tree.ID(), "A commit.\n", t.Old))
		}}
	}
	good := func(t Target) string { return TreeOf(File("application.json", BlobOf(t.Spec))).Data }
	return []Case{
		raw("cut off", func(t Target) string { return good(t)[:len(good(t))-1] }),
		raw("too long", func(t Target) string { return good(t) + "x" }),
		raw("no end of the name", func(t Target) string { return good(t) + "100644 name" }),
		raw("no mode", func(t Target) string { return good(t) + " name\x00" + strings.Repeat("x", 20) }),
		raw("rubbish", func(Target) string { return strings.Repeat("\xff", 100) }),
		withTree("shape/unsorted", "", func(Target) ([]Object, []Entry) {
			b := BlobOf("x")
			return []Object{b}, []Entry{File("z", b), File("b", b)}
		}),
		withTree("shape/folder sorted as a file", "", func(Target) ([]Object, []Entry) {
			b := BlobOf("x")
			sub := TreeOf(File("x", b))
			return []Object{b, sub}, []Entry{Folder("b", sub), File("b.c", b)}
		}),
	}
}

func wrongKinds() []Case {
	one := func(name string, entry func(Target) Entry) Case {
		return withTree("kind/"+name, "", func(t Target) ([]Object, []Entry) { return nil, []Entry{entry(t)} })
	}
	return []Case{
		one("file that is a tree of the record", func(t Target) Entry { return Entry{"100644", "x", t.Tree} }),
		one("folder that is a blob of the record", func(t Target) Entry { return Entry{"40000", "x", t.Blob} }),
		one("file that is a commit of the record", func(t Target) Entry { return Entry{"100644", "x", t.Hidden} }),
		one("file that is missing", func(Target) Entry { return File("x", BlobOf("never sent")) }),
		one("folder that is missing", func(Target) Entry { return Folder("x", TreeOf(File("x", BlobOf("never sent")))) }),
		one("file without a name of an object", func(Target) Entry { return Entry{"100644", "x", Zero} }),
		one("file of another repository", func(t Target) Entry { return Entry{"100644", "x", t.ForeignBlob} }),
		one("folder of another repository", func(t Target) Entry { return Entry{"40000", "x", t.ForeignTree} }),
		withTree("kind/file that is a tree of the push", "", func(Target) ([]Object, []Entry) {
			sub := TreeOf()
			return []Object{sub}, []Entry{{"100644", "x", sub.ID()}}
		}),
	}
}

func collisions() []Case {
	var cases []Case
	for name, pair := range map[string][2]string{
		"twice": {"same", "same"}, "case": {"README", "readme"}, "case of é": {"\u00c9", "\u00e9"}, "Kelvin": {"k", "\u212a"},
	} {
		cases = append(cases, withTree("collision/"+name, "", func(Target) ([]Object, []Entry) {
			b := BlobOf("x")
			entries := []Entry{File(pair[0], b), File(pair[1], b)}
			top := []Entry{Folder("d", TreeOf(entries...))}
			return []Object{b, TreeOf(entries...)}, top
		}))
	}
	return append(cases, withTree("collision/file and folder", "", func(Target) ([]Object, []Entry) {
		b := BlobOf("x")
		sub := TreeOf(File("x", b))
		return []Object{b, sub}, []Entry{File("b", b), Folder("b", sub)}
	}), withTree("collision/file and folder of other case", "", func(Target) ([]Object, []Entry) {
		b := BlobOf("x")
		sub := TreeOf(File("x", b))
		d := TreeOf(File("B", b), Folder("b", sub))
		return []Object{b, sub, d}, []Entry{Folder("d", d)}
	}))
}

func giants() []Case {
	return []Case{
		withTree("giant/10,000,000,000 paths", "more than", func(Target) ([]Object, []Entry) {
			b := BlobOf("x")
			objects, below := []Object{b}, func(name string) Entry { return File(name, b) }
			for range 10 {
				var entries []Entry
				for i := range 10 {
					entries = append(entries, below(fmt.Sprintf("f%d", i)))
				}
				tree := TreeOf(entries...)
				objects, below = append(objects, tree), func(name string) Entry { return Folder(name, tree) }
			}
			return objects, []Entry{below("top")}
		}),
		withTree("giant/4,000 levels", "levels", func(Target) ([]Object, []Entry) {
			b := BlobOf("x")
			objects, entry := []Object{b}, File("x", b)
			for range 4000 {
				tree := TreeOf(entry)
				objects, entry = append(objects, tree), Folder("d", tree)
			}
			return objects, []Entry{entry}
		}),
		withTree("giant/25,000 files in one tree", "more than", func(Target) ([]Object, []Entry) {
			b := BlobOf("x")
			entries := make([]Entry, 25_000)
			for i := range entries {
				entries[i] = File(fmt.Sprintf("f%06d", i), b)
			}
			tree := TreeOf(entries...)
			return []Object{b, tree}, []Entry{Folder("d", tree)}
		}),
	}
}
