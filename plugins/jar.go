package plugins

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"os"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

const (
	propertiesEntry = "application.properties"

	jarEntries   = 100_000  // of a jar, at most: its directory is held in memory
	jarDirectory = 16 << 20 // bytes of that directory, at most
)

// FilledJar writes a jar with application.properties in it, in the place of the one
// that it may have, as PNDA did by `jar uf`. All other entries are copied as they
// are stored, manifest and signatures too, and nothing depends on the time or the
// machine: the same jar and properties give the same bytes. The error of what is no
// jar is Invalid. Of a jar its directory is held in memory, which is bounded.
func FilledJar(w io.Writer, jar io.ReaderAt, size int64, properties []byte) error {
	const op = "plugins.FilledJar"
	source, target := &jarSource{jar: jar}, &jarTarget{to: w}
	err := fillJar(zip.NewWriter(target), source, size, properties)
	var said *dm.Error
	switch {
	case target.err != nil:
		return dm.Wrap(op, target.err)
	case source.err != nil:
		return dm.Wrap(op, source.err)
	case err == nil || errors.As(err, &said):
		return dm.Wrap(op, err)
	}
	return dm.Errorf(dm.Invalid, op, "not a jar: %s", strings.TrimPrefix(err.Error(), "zip: ")).Because(err)
}

func fillJar(out *zip.Writer, source *jarSource, size int64, properties []byte) error {
	in, err := openJar(source, size)
	if err != nil {
		return err
	}
	if err := out.SetComment(in.Comment); err != nil {
		return err
	}
	for _, f := range in.File {
		if f.Name == propertiesEntry {
			continue
		}
		if err := copyEntry(out, f); err != nil {
			return dm.Errorf(dm.Invalid, "plugins.copyEntry", "the entry %q of the jar can't be copied: %s", dm.Printable(f.Name), strings.TrimPrefix(err.Error(), "zip: ")).Because(err)
		}
	}
	if err := addEntry(out, propertiesEntry, properties); err != nil {
		return err
	}
	return out.Close()
}

// openJar reads the directory of a jar. Entries that lie in one place would make the
// copy larger than any limit on jars.
func openJar(source *jarSource, size int64) (*zip.Reader, error) {
	const op = "plugins.openJar"
	if err := checkClaims(source, size); err != nil {
		return nil, err
	}
	source.left, source.bounded = jarDirectory, true
	in, err := zip.NewReader(source, size)
	source.bounded = false
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // nothing is written by the names
		return nil, err
	}
	if len(in.File) > jarEntries {
		return nil, tooMany(uint64(len(in.File)))
	}
	left := uint64(size)
	for _, f := range in.File {
		if f.CompressedSize64 > left {
			return nil, dm.Errorf(dm.Invalid, op, "the entries of the jar have more bytes than the jar, the first that is too much is %q", dm.Printable(f.Name))
		}
		left -= f.CompressedSize64
	}
	return in, nil
}

// checkClaims refuses a jar that says in a record at its end, which those of more than
// 65,535 entries have, that it has more than are taken: the reader makes room for all
// before it reads one.
func checkClaims(jar io.ReaderAt, size int64) error {
	const (
		tailBytes                 = 65<<10 + 20 // in which the reader looks
		locator, locatorBytes     = "PK\x06\x07", 20
		record, countAt, countEnd = "PK\x06\x06", 32, 40
	)
	tail := make([]byte, min(size, tailBytes))
	if _, err := jar.ReadAt(tail, size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for rest := tail; ; rest = rest[len(locator):] {
		at := bytes.Index(rest, []byte(locator))
		if at < 0 || len(rest)-at < locatorBytes {
			return nil
		}
		rest = rest[at:]
		head := make([]byte, countEnd)
		if _, err := jar.ReadAt(head, int64(binary.LittleEndian.Uint64(rest[8:]))); err != nil || string(head[:len(record)]) != record {
			continue
		}
		if n := binary.LittleEndian.Uint64(head[countAt:]); n > jarEntries {
			return tooMany(n)
		}
	}
}

func tooMany(entries uint64) error {
	return dm.Errorf(dm.Invalid, "plugins.openJar", "the jar has %d entries, at most %d are taken", entries, jarEntries)
}

// copyEntry copies one entry as it is stored.
func copyEntry(out *zip.Writer, f *zip.File) error {
	const dataDescriptor = 0x8 // flag: sizes stand behind the content
	header := f.FileHeader
	if strings.HasSuffix(f.Name, "/") { // nothing, which some tools compress
		if header.UncompressedSize64 > 0 {
			return errors.New("it is a folder and has content")
		}
		header.Method, header.CompressedSize64, header.CRC32, header.Flags = zip.Store, 0, 0, header.Flags&^dataDescriptor
		_, err := out.CreateRaw(&header)
		return err
	}
	if header.UncompressedSize64 >= math.MaxUint32 { // its sizes would be written twice
		return errors.New("it has 4 GiB or more")
	}
	content, err := f.OpenRaw()
	if err != nil {
		return err
	}
	entry, err := out.CreateRaw(&header)
	if err != nil {
		return err
	}
	n, err := io.Copy(entry, content)
	if err == nil && uint64(n) != f.CompressedSize64 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// addEntry stores content as it is: compressed, its bytes could be others with another
// version of Go, and Java reads no stored entry whose size stands behind it.
func addEntry(out *zip.Writer, name string, content []byte) error {
	const version = 20 // of the format, as all tools write it
	entry, err := out.CreateRaw(&zip.FileHeader{
		Name: name, Method: zip.Store, CreatorVersion: version, ReaderVersion: version,
		CRC32: crc32.ChecksumIEEE(content), CompressedSize64: uint64(len(content)), UncompressedSize64: uint64(len(content)),
	})
	if err == nil {
		_, err = entry.Write(content)
	}
	return err
}

// jarSource is a jar as it is read. It tells a fault of the machine from one of the
// jar, and bounds what is read while the directory is.
type jarSource struct {
	jar     io.ReaderAt
	bounded bool
	left    int // bytes that may be read while bounded
	err     error
}

func (s *jarSource) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	if s.bounded {
		if s.left -= len(p); s.left < 0 {
			return 0, dm.Errorf(dm.Invalid, "plugins.openJar", "the directory of the jar has more than %d MiB", jarDirectory>>20)
		}
	}
	n, err := s.jar.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// jarTarget remembers why writing failed.
type jarTarget struct {
	to  io.Writer
	err error
}

func (t *jarTarget) Write(p []byte) (n int, err error) {
	n, err = t.to.Write(p)
	if err != nil {
		t.err = err
	}
	return n, err
}

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
