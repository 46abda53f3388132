package archive

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// storedGzip writes one gzip member of stored blocks: its bytes follow from the
// content alone and not from the version of a compressor, and so does their
// number. See RFC 1951, 3.2.4, and RFC 1952, 2.3.
type storedGzip struct {
	w     io.Writer
	block []byte // header and what there is of its content
	crc   uint32
	size  uint32 // modulo 2^32
}

const (
	storedHeader = 5
	storedBlock  = 65535
)

// gzipHeader names deflate, no time and no system.
var gzipHeader = [10]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}

func newStoredGzip(w io.Writer) (*storedGzip, error) {
	g := &storedGzip{w: w, block: make([]byte, storedHeader, storedHeader+storedBlock)}
	_, err := w.Write(gzipHeader[:])
	return g, err
}

func (g *storedGzip) Write(p []byte) (int, error) {
	g.crc = crc32.Update(g.crc, crc32.IEEETable, p)
	g.size += uint32(len(p))
	written := len(p)
	for len(p) > 0 {
		if len(g.block) == cap(g.block) { // more follows, so it is not the last
			if err := g.flush(0); err != nil {
				return 0, err
			}
		}
		n := min(len(p), cap(g.block)-len(g.block))
		g.block = append(g.block, p[:n]...)
		p = p[n:]
	}
	return written, nil
}

// flush writes the block; last is 1 for the last one and else 0.
func (g *storedGzip) flush(last byte) error {
	g.block[0] = last
	n := uint16(len(g.block) - storedHeader)
	binary.LittleEndian.PutUint16(g.block[1:], n)
	binary.LittleEndian.PutUint16(g.block[3:], ^n)
	_, err := g.w.Write(g.block)
	g.block = g.block[:storedHeader]
	return err
}

// Close ends the member.
func (g *storedGzip) Close() error {
	if err := g.flush(1); err != nil {
		return err
	}
	trailer := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, g.crc), g.size)
	_, err := g.w.Write(trailer)
	return err
}
