package archivetest

import (
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// mistakes are bodies that people send in place of a gzipped tar, which must be
// told by their own names.
func mistakes() []Case {
	noise := strings.Repeat("\x01\x80\x00\xfe", 300)
	form := "--------------------------d1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.tgz\"\r\n" +
		"Content-Type: application/octet-stream\r\n\r\n" + string(Tgz(Package())) + "\r\n--------------------------d1--\r\n"
	var cases []Case
	for _, c := range []struct{ name, text, body string }{
		{"zip", "the body is a zip file; make the archive with: tar -czf", "PK\x03\x04" + noise},
		{"empty zip", "a zip file", "PK\x05\x06" + strings.Repeat("\x00", 18)},
		{"split zip", "a zip file", "PK\x07\x08" + noise},
		{"bzip2", "compressed with bzip2, not with gzip", "BZh91AY&SY" + noise},
		{"xz", "compressed with xz", "\xfd7zXZ\x00" + noise},
		{"zstd", "compressed with zstd", "\x28\xb5\x2f\xfd" + noise},
		{"lz4", "compressed with lz4", "\x04\x22\x4d\x18" + noise},
		{"lzip", "compressed with lzip", "LZIP\x01" + noise},
		{"lzma", "compressed with lzma", "\x5d\x00\x00\x80\x00" + noise},
		{"compress", "compressed with compress", "\x1f\x9d\x90" + noise},
		{"7z", "a 7z file", "7z\xbc\xaf\x27\x1c" + noise},
		{"rar", "a rar file", "Rar!\x1a\x07\x01\x00" + noise},
		{"cpio", "a cpio archive", "070701" + strings.Repeat("0", 104) + "a\x00"},
		{"Debian package", "an ar archive", "!<arch>\ndebian-binary   " + noise},
		{"RPM package", "an RPM package", "\xed\xab\xee\xdb\x03\x00" + noise},
		{"PDF", "a PDF document", "%PDF-1.7\n" + noise},
		{"curl -F", "the body is a form (multipart/form-data), as curl -F sends it, not a tar archive; send the file's own bytes: curl --upload-file", form},
		{"curl -d without @", `the body is the name of a file, "flow-1.0.0.tar.gz"`, "flow-1.0.0.tar.gz"},
		{"curl -d of a path", "the name of a file", "/home/ana/My packages/flow-1.0.0.tgz\n"},
		{"curl -d of fields", "application/x-www-form-urlencoded", "file=flow&user=ana"},
		{"JSON", "the body is JSON text, not a tar archive", ` {"package": "flow-1.0.0"}`},
		{"JSON with a mark", "JSON text", "\ufeff[1]"},
		{"notebook", "JSON text", "{\n \"cells\": [],\n" + strings.Repeat(" \"é\": 1,\n", 200)},
		{"HTML", "the body is an HTML page, not a tar archive; it may be a sign-in page", "\n<!doctype html><title>404</title>"},
		{"HTML without a type", "an HTML page", "<html>"},
		{"XML", "the body is XML", `<?xml version="1.0"?><Error/>`},
		{"pointer of Git LFS", "a Git LFS pointer, not a tar archive; get the file itself with", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"},
		{"one line", `the body is text, not a tar archive; it begins with "hello"`, "hello"},
		{"many letters", "the body is text", strings.Repeat("数", 1000)},
	} {
		cases = append(cases, raw("mistake/"+c.name, dm.Invalid, c.text, []byte(c.body)),
			raw("mistake/"+c.name+" in gzip", dm.Invalid, "the content of the gzip is", pack([]byte(c.body))))
	}
	return append(cases, raw("mistake/gzip twice", dm.Invalid, "the content of the gzip is another gzip", pack(pack(tarball(file(Harmless, "x"))))))
}
