package plugins

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

func vars(pairs ...string) variables {
	v := variables{}
	for i := 0; i < len(pairs); i += 2 {
		v[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return v
}

var fillCases = []struct{ name, in, want string }{
	{"braces", "a ${t} b", "a flows b"},
	{"bare", "a $t b", "a flows b"},
	{"bare at the end", "a $t", "a flows"},
	{"bare before a letter that is not ASCII", "$té", "flowsé"},
	{"one after another", "$t$t${t}$t", "flowsflowsflowsflows"},
	{"longest name", "$tt ${tt}", "LONG LONG"},
	{"name goes on", "$ttt ${ttt}", "$ttt ${ttt}"},
	{"name goes on with a digit", "$t1", "$t1"},
	{"unknown", "${nope} $nope", "${nope} $nope"},
	{"two dollars", "$$", "$$"},
	{"two dollars before a name", "$$t", "$$t"},
	{"two dollars before braces", "$${t}", "$${t}"},
	{"three dollars before a name", "$$$t", "$$$t"},
	{"formula", "$$t = x$$ and $t", "$$t = x$$ and flows"},
	{"formula around a reference", "$$ ${t} $$", "$$ flows $$"},
	{"reference, then two dollars", "$t$$", "flows$$"},
	{"digit", "$5 ${5}", "$5 ${5}"},
	{"Oozie expressions", "${a.b} ${a-b} ${fn(t)} ${wf:id()}", "${a.b} ${a-b} ${fn(t)} ${wf:id()}"},
	{"space in braces", "${ t} ${t }", "${ t} ${t }"},
	{"empty braces", "${}", "${}"},
	{"unfinished", "$t ${t", "flows ${t"},
	{"lone dollar at the end", "x$", "x$"},
	{"nested", "${${t}}", "${flows}"},
	{"dollar inside braces", "${a$t}", "${aflows}"},
	{"CRLF", "a\r\n$t\r\n$nope\r\n", "a\r\nflows\r\n$nope\r\n"},
	{"no newline at the end, NUL inside", "\x00$t\x00", "\x00flows\x00"},
	{"inserted text is not looked at again", "$again", "${t} $t $$"},
	{"empty value", "<${empty}>", "<>"},
	{"only an empty value", "$empty", ""},
	{"invalid UTF-8 before", "\xff $t", "\xff $t"},
	{"invalid UTF-8 behind", "$t \xc3", "$t \xc3"},
	{"number", "$number", "1.50"},
	{"large number", "$large", "12345678901234567890"},
	{"true, null", "$yes $null", "true null"},
	{"array and object", "$list $object", `[1,"a b"] {"k":{"x":"<é>"}}`},
	{"text with escapes", "$escaped", "a\"b\\c\nd"},
}

func fillVars() variables {
	return vars("t", `"flows"`, "tt", `"LONG"`, "again", `"${t} $t $$"`, "empty", `""`, "number", "1.50", "large", "12345678901234567890",
		"yes", "true", "null", "null", "list", `[ 1, "a b" ]`, "object", `{ "k": {"x": "<é>"} }`, "escaped", `"a\"b\\c\nd"`,
		"not a name", `"x"`, "a-b", `"x"`, "a.b", `"x"`)
}

func TestFill(t *testing.T) {
	t.Parallel()
	v := newValues(fillVars(), nil)
	for _, c := range fillCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out, changed, err := fill([]byte(c.in), v, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if changed != (c.in != c.want) {
				t.Errorf("fill(%q) says changed = %v", c.in, changed)
			}
			if changed && out == nil {
				t.Errorf("fill(%q) = nil, want bytes even when there are none", c.in)
			}
			if !changed {
				out = []byte(c.in)
			}
			if string(out) != c.want {
				t.Errorf("fill(%q) = %q, want %q", c.in, out, c.want)
			}
		})
	}
}

func TestRefersAgreesWithFillForEveryPiece(t *testing.T) {
	t.Parallel()
	v := newValues(fillVars(), nil)
	for _, c := range fillCases {
		for size := 4; size < 9; size++ {
			for kept := 0; kept <= min(size, len(c.in)); kept++ {
				buf := make([]byte, size)
				copy(buf, c.in[:kept])
				got, err := refers(iotest.OneByteReader(strings.NewReader(c.in[kept:])), v, buf, kept)
				if want := c.in != c.want; err != nil || got != want {
					t.Errorf("%s, %d of %d bytes read: refers = %v, %v, want %v", c.name, kept, size, got, err, want)
				}
			}
		}
	}
}

func TestRefersHandsReadingErrorsOn(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken disk")
	r := io.MultiReader(strings.NewReader("$t"), iotest.ErrReader(broken))
	if _, err := refers(r, newValues(fillVars(), nil), make([]byte, 8), 0); !errors.Is(err, broken) {
		t.Errorf("error = %v, want %v", err, broken)
	}
}

func TestFillStopsAtItsLimit(t *testing.T) {
	t.Parallel()
	v := newValues(vars("t", `"`+strings.Repeat("x", 1000)+`"`), nil)
	for _, c := range []struct {
		limit int
		want  error
	}{{100_000, nil}, {99_999, errFull}, {0, errFull}} {
		out, _, err := fill(bytes.Repeat([]byte("$t"), 100), v, c.limit)
		if !errors.Is(err, c.want) || c.want == nil && len(out) != 100_000 {
			t.Errorf("limit %d: %d bytes, %v, want error %v", c.limit, len(out), err, c.want)
		}
	}
	if _, changed, err := fill([]byte("nothing to fill"), v, 0); changed || err != nil {
		t.Errorf("text without references: changed = %v, %v, want no limit for what is not filled", changed, err)
	}
}

func TestFilledNotebookHoldsTheRawValue(t *testing.T) {
	t.Parallel()
	for _, value := range []string{
		"plain", `say "hi"`, `C:\temp\new`, "two\nlines\ttab\r", "\x00\x1f\x7f", "é 日本 🙂", "<b>&amp;</b>", "\u2028\u2029", `\u0041`, `${t} $t`, "",
		`", "source": "injected`,
	} {
		raw, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		v := newValues(variables{"t": raw}, jsonContent)
		notebook := "{\r\n \"source\": [\"x = '${t}'\\n\", \"$$t$$ \\\\$t\"], \"key ${t}\": 1 }"
		out, _, err := fill([]byte(notebook), v, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(out, &got); err != nil {
			t.Errorf("value %q: the notebook is not JSON any more: %v\n%s", value, err, out)
			continue
		}
		source, _ := got["source"].([]any)
		if len(got) != 2 || len(source) != 2 || source[0] != "x = '"+value+"'\n" || source[1] != `$$t$$ \`+value || got["key "+value] != 1.0 {
			t.Errorf("value %q: the notebook says %q", value, got)
		}
	}
}

// oracle is a second way to say what a reference is.
var oracle = regexp.MustCompile(`\$\$+|\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))`)

func fillByOracle(text string, v values) string {
	return oracle.ReplaceAllStringFunc(text, func(m string) string {
		if value, ok := v.text[strings.Trim(m, "${}")]; ok && !strings.HasPrefix(m, "$$") {
			return value
		}
		return m
	})
}

func FuzzFill(f *testing.F) {
	for _, c := range fillCases {
		f.Add([]byte(c.in), "flows")
	}
	f.Add([]byte(`{"source": ["a ${t}", "$$t$$"]}`), "\"\\\n")
	f.Fuzz(func(t *testing.T, data []byte, value string) {
		raw, err := json.Marshal(value)
		if err != nil {
			return
		}
		known := variables{"t": raw, "t_2": json.RawMessage("2")}
		v := newValues(known, nil)
		before := bytes.Clone(data)
		out, changed, err := fill(data, v, 1<<30)
		if err != nil || !bytes.Equal(data, before) {
			t.Fatalf("fill changed its input or failed: %v", err)
		}
		if !changed {
			out = data
		}
		want := string(data)
		if valid := strings.ToValidUTF8(want, ""); valid == want {
			want = fillByOracle(want, v)
		}
		if string(out) != want {
			t.Fatalf("fill(%q) = %q, want %q", data, out, want)
		}
		found, err := refers(iotest.HalfReader(bytes.NewReader(data)), v, make([]byte, 5), 0)
		if err != nil || found != changed {
			t.Fatalf("refers(%q) = %v, %v, but fill changed = %v", data, found, err, changed)
		}
		if json.Valid(data) {
			notebook, changed, _ := fill(data, newValues(known, jsonContent), 1<<30)
			if changed && !json.Valid(notebook) {
				t.Fatalf("%q was JSON, filled it is not: %q", data, notebook)
			}
		}
	})
}
