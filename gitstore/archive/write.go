package archive

import (
	"archive/tar"
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Member is a file of an archive that is to be made.
type Member struct {
	Path       string // below the outer directory
	Executable bool
	Size       int64 // bytes
	Copy       func(io.Writer) error
}

// noTime is the time of every entry: trees of git know none.
var noTime = time.Unix(0, 0)

// Write writes the archive of a package that did not come as one: a single gzip
// member with one outer directory, top, whose bytes follow from top and the files
// alone, whoever makes it and when. Digests of it are recorded, so what it writes
// must never change; a test holds it. It does not compress: the archive is made
// for those who ask for one over REST.
func Write(w io.Writer, top string, files []Member) error {
	zip, err := gzip.NewWriterLevel(w, gzip.NoCompression)
	if err != nil {
		return err
	}
	out := tar.NewWriter(zip)
	err = out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: top + "/", Mode: 0o755, ModTime: noTime})
	files = slices.SortedFunc(slices.Values(files), func(a, b Member) int { return strings.Compare(a.Path, b.Path) })
	for _, f := range files {
		if err != nil {
			return err
		}
		mode := int64(0o644)
		if f.Executable {
			mode = 0o755
		}
		err = out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: top + "/" + f.Path, Mode: mode, Size: f.Size, ModTime: noTime})
		if err == nil {
			err = f.Copy(out)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	if err == nil {
		err = out.Close()
	}
	if err == nil {
		err = zip.Close()
	}
	return err
}
