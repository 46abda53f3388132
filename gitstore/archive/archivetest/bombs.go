package archivetest

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// Bombs returns archives that are refused under the limits Wire, Unpacked,
// File and Entries. They are made while they are read, in little memory.
func Bombs() []Case {
	const gib = 1 << 30
	declared := func(name string, size int64) []byte {
		return entry{name: in(name), flag: regularFlag, size: fmt.Sprintf("%011o", size)}.block()
	}
	good := blocks(file(Harmless, "fine\n"))
	half := int64(File / 2)
	return []Case{
		bomb("bomb/1 GiB of zeros in one file", dm.TooLarge, "at most 8388608", good, declared("zeros", gib), zeros(gib)),
		bomb("bomb/1 GiB of zeros in many files", dm.TooLarge, "unpacks to more than", good, many(gib/half, half, declared)),
		bomb("bomb/1 GiB behind the end", dm.Invalid, "zero bytes follow the end", good, zeros(gib)),
		bomb("bomb/1 GiB in a link nobody reads", dm.TooLarge, "at most", good,
			entry{name: in("l"), flag: 'M', size: fmt.Sprintf("%011o", gib)}.block(), zeros(gib)),
		bomb("bomb/PAX header of 512 MiB", dm.TooLarge, "extended header", good,
			entry{name: "x", flag: 'x', size: fmt.Sprintf("%011o", gib/2)}.block(), zeros(gib/2)),
		bomb("bomb/many global headers", dm.TooLarge, "unpacks to more than", good, repeat(100, blocks(global("comment="+strings.Repeat("c", 1<<20-20))))),
		bomb("bomb/too many files", dm.TooLarge, "more than 1000 files", empties(Entries)),
		bomb("bomb/too many directories implied", dm.TooLarge, "more than 1000 files", deep(Entries/16)),
		{Name: "bomb/too many bytes on the wire", Kind: dm.TooLarge, Text: "more than 4194304 bytes", Open: func() io.Reader {
			return io.MultiReader(bytes.NewReader(good), bytes.NewReader(declared("noise", half)), io.LimitReader(forever{'x'}, half),
				bytes.NewReader(declared("more", half)), forever{'x'})
		}},
		{Name: "bomb/members without content for ever", Kind: dm.Invalid, Text: "almost all of them empty", Open: func() io.Reader {
			return io.MultiReader(bytes.NewReader(pack(good)), &repeated{pieces: []piece{{nil, 1 << 40}}, packed: pack(nil)})
		}},
		{Name: "bomb/members of a byte for ever", Kind: dm.Invalid, Text: "almost all of them empty", Open: func() io.Reader {
			return io.MultiReader(bytes.NewReader(pack(join(good, declared("large", half)))), &repeated{pieces: []piece{{nil, 1 << 40}}, packed: pack([]byte("x"))})
		}},
		{Name: "bomb/1 GiB in many members", Kind: dm.TooLarge, Text: "unpacks to more than", Open: func() io.Reader {
			var parts []io.Reader
			zeros := pack(make([]byte, 1<<20))
			for i := range int64(gib) / half {
				parts = append(parts, bytes.NewReader(pack(declared(fmt.Sprintf("zeros%d", i), half))),
					&repeated{pieces: []piece{{nil, half >> 20}}, packed: zeros})
			}
			return io.MultiReader(parts...)
		}},
		{Name: "bomb/members whose names are long", Kind: dm.Invalid, Text: "gzip", Open: func() io.Reader {
			named := join([]byte{0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255}, bytes.Repeat([]byte("n"), 1<<20))
			return io.MultiReader(bytes.NewReader(pack(good)), bytes.NewReader(named), forever{'n'})
		}},
		{Name: "bomb/no end on the wire", Kind: dm.Invalid, Text: "the body is text", Open: func() io.Reader { return forever{'x'} }},
		{Name: "bomb/zeros for ever", Kind: dm.Invalid, Text: "zero bytes follow the end", Open: func() io.Reader { return forever{0} }},
	}
}

// forever repeats one byte.
type forever struct{ c byte }

func (f forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = f.c
	}
	return len(p), nil
}

// piece is bytes that come so many times one after another.
type piece struct {
	b     []byte
	times int64
}

func zeros(n int64) []piece { return []piece{{make([]byte, 1<<16), n >> 16}} }

func repeat(n int64, b []byte) []piece { return []piece{{b, n}} }

// many are n files of size zeros each.
func many(n, size int64, declared func(string, int64) []byte) []piece {
	var list []piece
	content := zeros(size)
	for i := range n {
		list = append(append(list, piece{declared(fmt.Sprintf("zeros%d", i), size), 1}), content...)
	}
	return list
}

func empties(n int) []byte {
	var list []entry
	for i := range n {
		list = append(list, file(in(fmt.Sprintf("f%d", i)), ""))
	}
	return blocks(list...)
}

func deep(n int) []byte {
	var list []entry
	for i := range n {
		list = append(list, file(in(fmt.Sprintf("d%d/%sf", i, strings.Repeat("d/", 20))), ""))
	}
	return blocks(list...)
}

// bomb is a gzip of parts, each []byte or []piece. Every piece is compressed
// once, from an empty window, so that its compressed form can be repeated. The
// gzip trailer is not right: nobody may come that far.
func bomb(name string, kind dm.Kind, text string, parts ...any) Case {
	open := func() io.Reader {
		readers := []io.Reader{bytes.NewReader([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})}
		for _, part := range parts {
			list, ok := part.([]piece)
			if !ok {
				b, _ := part.([]byte)
				list = repeat(1, b)
			}
			readers = append(readers, &repeated{pieces: list})
		}
		return io.MultiReader(append(readers, bytes.NewReader([]byte{1, 0, 0, 0xff, 0xff}))...)
	}
	return Case{Name: name, Open: open, Kind: kind, Text: text}
}

// repeated reads the compressed form of pieces.
type repeated struct {
	pieces []piece
	done   int64  // times that the first piece was read
	packed []byte // the first piece, nil before it is read
	rest   []byte
}

func (r *repeated) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		switch {
		case len(r.pieces) == 0:
			return 0, io.EOF
		case r.done == r.pieces[0].times:
			r.pieces, r.packed, r.done = r.pieces[1:], nil, 0
			continue
		case r.packed == nil:
			r.packed = deflated(r.pieces[0].b)
		}
		r.done++
		r.rest = r.packed
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// deflated compresses b so that the result can stand inside a stream. Writing
// to memory cannot fail.
func deflated(b []byte) []byte {
	var out bytes.Buffer
	z, _ := flate.NewWriter(&out, flate.BestSpeed)
	_, _ = z.Write(b)
	_ = z.Flush()
	return out.Bytes()
}
