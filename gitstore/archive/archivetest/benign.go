package archivetest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"
)

// Package is the smallest package that PNDA's contract accepts at deploy.
func Package() map[string]string {
	return map[string]string{
		Top + "/jupyter/c/properties.json": `{"threshold": "5"}`,
		Top + "/jupyter/c/example.ipynb":   `{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}`,
	}
}

// Benign returns archives that must be read. Each has the outer directory Top
// and nothing beside it, unless its name says so.
func Benign() []Case {
	fine := func(name string, entries ...entry) Case {
		return Case{Name: name, Open: body(pack(tarball(entries...)))}
	}
	long := in("jupyter/c/" + strings.Repeat("long-", 30) + "name.txt")
	var many []entry
	for i := range 500 {
		many = append(many, file(in(fmt.Sprintf("jupyter/c/f%03d.txt", i)), "x"))
	}
	a := file(in("jupyter/c/a.txt"), "text\n")
	noise := file(in("jupyter/c/noise.bin"), digits(300_000))
	return []Case{
		{Name: "fine/tgz", Open: body(Tgz(Package()))},
		{Name: "fine/plain tar", Open: body(Tar(Package()))},
		fine("fine/directory entries", dir(in("")), dir(in("jupyter/")), dir(in("jupyter/c/")), a),
		fine("fine/directories after their files", a, dir(in("jupyter/c/")), dir(in(""))),
		fine("fine/no directory entries", a),
		fine("fine/leading dot", dir("./"), dir("./"+Top+"/"), file("./"+a.name, "text\n")),
		fine("fine/leading dot, directory without slash", dir("."), dir("./"+Top), file("./"+a.name, "text\n")),
		fine("fine/executable", entry{name: in("run"), flag: regularFlag, mode: 0o755, data: "#!/bin/sh\n"}),
		fine("fine/old header", entry{name: in("a"), flag: 0, data: "x", magic: "\x00\x00\x00\x00\x00\x00\x00\x00"}),
		fine("fine/old header, directory", entry{name: in("d/"), flag: 0, magic: "\x00\x00\x00\x00\x00\x00\x00\x00"}),
		fine("fine/ustar prefix", entry{name: "name.txt", prefix: in(strings.Repeat("p", 120)), flag: regularFlag, data: "x"}),
		fine("fine/pax path", pax("path="+long, "mtime=1700000000.123456789", "atime=1700000000", "ctime=1700000000"), file(long[:99], "x")),
		fine("fine/pax size", pax("size=3"), file(in("a"), "xyz")),
		fine("fine/pax owners", pax("uid=1000", "gid=1000", "uname=Zoë", "gname=students", "comment=hello"), a),
		fine("fine/gnu long name", gnuName(long), file(long[:99], "x")),
		fine("fine/gnu header with times", entry{name: in("a"), flag: regularFlag, magic: "ustar  \x00", prefix: "14712345670\x0014712345670\x00", data: "x"}),
		fine("fine/binary numbers", entry{name: in("a"), flag: regularFlag, data: "x", size: "\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
			change: func(b []byte) { copy(b[108:], "\x80\x00\x00\x00\x7f\xff\xff\xff") }}),
		fine("fine/time before 1970", entry{name: in("a"), flag: regularFlag, data: "x",
			change: func(b []byte) { copy(b[136:], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00") }}),
		fine("fine/mode with type bits", entry{name: in("a"), flag: regularFlag, mode: 0o100644, data: "x"},
			entry{name: in("d/"), flag: directoryFlag, mode: 0o40755}),
		fine("fine/NFD name", file(in("jupyter/c/cafe\u0301.txt"), "x")),
		fine("fine/spaces and punctuation", file(in("jupyter/c/My notebook (1), final & more; 100 %.txt"), "x")),
		fine("fine/markup and options in names", file(in("<img onerror=x>"), "x"), file(in("--upload-pack=x"), "x"), file(in("C:evil"), "x")),
		fine("fine/unicode", file(in("jupyter/c/notas-año-数据-данные-😀.txt"), "x")),
		fine("fine/joiners", file(in("jupyter/c/کتاب\u200cها/می\u200cخواهم.ipynb"), "x"), file(in("jupyter/c/क्\u200dष.csv"), "x"), file(in("jupyter/c/👩🏽\u200d🔬.txt"), "x")),
		fine("fine/dot files", file(in(".gitignore"), "x"), file(in(".gitkeep"), ""), file(in("...three"), "x"), file(in("git~x"), "x")),
		fine("fine/many files", many...),
		fine("fine/empty file", file(in("empty"), "")),
		fine("fine/bsdtar on macOS", pax("LIBARCHIVE.creationtime=1700000000", "LIBARCHIVE.xattr.com.apple.provenance=AQIDBA",
			"SCHILY.xattr.com.apple.provenance=\x01\x02\n\x00\x04", "SCHILY.fflags=hidden", "SCHILY.dev=1", "SCHILY.ino=2", "SCHILY.nlink=1"),
			file(in("._a"), "\x00\x05\x16\x07"), file(in("a"), "x")),
		fine("fine/labels of SELinux", pax("RHT.security.selinux=u:r:t:s0", "SCHILY.xattr.security.selinux=u:r:t:s0\x00"), a),
		fine("fine/git archive", global("comment=0123456789012345678901234567890123456789"), dir(in("")), a),
		{Name: "fine/padding of a tape record", Open: body(pack(join(tarball(a), make([]byte, 9216))))},
		{Name: "fine/padding of 64 KiB", Open: body(pack(join(tarball(a), make([]byte, 64<<10))))},
		{Name: "fine/one zero block at the end", Open: body(pack(append(blocks(a), make([]byte, 512)...)))},
		{Name: "fine/one zero block at the end of a plain tar", Open: body(append(blocks(a), make([]byte, 512)...))},
		{Name: "fine/file that is called as another format", Open: body(tarball(dir(in("")), file(in("jupyter/c/BZh"), "x")))},
		{Name: "fine/members of 64 KiB, as bgzip writes", Open: body(join(members(tarball(noise), 65280), pack(nil)))},
		{Name: "fine/every byte a member", Open: body(members(tarball(a), 1))},
		{Name: "fine/empty members between", Open: body(join(pack(nil), pack(tarball(a)[:700]), pack(nil), pack(nil), pack(tarball(a)[700:]), pack(nil)))},
		{Name: "fine/zeros behind the gzip", Open: body(join(pack(tarball(a)), make([]byte, 10<<10)))},
		{Name: "fine/one zero behind the members", Open: body(join(members(tarball(a), 512), []byte{0}))},
		{Name: "fine/64 KiB of zeros behind the gzip", Open: body(join(pack(tarball(a)), make([]byte, 64<<10)))},
		{Name: "fine/padding in members of its own", Open: body(join(pack(blocks(a)), members(make([]byte, 10<<10), 512)))},
		{Name: "fine/nothing in it", Open: body(pack(make([]byte, 1024)))},
		fine("fine/two directories at the top", a, file("other/a", "x")),
		fine("fine/a file at the top", a, file("stray", "x")),
		fine("fine/only a file at the top", file("stray", "x")),
	}
}

// members is a gzip of b with a member for each n bytes.
func members(b []byte, n int) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	for piece := range slices.Chunk(b, n) {
		z.Reset(&out)
		_, _ = z.Write(piece)
		_ = z.Close()
	}
	return out.Bytes()
}

// digits is text of n bytes that does not repeat soon.
func digits(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i*i)
	}
	return b.String()[:n]
}
