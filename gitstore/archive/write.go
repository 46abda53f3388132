package archive

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"time"
)

// Writer writes the archive of a package that did not come as one: a single
// gzip member whose bytes follow from its files alone. It does not compress:
// the archive is made for those who ask for one over REST, and what is pushed
// is kept compressed already.
type Writer struct {
	zip *gzip.Writer
	tar *tar.Writer
	top string
}

// NewWriter begins an archive whose single outer directory is top.
func NewWriter(w io.Writer, top string) (*Writer, error) {
	zip, err := gzip.NewWriterLevel(w, gzip.NoCompression)
	if err != nil {
		return nil, err
	}
	a := &Writer{zip: zip, tar: tar.NewWriter(zip), top: top + "/"}
	return a, a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: a.top, Mode: 0o755, ModTime: noTime})
}

// noTime is the time of every entry: trees of git know none.
var noTime = time.Unix(0, 0)

// File begins a file below the outer directory. Its content, of size bytes, is
// written to the Writer next. Files come in the order in which they shall stand.
func (a *Writer) File(path string, executable bool, size int64) error {
	mode := int64(0o644)
	if executable {
		mode = 0o755
	}
	return a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: a.top + path, Mode: mode, Size: size, ModTime: noTime})
}

// Write writes content of the file that File began.
func (a *Writer) Write(p []byte) (int, error) { return a.tar.Write(p) }

// Close ends the archive.
func (a *Writer) Close() error {
	if err := a.tar.Close(); err != nil {
		return err
	}
	return a.zip.Close()
}
