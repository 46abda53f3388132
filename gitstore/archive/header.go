package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// kind is what an entry is to this package.
type kind int

const (
	other kind = iota
	regular
	directory
)

// header is one entry as its header and the extended headers before it tell.
type header struct {
	name  string
	mode  int64
	size  int64
	kind  kind
	fault string // why the entry is refused though it can be read
	read  int64  // how much of the data has been consumed
}

// Fields of a header block: where they start and end.
const (
	nameEnd           = 100
	modeStart         = 100
	uidStart          = 108
	gidStart          = 116
	sizeStart         = 124
	mtimeStart        = 136
	sumStart          = 148
	typeAt            = 156
	magicStart        = 257
	prefixStart       = 345
	prefixEnd         = 500
	starTrailerStart  = 508
	numberSmall       = 8
	numberLarge       = 12
	maxExtended       = 1 << 20
	magicUstar        = "ustar\x00"
	magicGNU          = "ustar  \x00"
	typeGlobal        = 'g'
	typePAX           = 'x'
	typeGNUName       = 'L'
	typeGNULink       = 'K'
	typeRegular       = '0'
	typeRegularOld    = 0
	typeDirectory     = '5'
	trailerStarFormat = "tar\x00"
)

// extended is what extended headers said about the next entry.
type extended struct {
	pax     *records
	gnuName string
	named   bool // gnuName is set
	linked  bool // a long link name came by; links are refused anyway
}

func (e extended) empty() bool { return e == extended{} }

// next returns the next entry's header, or nil at the end marker.
func (s *stream) next() (*header, error) {
	s.pending = extended{}
	for {
		s.at = s.unpacked.read
		if err := s.full(s.block[:]); err != nil {
			return nil, err
		}
		if zero(s.block[:]) {
			return nil, s.endMarker()
		}
		b, err := parseBlock(s.block[:])
		if err != nil {
			return nil, err
		}
		switch b.flag {
		case typePAX, typeGNUName, typeGNULink:
			if err := s.extend(b); err != nil {
				return nil, err
			}
		case typeGlobal:
			if h, err := s.global(b); err != nil || h != nil {
				return h, err
			}
		default:
			return s.entry(b)
		}
	}
}

// endMarker reads the second of the two zero blocks, which some programs leave
// out.
func (s *stream) endMarker() error {
	if !s.pending.empty() {
		return malformed("unexpected end after an extended header")
	}
	n, err := s.most(s.block[:])
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return s.fault(err)
	case !zero(s.block[:n]):
		return malformed("a single zero block between entries")
	}
	return nil
}

// block is the content of one header block.
type block struct {
	flag byte
	name string
	mode int64
	size int64
}

func parseBlock(b []byte) (block, error) {
	if !sumHolds(b) {
		return block{}, malformed("header checksum mismatch")
	}
	h := block{flag: b[typeAt], name: cString(b[:nameEnd])}
	magic := string(b[magicStart : magicStart+8])
	switch {
	case strings.HasPrefix(magic, magicUstar):
		if string(b[starTrailerStart:]) == trailerStarFormat {
			return block{}, malformed("unsupported header format of star")
		}
		if prefix := cString(b[prefixStart:prefixEnd]); prefix != "" {
			h.name = prefix + "/" + h.name
		}
	case magic == magicGNU:
		// Times stand where ustar has its prefix.
		if c := b[prefixStart]; c != 0 && c != ' ' && c < 0x80 && (c < '0' || c > '7') {
			return block{}, malformed("a GNU header has a prefix")
		}
	case strings.HasPrefix(magic, "ustar"):
		return block{}, malformed("unknown header format")
	}
	numbers := [...]struct {
		into  *int64
		what  string
		field []byte
	}{
		{&h.mode, "mode", b[modeStart : modeStart+numberSmall]},
		{&h.size, "size", b[sizeStart : sizeStart+numberLarge]},
		{new(int64), "owner", b[uidStart : uidStart+numberSmall]},
		{new(int64), "group", b[gidStart : gidStart+numberSmall]},
		{new(int64), "time", b[mtimeStart : mtimeStart+numberLarge]},
	}
	for _, n := range numbers {
		v, ok := number(n.field)
		if !ok {
			return block{}, malformed("the %s of \"%s\" is not a number", n.what, shown(h.name))
		}
		*n.into = v
	}
	if h.size < 0 || h.mode < 0 {
		return block{}, malformed("the size or mode of \"%s\" is negative", shown(h.name))
	}
	return h, nil
}

// sumHolds compares the checksum with the bytes, added up as unsigned or, as
// some old programs did, signed numbers.
func sumHolds(b []byte) bool {
	want, ok := number(b[sumStart : sumStart+numberSmall])
	if !ok {
		return false
	}
	var unsigned, signed int64
	for i, c := range b {
		if i >= sumStart && i < sumStart+numberSmall {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return want == unsigned || want == signed
}

// cString is b up to the first NUL.
func cString(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// number reads octal text between spaces and NULs, or GNU's binary form.
func number(b []byte) (int64, bool) {
	if b[0]&0x80 != 0 {
		return binaryNumber(b)
	}
	text := strings.Trim(string(b), " \x00")
	if text == "" {
		return 0, true
	}
	var v int64
	for _, c := range []byte(text) {
		if c < '0' || c > '7' || v > math.MaxInt64>>3 {
			return 0, false
		}
		v = v<<3 | int64(c-'0')
	}
	return v, true
}

// binaryNumber reads a big-endian number in two's complement whose first bit
// only marks the form.
func binaryNumber(b []byte) (int64, bool) {
	fill := byte(0) // of the bytes above the lowest eight
	if b[0]&0x40 != 0 {
		fill = 0xff
	}
	var wide [16]byte
	for i := range wide {
		wide[i] = fill
	}
	copy(wide[len(wide)-len(b):], b)
	wide[len(wide)-len(b)] = b[0]&0x7f | fill&0x80
	v := int64(binary.BigEndian.Uint64(wide[8:]))
	for _, c := range wide[:8] {
		if c != fill {
			return 0, false
		}
	}
	return v, v < 0 == (fill == 0xff)
}

// body reads the data of an extended header; it is valid until the next one.
func (s *stream) body(b block) ([]byte, error) {
	if b.size > maxExtended {
		return nil, dm.Errorf(dm.TooLarge, op, "an extended header has more than %d bytes", maxExtended)
	}
	if int64(cap(s.extended)) < b.size {
		s.extended = make([]byte, b.size)
	}
	data := s.extended[:b.size]
	if err := s.full(data); err != nil {
		return nil, err
	}
	return data, s.skip(&header{name: b.name, size: b.size, read: b.size})
}

// extend reads a header that says more about the next entry.
func (s *stream) extend(b block) error {
	data, err := s.body(b)
	if err != nil {
		return err
	}
	repeated := false
	switch b.flag {
	case typePAX:
		repeated = s.pending.pax != nil
		s.pending.pax, err = parseRecords(data)
	case typeGNUName:
		repeated, s.pending.named = s.pending.named, true
		s.pending.gnuName = strings.TrimRight(string(data), "\x00")
	case typeGNULink:
		repeated, s.pending.linked = s.pending.linked, true
	}
	if err == nil && repeated {
		err = malformed("two extended headers of one kind before one entry")
	}
	return err
}

// global judges a header for all entries. What it says is never used, so only
// keys that would change an entry matter; it returns nil if there is none.
func (s *stream) global(b block) (*header, error) {
	if !s.pending.empty() {
		return nil, malformed("a global header follows an extended header")
	}
	data, err := s.body(b)
	if err != nil {
		return nil, err
	}
	r, err := parseRecords(data)
	if err != nil {
		return nil, err
	}
	if r.hasPath || r.hasSize {
		r.fault = "a global header sets the path or the size of all entries"
	}
	if r.fault == "" {
		return nil, nil
	}
	return &header{name: b.name, fault: r.fault}, nil
}

// entry joins a block with the extended headers before it.
func (s *stream) entry(b block) (*header, error) {
	h := &header{name: b.name, mode: b.mode, size: b.size}
	defer func() { s.last = h.name }()
	if s.pending.named {
		h.name = s.pending.gnuName
	}
	if r := s.pending.pax; r != nil {
		if r.hasPath && s.pending.named {
			return nil, malformed("the entry \"%s\" has two long names", shown(r.path))
		}
		if r.hasPath {
			h.name = r.path
		}
		if r.hasSize && r.size != b.size {
			return nil, malformed("the entry \"%s\" has two different sizes", shown(h.name))
		}
		h.fault = r.fault
	}
	switch b.flag {
	case typeRegular:
		h.kind = regular
	case typeRegularOld:
		h.kind = regular
		if strings.HasSuffix(h.name, "/") {
			h.kind = directory
		}
	case typeDirectory:
		h.kind = directory
	default:
		h.fault = flagFault(b.flag)
		if !hasData(b.flag) {
			h.size = 0
		}
	}
	if h.kind == directory && h.size != 0 {
		return nil, malformed("the directory \"%s\" has a size", shown(h.name))
	}
	return h, nil
}

// hasData tells whether data follows a header of a refused type, by which
// programs differ for links that name a size.
func hasData(flag byte) bool { return !strings.ContainsRune("123456", rune(flag)) }

const hardLink = "it is a hard link; only files and directories are allowed"

func flagFault(flag byte) string {
	switch flag {
	case '1':
		return hardLink
	case '2':
		return SymbolicLink
	case '3', '4':
		return "it is a device; only files and directories are allowed"
	case '6':
		return "it is a fifo; only files and directories are allowed"
	case 'S':
		return "it is a sparse file; only plain files and directories are allowed"
	}
	return fmt.Sprintf("it has the type %q; only files and directories are allowed", flag)
}
