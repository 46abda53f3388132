package archive

import (
	"bytes"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	dm "github.com/pndaproject/deployment-manager"
)

const gzipMagic = "\x1f\x8b"

// What a person can do.
const (
	hintMake  = "make the archive with: tar -czf <name>-<x.y.z>.tar.gz <name>-<x.y.z>"
	hintSend  = "send the archive's own bytes with: curl --upload-file <file> <address>"
	hintCheck = "try it with: tar -tzf <file>; if tar can read it, send it again with: curl --upload-file <file> <address>"
)

// formats are files that people take for a gzipped tar, by their first bytes.
var formats = [...]struct{ magic, name string }{
	{"PK\x03\x04", "a zip file"}, {"PK\x05\x06", "a zip file"}, {"PK\x07\x08", "a zip file"},
	{"BZh", "compressed with bzip2, not with gzip"}, {"\xfd7zXZ\x00", "compressed with xz, not with gzip"},
	{"\x28\xb5\x2f\xfd", "compressed with zstd, not with gzip"}, {"\x04\x22\x4d\x18", "compressed with lz4, not with gzip"},
	{"LZIP", "compressed with lzip, not with gzip"}, {"\x5d\x00\x00", "compressed with lzma, not with gzip"},
	{"\x1f\x9d", "compressed with compress, not with gzip"},
	{"7z\xbc\xaf\x27\x1c", "a 7z file"}, {"Rar!\x1a\x07", "a rar file"}, {"!<arch>\n", "an ar archive, such as a Debian package"},
	{"070701", "a cpio archive"}, {"070702", "a cpio archive"}, {"070707", "a cpio archive"}, {"\xc7\x71", "a cpio archive"},
	{"\xed\xab\xee\xdb", "an RPM package"}, {"%PDF-", "a PDF document"},
	{gzipMagic, "another gzip"},
}

// foreign tells what head, the first block or less of what, is if it is not the
// beginning of a tar. It is nil also for what it does not know: the reader of
// the tar tells then what is missing.
func foreign(what string, head []byte) error {
	if len(head) == blockSize && (sumHolds(head) || zero(head)) {
		return nil // also when the first file is called BZh
	}
	for _, f := range formats {
		if bytes.HasPrefix(head, []byte(f.magic)) {
			return dm.Errorf(dm.Invalid, op, "%s is %s", what, f.name).WithHint(hintMake)
		}
	}
	if name, hint := dm.Mistaken(head); name != "" {
		if hint == "" {
			hint = hintSend
		}
		return dm.Errorf(dm.Invalid, op, "%s is %s, not a tar archive", what, name).WithHint("%s", hint)
	}
	text, isText := plainText(head)
	switch {
	case !isText:
		return nil
	case isFileName(text):
		return dm.Errorf(dm.Invalid, op, "%s is the name of a file, \"%s\", not the file", what, shown(text)).
			WithHint("curl --data-binary needs an @ before the name; better: curl --upload-file <file> <address>")
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["):
		return dm.Errorf(dm.Invalid, op, "%s is JSON text, not a tar archive", what).WithHint(hintSend)
	}
	return dm.Errorf(dm.Invalid, op, "%s is text, not a tar archive; it begins with \"%s\"", what, shown(firstLine(text))).WithHint(hintSend)
}

// plainText is head without what surrounds a text, if it is one. A rune that is
// cut at its end is none of it.
func plainText(head []byte) (string, bool) {
	for range utf8.UTFMax - 1 {
		if r, size := utf8.DecodeLastRune(head); r != utf8.RuneError || size != 1 || len(head) < blockSize/2 {
			break
		}
		head = head[:len(head)-1]
	}
	text := string(bytes.TrimPrefix(head, []byte("\ufeff")))
	odd := func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\r\n\f", r) }
	return strings.TrimSpace(text), utf8.ValidString(text) && !strings.ContainsFunc(text, odd)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	const most = 40
	if runes := []rune(line); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return strings.TrimSpace(line)
}

// isFileName tells the body of a curl call in which the @ was forgotten.
func isFileName(text string) bool {
	return !strings.Contains(text, "\n") && (path.Ext(text) == ".tgz" || path.Ext(text) == ".tar" || strings.HasSuffix(text, ".tar.gz"))
}
