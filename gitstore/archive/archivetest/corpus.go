package archivetest

import (
	"bytes"
	"io"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
)

// Case is one archive and the answer it must get.
type Case struct {
	Name string
	Open func() io.Reader // a fresh body; large ones are made while they are read
	Kind dm.Kind          // "" when the archive is fine
	Text string           // stands in the error's sentence for the client
}

// Limits under which Bombs are refused; all of Benign is within them.
const (
	Wire     = 4 << 20
	Unpacked = 32 << 20
	File     = 8 << 20
	Entries  = 1000
)

// Top is the outer directory of every case that has one.
const Top = "app-1.0.0"

// Harmless is a file that stands before the fault in most hostile cases.
const Harmless = Top + "/jupyter/c/harmless.txt"

func body(b []byte) func() io.Reader {
	return func() io.Reader { return bytes.NewReader(b) }
}

// bad is a case whose fault is among its entries.
func bad(name, text string, entries ...entry) Case {
	entries = append([]entry{file(Harmless, "fine\n")}, entries...)
	return Case{Name: name, Open: body(pack(tarball(entries...))), Kind: dm.Invalid, Text: text}
}

// raw is a case of whole bytes.
func raw(name string, kind dm.Kind, text string, b []byte) Case {
	return Case{Name: name, Open: body(b), Kind: kind, Text: text}
}

// Hostile returns archives that must be refused, whatever the limits.
func Hostile() []Case {
	return slices.Concat(traversal(), paxTricks(), links(), specialTypes(), modes(), collisions(),
		gitNames(), names(), shapes(), mistakes(), gzips(), sizes(), headers())
}

func in(name string) string { return Top + "/" + name }

func traversal() []Case {
	return []Case{
		bad("traversal/parent", `".."`, file("../evil", "x")),
		bad("traversal/inside", `".."`, file("app/../../evil", "x")),
		bad("traversal/back to itself", `".."`, file(in("a/../b"), "x")),
		bad("traversal/dots and slashes", "part", file("./..//..", "x")),
		bad("traversal/only dots", `".."`, dir("..")),
		bad("traversal/only dots and slash", `".."`, dir("../")),
		bad("traversal/absolute", "absolute", file("/evil", "x")),
		bad("traversal/absolute behind a dot", "absolute", file(".//evil", "x")),
		bad("traversal/two slashes", "absolute", file("//evil", "x")),
		bad("traversal/root", "absolute", dir("//")),
		bad("traversal/backslashes", "backslash", file(`..\..\evil`, "x")),
		bad("traversal/drive with backslash", "backslash", file(`C:\evil`, "x")),
		bad("traversal/in the prefix", `".."`, entry{name: "evil", prefix: "../..", flag: regularFlag}),
		bad("traversal/absolute prefix", "absolute", entry{name: "evil", prefix: "/etc", flag: regularFlag}),
		bad("traversal/GNU name", `".."`, gnuName("../../evil"), file("x", "x")),
		bad("traversal/GNU name with NUL", "control", gnuName(in("a\x00/../../b")), file("x", "x")),
		bad("traversal/PAX path with NUL", "control", pax("path="+in("a\x00b")), file(in("a"), "x")),
	}
}

func paxTricks() []Case {
	return []Case{
		bad("pax/path climbs", `".."`, pax("path=../../evil"), file(in("fine"), "x")),
		bad("pax/path is absolute", "absolute", pax("path=/etc/evil"), file(in("fine"), "x")),
		bad("pax/two paths", "two paths", pax("path="+in("a"), "path=../evil"), file(in("a"), "x")),
		bad("pax/empty path", "empty path", pax("path="), file(in("a"), "x")),
		bad("pax/linkpath on a file", "linkpath", pax("linkpath=/etc/passwd"), file(in("a"), "x")),
		bad("pax/global path", "global header", global("path=../evil"), file(in("a"), "x")),
		bad("pax/global linkpath", "linkpath", global("linkpath=/etc/passwd"), file(in("a"), "x")),
		bad("pax/global size", "global header", global("size=0"), file(in("a"), "x")),
		bad("pax/size smaller", "different sizes", pax("size=1"), file(in("a"), "xyz")),
		bad("pax/size larger", "different sizes", pax("size=4096"), file(in("a"), "xyz")),
		bad("pax/size negative", "not a number", pax("size=-1"), file(in("a"), "xyz")),
		bad("pax/size not a number", "not a number", pax("size=1e3"), file(in("a"), "xyz")),
		bad("pax/two sizes", "two sizes", pax("size=3", "size=3"), file(in("a"), "xyz")),
		bad("pax/length too long", "wrong length", entry{name: "x", flag: 'x', data: "99 path=a\n"}, file(in("a"), "x")),
		bad("pax/length too short", "wrong length", entry{name: "x", flag: 'x', data: "2 path=a\n"}, file(in("a"), "x")),
		bad("pax/length negative", "wrong length", entry{name: "x", flag: 'x', data: "-9 path=a\n"}, file(in("a"), "x")),
		bad("pax/length with a sign", "wrong length", entry{name: "x", flag: 'x', data: "+10 path=a\n"}, file(in("a"), "x")),
		bad("pax/length overflows", "wrong length", entry{name: "x", flag: 'x', data: "99999999999999999999 a=b\n"}, file(in("a"), "x")),
		bad("pax/no equals sign", "no key", entry{name: "x", flag: 'x', data: "9 path a\n"}, file(in("a"), "x")),
		bad("pax/no newline", "no end", entry{name: "x", flag: 'x', data: "9 path=aa"}, file(in("a"), "x")),
		bad("pax/empty key", "no key", pax("=a"), file(in("a"), "x")),
		bad("pax/NUL in key", "no key", pax("pa\x00th=a"), file(in("a"), "x")),
		bad("pax/file capability", "security.capability", pax("SCHILY.xattr.security.capability=\x01\x00\x00\x02"), file(in("a"), "x")),
		bad("pax/file capability of bsdtar", "security.capability", pax("LIBARCHIVE.xattr.security.capability=AQAAAg"), file(in("a"), "x")),
		bad("pax/GNU sparse", "GNU.sparse", pax("GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=../evil", "GNU.sparse.realsize=1099511627776"), file(in("a"), "x")),
		bad("pax/star type", "SCHILY.filetype", pax("SCHILY.filetype=sparse"), file(in("a"), "x")),
		bad("pax/star size", "SCHILY.realsize", pax("SCHILY.realsize=99"), file(in("a"), "x")),
		bad("pax/time beyond the calendar", "mtime", pax("mtime=99999999999999"), file(in("a"), "x")),
		bad("pax/time is text", "mtime", pax("mtime=now"), file(in("a"), "x")),
		bad("pax/owner is text", "uid", pax("uid=root"), file(in("a"), "x")),
		bad("pax/two headers for one entry", "two extended headers", pax("path="+in("a")), pax("path="+in("b")), file(in("c"), "x")),
		bad("pax/path and GNU name", "two long names", pax("path="+in("a")), gnuName(in("b")), file(in("c"), "x")),
		bad("pax/two GNU names", "two extended headers", gnuName(in("a")), gnuName("../b"), file(in("c"), "x")),
		bad("pax/header for nothing", "after an extended header", pax("path="+in("a"))),
		bad("pax/header before a global one", "global header follows", pax("path="+in("a")), global("comment=x"), file(in("c"), "x")),
	}
}

func link(flag byte, name, target string) entry {
	return entry{name: name, flag: flag, change: func(b []byte) { copy(b[157:257], target) }}
}

func links() []Case {
	const hard, soft = '1', '2'
	return []Case{
		bad("links/absolute", "symbolic link", link(soft, in("l"), "/etc/passwd")),
		bad("links/climbing", "symbolic link", link(soft, in("l"), "../../../etc/passwd")),
		bad("links/inside the package", "symbolic link", link(soft, in("l"), "jupyter/c/harmless.txt")),
		bad("links/chain", "symbolic link", link(soft, in("a"), "b"), link(soft, in("b"), "..")),
		bad("links/directory replaced", "symbolic link", dir(in("d/")), link(soft, in("d"), "/tmp")),
		bad("links/top directory", "symbolic link", link(soft, Top, "/tmp")),
		bad("links/written through", "symbolic link", link(soft, in("l"), "/tmp"), file(in("l/evil"), "x")),
		bad("links/hard to a system file", "hard link", link(hard, in("l"), "/etc/passwd")),
		bad("links/hard to a symbolic link", "hard link", link(soft, in("a"), "/etc"), link(hard, in("b"), in("a"))),
		bad("links/hard inside", "hard link", link(hard, in("l"), Harmless)),
		bad("links/long target", "symbolic link", entry{name: "././@LongLink", flag: 'K', data: "/etc/passwd\x00"}, link(soft, in("l"), "x")),
		bad("links/PAX target", "symbolic link", pax("linkpath=/etc/passwd"), link(soft, in("l"), "x")),
	}
}

func specialTypes() []Case {
	of := func(flag byte) entry { return entry{name: in("special"), flag: flag} }
	return []Case{
		bad("types/character device", "device", of('3')),
		bad("types/block device", "device", of('4')),
		bad("types/fifo", "fifo", of('6')),
		bad("types/contiguous file", "only files and directories", of('7')),
		bad("types/continued file", "only files and directories", of('M')),
		bad("types/volume name", "only files and directories", of('V')),
		bad("types/dumped directory", "only files and directories", of('D')),
		bad("types/unknown", "only files and directories", of('Z')),
		bad("types/Solaris header", "only files and directories", of('X')),
		bad("types/not printable", "only files and directories", of(0xff)),
		bad("types/GNU sparse of 1 TiB", "sparse", entry{name: in("sparse"), flag: 'S', magic: "ustar  \x00", change: func(b []byte) {
			copy(b[483:495], "20000000000000")
		}}),
	}
}

func modes() []Case {
	mode := func(e entry, m int64) entry { e.mode = m; return e }
	return []Case{
		bad("modes/setuid", "setuid", mode(file(in("a"), "x"), 0o4755)),
		bad("modes/setgid", "setuid, setgid", mode(file(in("a"), "x"), 0o2777)),
		bad("modes/sticky", "sticky", mode(file(in("a"), "x"), 0o1777)),
		bad("modes/setgid directory", "setgid", mode(dir(in("d/")), 0o2777)),
		bad("modes/sticky directory", "sticky", mode(dir(in("d/")), 0o1777)),
		bad("modes/root directory", "setgid", mode(dir("./"), 0o2755)),
		bad("modes/type bits of a link", "not permissions", mode(file(in("a"), "x"), 0o120777)),
		bad("modes/not octal", "mode", entry{name: in("a"), flag: regularFlag, change: func(b []byte) { copy(b[100:], "rwxr-xr") }}),
		bad("modes/negative", "negative", entry{name: in("a"), flag: regularFlag, change: func(b []byte) { copy(b[100:], "\xff\xff\xff\xff\xff\xff\xff\xff") }}),
	}
}

func collisions() []Case {
	return []Case{
		bad("collisions/same name", "duplicate path", file(in("a"), "1"), file(in("a"), "2")),
		bad("collisions/same directory", "duplicate path", dir(in("d/")), dir(in("d/"))),
		bad("collisions/dot spelling", `"."`, file(in("a"), "1"), file(in("./a"), "2")),
		bad("collisions/leading dot", "duplicate path", file(in("a"), "1"), file("./"+in("a"), "2")),
		bad("collisions/slash spelling", "empty part", file(in("a"), "1"), file(Top+"//a", "2")),
		bad("collisions/file as directory", "both a file and a directory", file(in("a"), "1"), file(in("a/b"), "2")),
		bad("collisions/directory replaced by file", "both a file and a directory", dir(in("d/")), file(in("d"), "2")),
		bad("collisions/implied directory replaced", "both a file and a directory", file(in("d/x"), "1"), file(in("d"), "2")),
		bad("collisions/letter case", "letter case", file(in("Readme"), "1"), file(in("README"), "2")),
		bad("collisions/letter case of a directory", "letter case", file(in("D/a"), "1"), file(in("d/b"), "2")),
		bad("collisions/joiners", "differ only in joiners", file(in("می\u200cخواهم"), "1"), file(in("میخواهم"), "2")),
		bad("collisions/sharp letters", "letter case", file(in("\u212a"), "1"), file(in("k"), "2")),
		bad("collisions/NFC and NFD", "duplicate path", file(in("caf\u00e9"), "1"), file(in("cafe\u0301"), "2")),
	}
}

func gitNames() []Case {
	var list []Case
	for _, name := range []string{
		".git", ".GIT", ".Git", "git~1", "GIT~1", ".git ", ".git.", ".git. .", ".git::$INDEX_ALLOCATION",
		".gitmodules", ".gitattributes", ".GITMODULES", "GITMOD~1", "gitatt~1", "gi7eba~1",
	} {
		list = append(list,
			bad("git/"+name+" file", "git reads as", file(in(name), "x")),
			bad("git/"+name+" directory", "git reads as", file(in("a/"+name+"/config"), "x")))
	}
	for _, name := range []string{".g\u200cit", ".gi\u200dt", ".git\u200c", "\u200d.git", "\u200e.git", ".gi\u206ft", "\ufeff.git"} {
		list = append(list, bad("git/"+shown(name), "control or format character", file(in(name), "x")))
	}
	list = append(list, bad("git/selector", "git reads as .git", file(in(".g\ufe0fit"), "x")),
		bad("git/selector and joiner", "git reads as .git", file(in(".g\ufe0f\u200cit/config"), "x")))
	return append(list, bad(`git/.git\x`, "backslash", file(in(`.git\x`), "x")))
}
