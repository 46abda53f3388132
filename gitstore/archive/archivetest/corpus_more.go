package archivetest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// shown makes a name fit for the name of a test.
func shown(name string) string { return strings.Trim(fmt.Sprintf("%+q", name), `"`) }

func names() []Case {
	deep := strings.Repeat("d/", 2000) + "f"
	return []Case{
		bad("names/5000 bytes", "at most 1024", gnuName(in(strings.Repeat("n/", 2500))+"n"), file("x", "x")),
		bad("names/part of 300 bytes", "part of 300 bytes", gnuName(in(strings.Repeat("n", 300))), file("x", "x")),
		bad("names/depth 33", "33 levels", gnuName(strings.Repeat("d/", 32)+"f"), file("x", "x")),
		bad("names/depth 2000", "bytes", gnuName(deep), file("x", "x")),
		bad("names/invalid UTF-8", "UTF-8", file(in("a\xff\xfeb"), "x")),
		bad("names/overlong UTF-8", "UTF-8", file(in("a\xc0\xafb"), "x")),
		bad("names/surrogate", "UTF-8", file(in("\xed\xa0\x80"), "x")),
		bad("names/escape", "control", file(in("\x1b[2J"), "x")),
		bad("names/newline", "control", file(in("a\nb"), "x")),
		bad("names/delete", "control", file(in("a\x7f"), "x")),
		bad("names/right to left", "control or format", file(in("a\u202egpj.exe"), "x")),
		bad("names/line separator", "control or format", file(in("a\u2028b"), "x")),
		bad("names/private use", "control or format", file(in("a\ue000b"), "x")),
		bad("names/byte order mark", "control or format", file(in("\ufeffa"), "x")),
		bad("names/empty file", "empty", file("", "x")),
		bad("names/empty directory", "empty", dir("")),
		bad("names/root as a file", "empty", file("./", "x")),
		bad("names/dot as a file", `"."`, file(".", "x")),
		bad("names/file with slash at the end", "empty part", file(in("a/"), "x")),
		bad("names/directory with two slashes at the end", "empty part", dir(in("a//"))),
	}
}

func shapes() []Case {
	good := file(Harmless, "fine\n")
	noise := []byte(strings.Repeat("this is no archive at all\n", 100))
	return []Case{
		raw("shape/empty body", dm.Invalid, "no bytes", nil),
		raw("shape/one byte", dm.Invalid, "is truncated", []byte{0}),
		raw("shape/text", dm.Invalid, `the body is text, not a tar archive; it begins with "this is no archive at all"`, noise),
		raw("shape/text in gzip", dm.Invalid, "the content of the gzip is text", pack(noise)),
		raw("shape/noise", dm.Invalid, "not a readable tar: header checksum mismatch, at byte 0;", bytes.Repeat([]byte{0xc3, 0, 7}, 500)),
		raw("shape/noise in gzip", dm.Invalid, "header checksum mismatch, at byte 0 of the unpacked data;", pack(bytes.Repeat([]byte{0xc3, 0, 7}, 500))),
		raw("shape/nothing in gzip", dm.Invalid, "its gzip has no content", pack(nil)),
		raw("shape/no end marker", dm.Invalid, "is truncated", pack(blocks(good))),
		raw("shape/half an end marker, cut", dm.Invalid, "is truncated", cut(pack(append(blocks(good), make([]byte, 512)...)), 8)),
		raw("shape/ends in a file", dm.Invalid, "is truncated", pack(blocks(good)[:514])),
		raw("shape/ends in a header", dm.Invalid, "is truncated", pack(blocks(good)[:100])),
		raw("shape/ends in the padding", dm.Invalid, "is truncated", pack(blocks(good)[:600])),
		raw("shape/plain tar cut", dm.Invalid, "is truncated", blocks(good)[:700]),
		raw("shape/one zero block inside", dm.Invalid, "zero block", pack(join(blocks(good), make([]byte, 512), tarball(good)))),
		raw("shape/damaged header", dm.Invalid, "checksum", pack(tarball(good, entry{name: in("b"), flag: regularFlag, damage: func(b []byte) { b[0] ^= 1 }}))),
	}
}

func gzips() []Case {
	good := tarball(file(Harmless, strings.Repeat("fine\n", 500)))
	packed := pack(good)
	wrong := func(at int) []byte {
		b := bytes.Clone(packed)
		b[len(b)-at] ^= 0xff
		return b
	}
	hidden := file(in("hidden"), "x")
	padded := func(n int, last ...byte) []byte { return join(good, make([]byte, n), last) }
	return []Case{
		raw("gzip/half", dm.Invalid, "is truncated", packed[:len(packed)/2]),
		raw("gzip/only its magic", dm.Invalid, "is truncated", packed[:2]),
		raw("gzip/no trailer", dm.Invalid, "is truncated", packed[:len(packed)-8]),
		raw("gzip/half a trailer", dm.Invalid, "is truncated", packed[:len(packed)-3]),
		raw("gzip/wrong checksum", dm.Invalid, "checksum", wrong(8)),
		raw("gzip/wrong length", dm.Invalid, "checksum", wrong(1)),
		raw("gzip/unknown method", dm.Invalid, "corrupt", append([]byte{0x1f, 0x8b, 9}, packed[3:]...)),
		raw("gzip/damaged", dm.Invalid, "corrupt", join(packed[:10], []byte{0xff, 0xff, 0xff}, packed[10:])),
		raw("gzip/header without end", dm.Invalid, "corrupt", join([]byte{0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0}, bytes.Repeat([]byte("n"), 1<<20))),
		raw("gzip/garbage behind", dm.Invalid, "trailing data after the end of the gzip data", join(packed, []byte("garbage"))),
		raw("gzip/one byte of a member behind", dm.Invalid, "is truncated", join(packed, []byte{0x1f})),
		raw("gzip/zeros and a byte behind", dm.Invalid, "trailing data after the end of the gzip data", join(packed, make([]byte, 700), []byte{1})),
		raw("gzip/zeros and a member behind", dm.Invalid, "trailing data after the end of the gzip data", join(packed, make([]byte, 512), pack(tarball(hidden)))),
		raw("gzip/zeros and an empty member behind", dm.Invalid, "trailing data after the end of the gzip data", join(packed, []byte{0}, pack(nil))),
		raw("gzip/too many zeros behind", dm.Invalid, "65536 zero bytes", join(packed, make([]byte, 64<<10+1))),
		raw("gzip/plain tar behind", dm.Invalid, "trailing data after the end of the gzip data", join(packed, tarball(hidden))),
		raw("gzip/second archive as a member", dm.Invalid, "a second archive follows", join(packed, pack(tarball(hidden)))),
		raw("gzip/second archive behind empty members", dm.Invalid, "a second archive follows", join(packed, pack(nil), pack(nil), pack(tarball(hidden)))),
		raw("gzip/second archive behind members of padding", dm.Invalid, "a second archive follows", join(packed, pack(make([]byte, 512)), pack(make([]byte, 9728)), pack(tarball(hidden)))),
		raw("gzip/second archive split over members", dm.Invalid, "a second archive follows", join(packed, pack(tarball(hidden)[:99]), pack(tarball(hidden)[99:]))),
		raw("gzip/second archive of one member without an end", dm.Invalid, "single zero block", join(pack(join(blocks(file(Harmless, "x")), make([]byte, 512))), pack(tarball(hidden)))),
		raw("gzip/text as second member", dm.Invalid, "trailing data after the end of the archive", join(packed, pack([]byte("text")))),
		raw("gzip/too many zeros in members", dm.Invalid, "65536 zero bytes", join(packed, pack(make([]byte, 40<<10)), pack(make([]byte, 40<<10)))),
		raw("gzip/second member cut", dm.Invalid, "is truncated", join(pack(good[:700]), cut(pack(good[700:]), 9))),
		raw("gzip/second member without trailer", dm.Invalid, "is truncated", join(packed, cut(pack(nil), 8))),
		raw("gzip/second member is half a header", dm.Invalid, "is truncated", join(packed, pack(nil)[:7])),
		raw("gzip/second member is its magic", dm.Invalid, "is truncated", join(packed, pack(nil)[:2])),
		raw("gzip/second member of another method", dm.Invalid, "corrupt", join(packed, []byte{0x1f, 0x8b, 9}, pack(nil)[3:])),
		raw("gzip/wrong checksum of the first member", dm.Invalid, "checksum", join(wrong(8), pack(nil))),
		raw("gzip/wrong checksum of an empty member", dm.Invalid, "checksum", join(packed, cut(pack(nil), 8), []byte{1, 0, 0, 0, 0, 0, 0, 0})),
		raw("gzip/tar ends with the first member", dm.Invalid, "is truncated", join(pack(good[:700]), pack(nil))),
		raw("gzip/second tar behind the end", dm.Invalid, "a second archive follows", pack(join(good, tarball(hidden)))),
		raw("gzip/second tar behind padding", dm.Invalid, "a second archive follows", pack(join(padded(4096), tarball(hidden)))),
		raw("gzip/second plain tar", dm.Invalid, "a second archive follows", join(good, tarball(hidden))),
		raw("gzip/padding not zero", dm.Invalid, "trailing data after the end of the archive", pack(padded(9000, 1))),
		raw("gzip/padding too long", dm.Invalid, "65536 zero bytes", pack(padded(64<<10, 0))),
		raw("gzip/plain tar with padding not zero", dm.Invalid, "trailing data after the end of the archive", padded(9000, 1)),
		raw("gzip/plain tar with gzip behind", dm.Invalid, "trailing data after the end of the archive", join(good, packed)),
		raw("gzip/flags reserved", dm.Invalid, "", reserved(good)),
	}
}

// reserved has a gzip header whose own checksum is announced and wrong.
func reserved(tar []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(tar)
	_ = z.Close()
	b := out.Bytes()
	return join(b[:3], []byte{2}, b[4:10], []byte{0, 0}, b[10:])
}

func sizes() []Case {
	sized := func(size string) entry { return entry{name: in("large"), flag: regularFlag, size: size} }
	return []Case{
		largeCase(bad("sizes/declared 5 GiB", "at most", sized("050000000000"))),
		largeCase(bad("sizes/declared 2^62", "at most", sized("\x80\x00\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00"))),
		bad("sizes/declared 2^63", "not a number", sized("\x80\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00\x00")),
		bad("sizes/declared 2^88", "not a number", sized("\x81\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")),
		bad("sizes/negative", "negative", sized("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
		bad("sizes/negative text", "not a number", sized("-0000000001")),
		bad("sizes/not octal", "not a number", sized("00000000009")),
		bad("sizes/NUL inside", "not a number", sized("0000\x000001")),
		bad("sizes/more than there is", "is truncated", sized("00000010000")),
		bad("sizes/directory with data", "has a size", entry{name: in("d/"), flag: directoryFlag, data: "x"}),
		largeCase(bad("sizes/PAX header of 512 MiB", "extended header", entry{name: "x", flag: 'x', size: "04000000000"})),
		largeCase(bad("sizes/GNU name of 512 MiB", "extended header", entry{name: "x", flag: 'L', size: "04000000000"})),
		largeCase(bad("sizes/GNU link name of 512 MiB", "extended header", entry{name: "x", flag: 'K', size: "04000000000"})),
		largeCase(bad("sizes/global header of 512 MiB", "extended header", entry{name: "x", flag: 'g', size: "04000000000"})),
	}
}

func largeCase(c Case) Case { c.Kind = dm.TooLarge; return c }

func headers() []Case {
	change := func(at int, s string) entry {
		return entry{name: in("a"), flag: regularFlag, data: "x", change: func(b []byte) { copy(b[at:], s) }}
	}
	return []Case{
		bad("header/owner is text", "owner", change(108, "rootroot")),
		bad("header/group is text", "group", change(116, "rootroot")),
		bad("header/time is text", "time", change(136, "yesterday...")),
		bad("header/star format", "star", change(508, "tar\x00")),
		bad("header/unknown magic", "unknown header format", change(257, "ustar\n77")),
		bad("header/GNU with a prefix", "prefix", entry{name: "evil", flag: regularFlag, magic: "ustar  \x00", prefix: "etc"}),
		bad("header/checksum missing", "checksum", entry{name: in("a"), flag: regularFlag, damage: func(b []byte) { copy(b[148:156], "zzzzzzzz") }}),
		bad("header/bytes hidden in the padding", "hidden after the end", entry{name: in("a"), flag: regularFlag, data: "x", fill: func(b []byte) { b[100] = 1 }}),
	}
}

// cut is b without its last n bytes.
func cut(b []byte, n int) []byte { return b[:len(b)-n] }
