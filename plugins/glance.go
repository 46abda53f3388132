package plugins

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// glance is what a file holds, found without holding it.
type glance struct {
	size    int64 // bytes
	most    int64 // bytes of the filled text, if that is all of UTF-8: at most so many
	named   bool  // UTF-8, and the name of a variable follows a '$' in it
	foreign bool  // text in another encoding that refers to a variable
}

// glanceAt looks through all that r gives. It holds no more of it than buf,
// which must have room for a few runes.
func glanceAt(r io.Reader, v values, buf []byte) (g glance, err error) {
	f := finder{values: v}
	text, binary := true, false
	for kept, first := 0, true; ; first = false {
		n, err := io.ReadFull(r, buf[kept:])
		g.size += int64(n)
		n += kept
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return glance{}, err
		}
		if first {
			f.wide = isWide(buf[:n])
			binary = !f.wide && isBinary(buf[:n])
		}
		whole := n
		if text && !last {
			whole -= partialRune(buf[:n])
		}
		text = text && utf8.Valid(buf[:whole])
		if !text && binary {
			return g, nil
		}
		f.write(buf[:whole])
		if last {
			f.close()
			g.most, g.named, g.foreign = g.size+f.more, text && f.named, !text && f.refers
			return g, nil
		}
		kept = copy(buf, buf[whole:n])
	}
}

// isBinary tells what is not text, by git's rule: a NUL near the beginning.
func isBinary(head []byte) bool {
	const near = 8000
	return bytes.IndexByte(head[:min(len(head), near)], 0) >= 0
}

// isWide tells whether a mark says that characters have two bytes or four.
func isWide(head []byte) bool {
	return bytes.HasPrefix(head, []byte("\xff\xfe")) || bytes.HasPrefix(head, []byte("\xfe\xff")) || bytes.HasPrefix(head, []byte("\x00\x00\xfe\xff"))
}

// partialRune is the number of bytes at the end of b that start a rune which b
// does not hold whole.
func partialRune(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if tail := b[len(b)-i:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return i
		}
	}
	return 0
}

// place is where in a possible reference the finder is.
type place int

const (
	inText      place = iota
	afterDollar       // $
	inBraces          // ${na
	inName            // $na
)

// finder looks for the names of variables after a '$' in text that comes in
// pieces of any size.
type finder struct {
	values values
	wide   bool // NULs are parts of characters and passed over
	place  place
	name   []byte
	before byte // the one before the '$'
	last   byte
	named  bool  // a name was there, whether it counts or not
	refers bool  // one that counts, as far as bytes tell
	more   int64 // bytes that all values take beyond their references, in their longest form
}

func (f *finder) write(p []byte) {
	for len(p) > 0 {
		if f.place == inText {
			i := bytes.IndexByte(p, '$')
			if i < 0 {
				f.text(p)
				return
			}
			f.text(p[:i])
			p = p[i:]
		}
		f.take(p[0])
		p = p[1:]
	}
}

// text passes over what has no '$'.
func (f *finder) text(p []byte) {
	for i := len(p); i > max(0, len(p)-utf8.UTFMax); i-- {
		if p[i-1] != 0 || !f.wide {
			f.last = p[i-1]
			return
		}
	}
}

// take handles one byte from a '$' on.
func (f *finder) take(c byte) {
	if c == 0 && f.wide {
		return
	}
	switch {
	case f.place == afterDollar && c == '{':
		f.place = inBraces
	case f.place == afterDollar && isLetter(c):
		f.place, f.name = inName, append(f.name, c)
	case f.place >= inBraces && len(f.name) < f.values.longest && (isLetter(c) || len(f.name) > 0 && isDigit(c)):
		f.name = append(f.name, c)
	default:
		f.end(c)
		f.place = inText
		if c == '$' {
			f.place, f.name, f.before = afterDollar, f.name[:0], f.last
		}
	}
	f.last = c
}

// end ends a possible reference before or with c.
func (f *finder) end(c byte) {
	v, known := f.values.byName[string(f.name)]
	whole := f.place == inBraces && c == '}' || f.place == inName && !isLetter(c) && !isDigit(c)
	if !known || !whole {
		return
	}
	f.named = true
	reference := len("$") + len(f.name)
	if f.place == inBraces {
		reference += len("{}")
	}
	f.more += max(0, int64(len(v.content)-reference))
	f.refers = f.refers || f.place == inBraces || f.before < utf8.RuneSelf && !isLetter(f.before) && !isDigit(f.before) && !strings.ContainsRune(`)].$\`, rune(f.before))
}

// close ends the text.
func (f *finder) close() { f.end(0) }
