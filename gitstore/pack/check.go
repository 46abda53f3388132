package pack

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"

	dm "github.com/pndaproject/deployment-manager"
)

// Broken is what the bytes of a pack or of an index prove to be wrong.
type Broken string

func (b Broken) Error() string { return string(b) }

// Check reads a pack and its index to their last byte and compares them with
// the checksums at their ends. errors.As Broken, named by file: the bytes are
// wrong. Any other error says that they could not be read.
func Check(packPath string) (file string, err error) {
	const op = "pack.Check"
	index := indexPath(packPath)
	named, err := checkIndex(index)
	if err != nil {
		return index, dm.Wrap(op, err)
	}
	sum, err := checkPack(packPath)
	if err == nil && !bytes.Equal(sum, named) {
		return index, dm.Wrap(op, Broken("it is the index of another pack"))
	}
	return packPath, dm.Wrap(op, err)
}

// CheckAlone is Check of a pack without an index.
func CheckAlone(packPath string) error {
	_, err := checkPack(packPath)
	return dm.Wrap("pack.CheckAlone", err)
}

func checkPack(path string) (sum []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	return checksum(f, HeaderSize, "PACK")
}

// checkIndex returns the checksum of the pack that the index is of.
func checkIndex(path string) (pack []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	if _, err := checksum(f, indexHeader+fanoutSize+TrailerSize, "\xfftOc"); err != nil {
		return nil, err
	}
	pack = make([]byte, TrailerSize)
	info, err := f.Stat()
	if err == nil {
		_, err = f.ReadAt(pack, info.Size()-2*TrailerSize)
	}
	return pack, err
}

// checksum compares the last bytes of a file with the sum of those before.
func checksum(f *os.File, least int64, magic string) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() < least+TrailerSize {
		return nil, Broken(fmt.Sprintf("it is truncated after %d bytes", info.Size()))
	}
	sum := sha1.New()
	body := info.Size() - TrailerSize
	if n, err := io.CopyBuffer(sum, struct{ io.Reader }{io.NewSectionReader(f, 0, body)}, make([]byte, chunkSize)); err != nil {
		return nil, err
	} else if n != body {
		return nil, io.ErrUnexpectedEOF // it shrank while it was read
	}
	ends := make([]byte, TrailerSize+len(magic))
	if _, err := f.ReadAt(ends[:TrailerSize], body); err != nil {
		return nil, err
	}
	if _, err := f.ReadAt(ends[TrailerSize:], 0); err != nil {
		return nil, err
	}
	if !bytes.Equal(sum.Sum(nil), ends[:TrailerSize]) {
		return nil, Broken("checksum mismatch")
	}
	if string(ends[TrailerSize:]) != magic {
		return nil, Broken("bad signature")
	}
	return ends[:TrailerSize], nil
}

// IsBroken tells whether err is of bytes that are wrong.
func IsBroken(err error) bool {
	var b Broken
	return errors.As(err, &b)
}
