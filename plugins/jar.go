package plugins

import (
	"archive/zip"
	"errors"
	"io"
	"os"

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

// Spool keeps what f gives in a file that has no name, so that it can be read at any
// place without being held in memory. dir is a folder for such files.
func Spool(dir string, f io.Reader) (_ *os.File, size int64, err error) {
	const op = "plugins.Spool"
	file, err := os.CreateTemp(dir, "spool-*")
	if err != nil {
		return nil, 0, dm.Wrap(op, err)
	}
	if err = os.Remove(file.Name()); err == nil {
		size, err = io.Copy(file, f)
	}
	if err != nil {
		return nil, 0, dm.Wrap(op, errors.Join(err, file.Close()))
	}
	return file, size, nil
}
