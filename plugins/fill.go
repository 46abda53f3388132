package plugins

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// errFull says that filled text grew over its limit: one short reference may
// stand for a long value, many times.
var errFull = errors.New("the filled text is over its limit")

// values are the texts that references are replaced by.
type values struct {
	text    map[string]string
	longest int // bytes of the longest name; a longer one is not known
}

// newValues prepares vars for filling; form, when set, is applied to every
// text that is inserted.
func newValues(vars variables, form func(string) string) values {
	v := values{text: make(map[string]string, len(vars))}
	for name, raw := range vars {
		text := Text(raw)
		if form != nil {
			text = form(text)
		}
		v.text[name] = text
		v.longest = max(v.longest, len(name))
	}
	return v
}

// jsonContent escapes text as the inside of a JSON string. A '$' can stand in
// valid JSON only inside a string, so a notebook that was valid before it was
// filled stays valid wherever its references are, keys included.
func jsonContent(text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(text) != nil {
		return "" // strings always encode
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`)
}

// fill replaces the references to known variables in data: ${name} and $name,
// with ASCII names, the longest possible. Everything else stays byte for byte;
// in a run of two or more '$' no sign starts a reference. Inserted text is not
// looked at again. Data that is not UTF-8 is left alone. changed = false means
// that there is nothing to replace and out is nil; otherwise out is new memory, not nil.
func fill(data []byte, v values, limit int) (out []byte, changed bool, err error) {
	if !utf8.Valid(data) {
		return nil, false, nil
	}
	look := filler{values: v}
	look.write(data)
	look.close()
	if !look.changed {
		return nil, false, nil
	}
	if look.size > int64(limit) {
		return nil, true, errFull
	}
	f := filler{values: v, out: bytes.NewBuffer(make([]byte, 0, look.size))}
	f.write(data)
	f.close()
	return f.out.Bytes(), true, nil
}

// refers tells whether fill would change a text: the first kept bytes of buf
// and what r gives after them. It holds no more of it than buf, which must have
// room for a few runes.
func refers(r io.Reader, v values, buf []byte, kept int) (found bool, err error) {
	f := filler{values: v}
	return f.read(r, buf, kept)
}

// read writes a text to f: the first kept bytes of buf and what r gives after
// them. It stops where the text is not UTF-8, which then changes nothing.
func (f *filler) read(r io.Reader, buf []byte, kept int) (changed bool, err error) {
	for {
		n, err := io.ReadFull(r, buf[kept:])
		n += kept
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return false, err
		}
		whole := n
		if !last {
			whole -= partialRune(buf[:n])
		}
		if !utf8.Valid(buf[:whole]) {
			f.changed = false
			return false, nil
		}
		f.write(buf[:whole])
		if last {
			f.close()
			return f.changed, nil
		}
		kept = copy(buf, buf[whole:n])
	}
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

// place is where in a possible reference the filler is.
type place int

const (
	inText       place = iota
	afterDollar        // one '$'
	afterDollars       // a run of them
	inBraces           // ${na
	inName             // $na
)

// filler takes text in pieces of any size and writes it with references
// replaced. It is one machine for looking and for filling, so that the two
// cannot disagree.
type filler struct {
	values
	out     *bytes.Buffer // nil: only look
	size    int64         // bytes of the filled text, also when it is only looked at
	place   place
	pending []byte // the unfinished reference, from its '$' on
	changed bool
}

func (f *filler) write(p []byte) {
	for len(p) > 0 {
		if f.place != inText {
			if f.take(p[0]) {
				p = p[1:]
			}
			continue
		}
		i := bytes.IndexByte(p, '$')
		if i < 0 {
			f.put(p)
			return
		}
		f.put(p[:i])
		p = p[i+1:]
		f.pending, f.place = append(f.pending[:0], '$'), afterDollar
	}
}

// take handles one byte that follows a '$'. false means that c is not part of
// a reference and is to be looked at again as text.
func (f *filler) take(c byte) bool {
	switch f.place {
	case afterDollar:
		switch {
		case c == '$':
			f.pending, f.place = append(f.pending, c), afterDollars
		case c == '{':
			f.pending, f.place = append(f.pending, c), inBraces
		case isLetter(c):
			f.pending, f.place = append(f.pending, c), inName
		default:
			f.flush()
			return false
		}
		return true
	case afterDollars:
		f.flush()
		if c == '$' {
			f.pending, f.place = append(f.pending, c), afterDollars
			return true
		}
		return false
	case inBraces:
		return f.takeName(c, f.pending[2:], c == '}')
	default:
		return f.takeName(c, f.pending[1:], !isLetter(c) && !isDigit(c))
	}
}

// takeName handles one byte of a name; ends tells that c ends it.
func (f *filler) takeName(c byte, name []byte, ends bool) bool {
	braces := f.place == inBraces
	switch {
	case ends:
		text, known := f.text[string(name)]
		if braces {
			f.pending = append(f.pending, c)
		}
		if known {
			f.changed = true
			f.pending = f.pending[:0]
			f.putString(text)
		}
		f.flush()
		return braces
	case len(name) < f.longest && (isLetter(c) || isDigit(c) && len(name) > 0):
		f.pending = append(f.pending, c)
		return true
	}
	f.flush()
	return false
}

// close ends the text.
func (f *filler) close() {
	if f.place == inName {
		f.takeName(0, f.pending[1:], true)
	}
	f.flush()
}

// flush writes the unfinished reference as it is.
func (f *filler) flush() {
	f.put(f.pending)
	f.pending, f.place = f.pending[:0], inText
}

func (f *filler) put(p []byte) {
	f.size += int64(len(p))
	if f.out != nil {
		f.out.Write(p)
	}
}

func (f *filler) putString(s string) {
	f.size += int64(len(s))
	if f.out != nil {
		f.out.WriteString(s)
	}
}

func isLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
