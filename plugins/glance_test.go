package plugins

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
	"unicode/utf8"
)

// utf16Text is text in UTF-16 with its byte order mark.
func utf16Text(order binary.AppendByteOrder, text string) string {
	out := order.AppendUint16(nil, 0xfeff)
	for _, u := range utf16.Encode([]rune(text)) {
		out = order.AppendUint16(out, u)
	}
	return string(out)
}

func utf32Text(order binary.AppendByteOrder, text string) string {
	out := order.AppendUint32(nil, 0xfeff)
	for _, r := range text {
		out = order.AppendUint32(out, uint32(r))
	}
	return string(out)
}

func TestGlance(t *testing.T) {
	t.Parallel()
	v := newValues(fillVars())
	for _, c := range []struct {
		name, in       string
		named, foreign bool
	}{
		{"nothing", "", false, false},
		{"UTF-8", "é ${t}", true, false},
		{"UTF-8 with a mark", "\ufeff$t", true, false},
		{"a name that does not count may count as JSON", `"\n$t"`, true, false},
		{"a name that is not known", "$ttt ${ttt} ${t ${ t}", false, false},
		{"latin-1, before", "\xe9 ${t}", false, true},
		{"latin-1, behind", "$t caf\xe9", false, true},
		{"latin-1 without a variable", "caf\xe9 $nope", false, false},
		{"latin-1 with a column", "donn\xe9$t x$t f(x)$t", false, false},
		{"latin-1 with braces after a letter", "donn\xe9${t}", false, true},
		{"cut off in a character", "$t \xc3", false, true},
		{"UTF-16, low byte first", utf16Text(binary.LittleEndian, "é x = ${t}"), false, true},
		{"UTF-16, high byte first", utf16Text(binary.BigEndian, "é x = $t"), false, true},
		{"UTF-16 with a column", utf16Text(binary.LittleEndian, "x$t é"), false, false},
		{"UTF-16 without a variable", utf16Text(binary.LittleEndian, "é x = ${nope}"), false, false},
		{"UTF-32, low byte first", utf32Text(binary.LittleEndian, "x = $t"), false, true},
		{"UTF-32, high byte first", utf32Text(binary.BigEndian, "é x = $t"), false, true},
		{"binary", "\x89PNG\x00\x00\r\n ${t}", false, false},
		{"NUL in UTF-8", "\x00 ${t}", true, false},
	} {
		for size := 8; size < 12; size++ {
			for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				got, err := glanceAt(r, v, make([]byte, size))
				if err != nil || got.named != c.named || got.foreign != c.foreign {
					t.Errorf("%s, in pieces of %d: named %v, foreign %v, %v, want %v, %v", c.name, size, got.named, got.foreign, err, c.named, c.foreign)
				}
				if got.named && got.size != int64(len(c.in)) {
					t.Errorf("%s, in pieces of %d: size = %d, want %d", c.name, size, got.size, len(c.in))
				}
			}
		}
	}
}

// What is filled is found by looking first, in whatever pieces it comes.
func TestGlanceMissesNothing(t *testing.T) {
	t.Parallel()
	v := newValues(fillVars())
	for _, c := range fillCases {
		for size := 4; size < 9; size++ {
			got, err := glanceAt(iotest.HalfReader(strings.NewReader(c.in)), v, make([]byte, size))
			if err != nil || c.in != c.want && !got.named {
				t.Errorf("%s, in pieces of %d: named = %v, %v", c.name, size, got.named, err)
			}
		}
	}
}

func TestGlanceHandsReadingErrorsOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken disk")
	r := io.MultiReader(strings.NewReader("$t"), iotest.ErrReader(broken))
	if _, err := glanceAt(r, newValues(fillVars()), make([]byte, 8)); !errors.Is(err, broken) {
		t.Errorf("error = %v, want %v", err, broken)
	}
}

func FuzzGlance(f *testing.F) {
	for _, c := range fillCases {
		f.Add([]byte(c.in), 5)
	}
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		v := newValues(fillVars())
		whole, err := glanceAt(strings.NewReader(string(data)), v, make([]byte, len(data)+1))
		pieces, err2 := glanceAt(iotest.HalfReader(strings.NewReader(string(data))), v, make([]byte, 8+size&15))
		if err != nil || err2 != nil {
			t.Fatal(err, err2)
		}
		if len(data) < 8 && (whole != pieces) {
			t.Fatalf("%q: in one piece %v, in pieces %v", data, whole, pieces)
		}
		for _, form := range []format{{}, {json: true}} {
			if n, changed := (filling{data, v, form}).size(); utf8.Valid(data) && (changed && !pieces.named || n > pieces.most) {
				t.Fatalf("%q is filled: %v, with %d bytes, but the look at it said %v", data, changed, n, pieces)
			}
		}
	})
}
