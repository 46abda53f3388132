package plugins

import (
	"bytes"
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"
)

// errFull says that filled text is over its limit: one short reference may
// stand for a long value, many times.
var errFull = errors.New("the filled text exceeds its limit")

// value is a variable in the forms in which it stands in files.
type value struct {
	text    string // text raw, numbers as they are spelled, the rest as compact JSON
	content string // text as the content of a JSON string
	word    bool   // true, false or null, which every language spells its own way
	secret  bool   // a reference to a secret, which stands in no file
}

// values are what references are replaced by.
type values struct {
	byName  map[string]value
	longest int  // bytes of the longest name; a longer one is not known
	secrets bool // some refer to secrets
}

func newValues(vars variables) values {
	v := values{byName: make(map[string]value, len(vars))}
	for name, raw := range vars {
		v.longest = max(v.longest, len(name))
		if _, secret, _ := SecretRef(raw); secret {
			v.byName[name], v.secrets = value{secret: true}, true
			continue
		}
		text := Text(raw)
		v.byName[name] = value{text, jsonContent(text), bytes.IndexAny(raw, "tfn") == 0, false}
	}
	return v
}

// jsonContent escapes text as the inside of a JSON string.
func jsonContent(text string) string {
	if !strings.ContainsFunc(text, escapes) {
		return text // most need nothing, and may be long
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(text) != nil {
		return "" // strings always encode
	}
	return strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(b.String(), "\n"), `"`), `"`)
}

// escapes tells whether Go's writer of JSON may spell r in another way.
func escapes(r rune) bool {
	return r < ' ' || r == '"' || r == '\\' || r == 0x7f || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
}

// filling is a text, what its references stand for, and how values are written
// in it. docs/variables.md is the language that it understands.
type filling struct {
	data   []byte
	values values
	format format
}

// cut is a part of the data, [at:end), that text takes the place of.
type cut struct {
	at, end int
	text    string
	secret  string // the variable that refers to a secret; text is then what stands there
}

// cuts are the parts that are replaced, in order and without overlap. The same
// scan tells the size and makes the text, so that the two cannot disagree.
// Data that is not UTF-8 is not for it.
func (f filling) cuts() iter.Seq[cut] {
	return func(yield func(cut) bool) {
		s := scanner{data: f.data, json: f.format.json}
		for {
			i := bytes.IndexByte(f.data[s.at:], '$')
			if i < 0 {
				return
			}
			s.advance(s.at + i)
			end, c, ok := f.reference(&s)
			if !ok {
				s.advance(s.at + 1)
				continue
			}
			if c != (cut{}) && !yield(c) {
				return
			}
			s.jump(end)
		}
	}
}

// size is the number of bytes of the filled text. changed is false when the
// filled text is the data itself.
func (f filling) size() (n int64, changed bool) {
	n = int64(len(f.data))
	for c := range f.cuts() {
		n += int64(len(c.text)) - int64(c.end-c.at)
		changed = true
	}
	return n, changed
}

// write appends the filled text to out.
func (f filling) write(out []byte) []byte {
	at := 0
	for c := range f.cuts() {
		out = append(out, f.data[at:c.at]...)
		out = append(out, c.text...)
		at = c.end
	}
	return append(out, f.data[at:]...)
}

// fill makes the filled text, of at most limit bytes, in memory of its own. It
// is nil when there is nothing to replace; such data has no limit.
func (f filling) fill(limit int) ([]byte, error) {
	n, changed := f.size()
	switch {
	case !changed:
		return nil, nil
	case n > int64(limit):
		return nil, errFull
	}
	return f.write(make([]byte, 0, n)), nil
}

// reference looks at the '$' that s stands on. ok tells whether it begins a
// reference to a known variable; end is where that ends, and c what is done
// about it.
func (f filling) reference(s *scanner) (end int, c cut, ok bool) {
	at := s.at + 1
	braces := at < len(f.data) && f.data[at] == '{'
	if braces {
		at++
	}
	name := nameAt(f.data[at:])
	v, known := f.values.byName[string(name)]
	end = at + len(name)
	switch {
	case !known:
		return 0, cut{}, false
	case braces:
		if end == len(f.data) || f.data[end] != '}' {
			return 0, cut{}, false
		}
		end++
		if s.escaped() {
			return end, cut{at: s.before.at, end: s.at}, true
		}
	case !s.canBegin() || s.quoted && goesOn(f.data[end:]):
		return 0, cut{}, false
	}
	if v.secret {
		return end, cut{s.at, end, string(f.data[s.at:end]), string(name)}, true
	}
	return end, cut{at: s.at, end: end, text: f.format.spell(v, s.quoted)}, true
}

// goesOn tells whether a name in a JSON string goes on with an escape. No writer
// of JSON escapes such characters, but one may.
func goesOn(data []byte) bool {
	if len(data) == 0 || data[0] != '\\' {
		return false
	}
	r, n := escapeAt(data, 0)
	return n > 0 && r < utf8.RuneSelf && (isLetter(byte(r)) || isDigit(byte(r)))
}

// nameAt is the name that data begins with; it may be empty.
func nameAt(data []byte) []byte {
	n := 0
	for n < len(data) && (isLetter(data[n]) || n > 0 && isDigit(data[n])) {
		n++
	}
	return data[:n]
}

func isLetter(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_'
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// character is one character of a text, as its reader sees it: in a JSON
// string an escape is the character that it stands for.
type character struct {
	r  rune
	at int // where it begins in the data
}

// scanner goes through a text and knows what stands before a '$'. In JSON it
// also knows whether it is inside a string; where a text only looks like JSON,
// a line end ends a string, so that a stray quote misleads it for one line.
type scanner struct {
	data        []byte
	json        bool
	at          int
	quoted      bool      // inside a JSON string
	before      character // zero at the beginning
	backslashes int       // in a row, up to before
}

// canBegin tells whether a name without braces may begin here: in R
// parts$name is a column, and $$name is no reference.
func (s *scanner) canBegin() bool {
	r := s.before.r
	return !(unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) || strings.ContainsRune(`_)].$\`, r))
}

// escaped tells whether the character before makes ${name} literal text: a '$',
// or a backslash that is not itself escaped by one.
func (s *scanner) escaped() bool { return s.before.r == '$' || s.backslashes%2 == 1 }

// jump goes on behind a reference, whose last byte is ASCII and no quote.
func (s *scanner) jump(end int) {
	s.at = end
	s.pass(rune(s.data[end-1]), end-1)
}

func (s *scanner) pass(r rune, at int) {
	s.before = character{r, at}
	if r == '\\' {
		s.backslashes++
	} else {
		s.backslashes = 0
	}
}

// advance goes on to end, over at least one byte.
func (s *scanner) advance(end int) {
	if !s.json {
		s.skip(end)
		return
	}
	for s.at < end {
		r, size := utf8.DecodeRune(s.data[s.at:end])
		switch {
		case r == '"':
			s.quoted = !s.quoted
		case r == '\n':
			s.quoted = false
		case r == '\\' && s.quoted:
			if escape, n := escapeAt(s.data[s.at:end], s.before.r); n > 0 {
				r, size = escape, n
			}
		}
		s.pass(r, s.at)
		s.at += size
	}
}

// skip advances over plain text, of which only the end matters.
func (s *scanner) skip(end int) {
	if end == s.at {
		return
	}
	from := s.at
	s.at = end
	r, size := utf8.DecodeLastRune(s.data[from:end])
	s.before = character{r, end - size}
	n := 0
	for n < end-from && s.data[end-1-n] == '\\' {
		n++
	}
	if n == end-from {
		n += s.backslashes
	}
	s.backslashes = n
}
