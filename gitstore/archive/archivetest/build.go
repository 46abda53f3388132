package archivetest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Tgz makes a package of files, by path with the outer directory. The same
// files give the same bytes. Paths that end in ".sh" are executable.
func Tgz(files map[string]string) []byte { return pack(Tar(files)) }

// Tar is Tgz without compression.
func Tar(files map[string]string) []byte {
	var list []entry
	for _, path := range slices.Sorted(maps.Keys(files)) {
		e := file(path, files[path])
		if strings.HasSuffix(path, ".sh") {
			e.mode = 0o755
		}
		if len(path) > 100 {
			list = append(list, gnuName(path))
			e.name = path[:100]
		}
		list = append(list, e)
	}
	return tarball(list...)
}

// entry is one header block with its data. Zero fields mean those of a plain
// file.
type entry struct {
	name   string
	prefix string
	flag   byte
	mode   int64
	data   string
	size   string         // field as written, instead of the length of data
	magic  string         // "ustar\x0000" if empty
	change func(b []byte) // of the block, before its checksum
	damage func(b []byte) // of the block, after its checksum
	fill   func(b []byte) // of the bytes that fill the last block of data
}

const regularFlag, directoryFlag = '0', '5'

func file(name, data string) entry { return entry{name: name, flag: regularFlag, data: data} }

func dir(name string) entry { return entry{name: name, flag: directoryFlag, mode: 0o755} }

func gnuName(name string) entry {
	return entry{name: "././@LongLink", flag: 'L', data: name + "\x00", magic: "ustar  \x00"}
}

// pax makes an extended header of "key=value" texts.
func pax(records ...string) entry {
	return entry{name: "PaxHeaders/x", flag: 'x', data: paxData(records...)}
}

func global(records ...string) entry {
	return entry{name: "pax_global_header", flag: 'g', data: paxData(records...)}
}

func paxData(records ...string) string {
	var b strings.Builder
	for _, r := range records {
		n := len(r) + 2
		for len(strconv.Itoa(n))+len(r)+2 != n {
			n = len(strconv.Itoa(n)) + len(r) + 2
		}
		fmt.Fprintf(&b, "%d %s\n", n, r)
	}
	return b.String()
}

// block is the header block of e.
func (e entry) block() []byte {
	b := make([]byte, 512)
	if e.mode == 0 {
		e.mode = 0o644
	}
	if e.size == "" {
		e.size = fmt.Sprintf("%011o", len(e.data))
	}
	if e.magic == "" {
		e.magic = "ustar\x0000"
	}
	copy(b[:100], e.name)
	copy(b[100:], fmt.Sprintf("%07o", e.mode))
	copy(b[108:], "0000000")
	copy(b[116:], "0000000")
	copy(b[124:136], e.size)
	copy(b[136:], "14712345670")
	b[156] = e.flag
	copy(b[257:], e.magic)
	copy(b[345:500], e.prefix)
	if e.change != nil {
		e.change(b)
	}
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	if e.damage != nil {
		e.damage(b)
	}
	return b
}

// blocks is a tar without its end.
func blocks(entries ...entry) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		b.Write(e.block())
		b.WriteString(e.data)
		padding := make([]byte, -len(e.data)&511)
		if e.fill != nil {
			e.fill(padding)
		}
		b.Write(padding)
	}
	return b.Bytes()
}

func tarball(entries ...entry) []byte { return append(blocks(entries...), make([]byte, 1024)...) }

// pack compresses as one gzip member. Writing to memory cannot fail.
func pack(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(b)
	_ = z.Close()
	return out.Bytes()
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
