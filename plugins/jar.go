package plugins

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"io/fs"

	dm "github.com/pndaproject/deployment-manager"
)

// jarEntries is how many entries of a jar are copied: its directory is held in memory.
const jarEntries = 100_000

// FilledJar writes a jar with application.properties in it, in the place of the one
// that it may have, as PNDA did by `jar uf`. All other entries are copied as they
// are, and nothing depends on the time or the machine: the same jar and properties
// give the same bytes. The error of what is no jar is Invalid.
func FilledJar(w io.Writer, jar io.ReaderAt, size int64, properties []byte) error {
	const op = "plugins.FilledJar"
	in, err := zip.NewReader(jar, size)
	switch {
	case errors.Is(err, zip.ErrFormat) || errors.Is(err, zip.ErrAlgorithm) || errors.Is(err, zip.ErrChecksum):
		return dm.Errorf(dm.Invalid, op, "not a jar: its directory can't be read").Because(err)
	case err != nil && !errors.Is(err, zip.ErrInsecurePath): // nothing is written by the names
		return dm.Wrap(op, err)
	case len(in.File) > jarEntries:
		return dm.Errorf(dm.Invalid, op, "a jar of %d entries, at most %d are taken", len(in.File), jarEntries)
	}
	out := zip.NewWriter(w)
	for _, f := range in.File {
		if f.Name == propertiesEntry {
			continue
		}
		if err := out.Copy(f); err != nil {
			return dm.Errorf(dm.Invalid, op, "the entry %q of the jar can't be read", dm.Printable(f.Name)).Because(err)
		}
	}
	entry, err := out.CreateHeader(&zip.FileHeader{Name: propertiesEntry, Method: zip.Store})
	if err == nil {
		_, err = entry.Write(properties)
	}
	return dm.Wrap(op, errors.Join(err, out.Close()))
}

const propertiesEntry = "application.properties"

// ReaderAt makes of a file what FilledJar reads. A file that can't be read at any
// place is held in memory as a whole, so that most bounds it.
func ReaderAt(f io.Reader, most int64) (io.ReaderAt, int64, error) {
	type sized interface {
		io.ReaderAt
		Stat() (fs.FileInfo, error)
	}
	if at, ok := f.(sized); ok {
		info, err := at.Stat()
		if err != nil {
			return nil, 0, err
		}
		return at, info.Size(), nil
	}
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(content)) > most {
		err = dm.Errorf(dm.TooLarge, "plugins.ReaderAt", "the file has more than %d bytes", most)
	}
	if err != nil {
		return nil, 0, err
	}
	return bytes.NewReader(content), int64(len(content)), nil
}
