package apihandlers

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
)

// isCoded tells whether the body of r is sent with a Content-Encoding that is
// taken; any other is 415, which says what is.
func isCoded(w http.ResponseWriter, r *http.Request) (bool, error) {
	switch encoding := r.Header.Get("Content-Encoding"); strings.ToLower(encoding) {
	case "", "identity":
		return false, nil
	case "gzip", "x-gzip":
		return true, nil
	default:
		w.Header().Set("Accept-Encoding", "gzip")
		return false, Unsupported("open body", "unsupported Content-Encoding %.50q, use gzip or none", encoding)
	}
}

// coding is a body that came with Content-Encoding: gzip.
//
// Of a JSON body that is undone. Of an archive two things are meant by it: some
// clients compress what they send once more, and some label the file's own
// compression, as the usual tables of file names have it (.tar.gz is
// application/x-tar with gzip). The archive is what the person has on the disk, so
// only what is compressed twice is expanded, once.
type coding struct {
	sent    io.Reader
	archive bool
	out     io.Reader // nil until the first Read: making a gzip.Reader reads
}

// codingHead is how much is looked at to tell once from twice: more than the
// first bytes of a compressed stream can take.
const codingHead = 4 << 10

func (c *coding) Read(p []byte) (int, error) {
	if c.out == nil {
		if err := c.open(); err != nil {
			return 0, err
		}
	}
	return c.out.Read(p)
}

func (c *coding) open() error {
	in := bufio.NewReaderSize(c.sent, codingHead)
	head, err := in.Peek(codingHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if c.archive && !isTwiceCompressed(head) {
		c.out = in
		return nil
	}
	z, err := gzip.NewReader(in)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF // an empty body is not an empty gzip stream
	}
	if err == nil {
		c.out = z
	}
	return err
}

// isTwiceCompressed tells whether gzip begins in gzip.
func isTwiceCompressed(head []byte) bool {
	outer, err := gzip.NewReader(bytes.NewReader(head))
	if err != nil {
		return false
	}
	magic := make([]byte, 2)
	_, err = io.ReadFull(outer, magic)
	return err == nil && magic[0] == 0x1f && magic[1] == 0x8b
}
