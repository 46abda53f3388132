package archive

import (
	"archive/tar"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
)

// Writer writes the archive of a package that did not come as one: a single
// gzip member whose bytes follow from its files alone.
type Writer struct {
	zip *gzip.Writer
	tar *tar.Writer
	top string
}

var _ Sink = (*Writer)(nil)

// NewWriter begins an archive whose single outer directory is top.
func NewWriter(w io.Writer, top string) (*Writer, error) {
	zip, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	a := &Writer{zip: zip, tar: tar.NewWriter(zip), top: top + "/"}
	return a, a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: a.top, Mode: 0o755, ModTime: noTime})
}

// noTime is the time of every entry: trees of git know none.
var noTime = time.Unix(0, 0)

// File implements Sink. Files come in the order in which they shall stand.
func (a *Writer) File(path string, executable bool, size int64, r io.Reader) error {
	mode := int64(0o644)
	if executable {
		mode = 0o755
	}
	if err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: a.top + path, Mode: mode, Size: size, ModTime: noTime}); err != nil {
		return err
	}
	_, err := io.Copy(a.tar, r)
	return err
}

// Close ends the archive.
func (a *Writer) Close() error {
	if err := a.tar.Close(); err != nil {
		return err
	}
	return a.zip.Close()
}
