package plugins

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func vars(pairs ...string) variables {
	v := variables{}
	for i := 0; i < len(pairs); i += 2 {
		v[pairs[i]] = json.RawMessage(pairs[i+1])
	}
	return v
}

// fillVars are the variables of the tables below.
func fillVars() variables {
	return vars("t", `"flows"`, "tt", `"LONG"`, "again", `"${t} $t $$"`, "empty", `""`, "number", "1.50", "large", "12345678901234567890",
		"yes", "true", "no", "false", "none", "null", "list", `[ 1, "a b", true ]`, "object", `{ "k": {"x": "<é>"} }`, "escaped", `"a\"b\\c\nd"`,
		"word", `"true"`, "not a name", `"x"`, "a-b", `"x"`, "a.b", `"x"`)
}

// fillCases are about plain text. What is the same in and out is no change.
var fillCases = []struct{ name, in, want string }{
	{"braces", "a ${t} b", "a flows b"},
	{"bare", "a $t b", "a flows b"},
	{"bare at the beginning", "$t b", "flows b"},
	{"bare at the end", "a $t", "a flows"},
	{"bare before a letter that is not ASCII", "$té", "flowsé"},
	{"braces one after another", "${t}${t}${tt}", "flowsflowsLONG"},
	{"bare after braces", "${t}$t", "flowsflows"},
	{"bare after bare is after a letter", "$t$t", "flows$t"},
	{"longest name", "$tt ${tt}", "LONG LONG"},
	{"name goes on", "$ttt ${ttt}", "$ttt ${ttt}"},
	{"name goes on with a digit", "$t1", "$t1"},
	{"unknown", "${nope} $nope", "${nope} $nope"},
	{"digit", "$5 ${5}", "$5 ${5}"},
	{"Oozie expressions", "${a.b} ${a-b} ${fn(t)} ${wf:id()}", "${a.b} ${a-b} ${fn(t)} ${wf:id()}"},
	{"space in braces", "${ t} ${t }", "${ t} ${t }"},
	{"empty braces", "${}", "${}"},
	{"unfinished", "$t ${t", "flows ${t"},
	{"unfinished, then a reference", "${t ${t}", "${t flows"},
	{"lone dollar at the end", "x$", "x$"},
	{"nested", "${${t}}", "${flows}"},
	{"dollar inside braces", "${a.$t}", "${a.$t}"},
	{"CRLF", "a\r\n$t\r\n$nope\r\n", "a\r\nflows\r\n$nope\r\n"},
	{"NUL inside", "\x00$t\x00", "\x00flows\x00"},
	{"inserted text is not looked at again", "$again", "${t} $t $$"},
	{"empty value", "<${empty}>", "<>"},
	{"only an empty value", "$empty", ""},
	{"number", "$number", "1.50"},
	{"large number", "$large", "12345678901234567890"},
	{"true, false and null", "$yes $no $none", "true false null"},
	{"array and object", "$list $object", `[1,"a b",true] {"k":{"x":"<é>"}}`},
	{"text with escapes", "$escaped", "a\"b\\c\nd"},

	{"R column", "head(parts$t)", "head(parts$t)"},
	{"R column of a name that ends with a digit", "d1$t", "d1$t"},
	{"R column of a name that ends with _", "d_$t", "d_$t"},
	{"R column of a call", "f(x)$t", "f(x)$t"},
	{"R column of an element", "x[[1]]$t", "x[[1]]$t"},
	{"R column of a name that ends with a dot", "x.$t", "x.$t"},
	{"R column of a name that is not ASCII", "donnée$t 表$t e\u0301$t ४$t", "donnée$t 表$t e\u0301$t ४$t"},
	{"R column of a column", "x$y$t", "x$y$t"},
	{"R column assigned", "parts$t <- ${t}", "parts$t <- flows"},
	{"braces after a letter", "parts${t}", "partsflows"},
	{"braces after the others", ")${t}]${t}.${t}_${t}1${t}", ")flows]flows.flows_flows1flows"},
	{"bare after what ends nothing", "=$t ($t [$t \"$t '$t /$t :$t ,$t -$t +$t {$t }$t >$t é/$t “$t”", "=flows (flows [flows \"flows 'flows /flows :flows ,flows -flows +flows {flows }flows >flows é/flows “flows”"},
	{"bare on a new line", "x\n$t\r$t\t$t", "x\nflows\rflows\tflows"},

	{"literal with a dollar", "$${t}", "${t}"},
	{"literal with a backslash", `\${t}`, "${t}"},
	{"literal between others", `a${t}$${t}b\${t}${t}`, "aflows${t}b${t}flows"},
	{"literal of an unknown name", `$${nope} \${nope}`, `$${nope} \${nope}`},
	{"literal of no name", `$${} \${} $${5} \${a.b}`, `$${} \${} $${5} \${a.b}`},
	{"literal, unfinished", `$${t \${t`, `$${t \${t`},
	{"three dollars before braces", "$$${t}", "$${t}"},
	{"an escaped backslash before braces", `C:\\${t}`, `C:\\flows`},
	{"three backslashes before braces", `\\\${t}`, `\\${t}`},
	{"a dollar after a backslash", `\$${t}`, `\${t}`},
	{"backslash before a bare name", `\$t \\$t`, `\$t \\$t`},
	{"two dollars", "$$", "$$"},
	{"two dollars before a name", "$$t", "$$t"},
	{"three dollars before a name", "$$$t", "$$$t"},
	{"home of a shell", "$$HOME $$t$$", "$$HOME $$t$$"},
	{"formula", "$$t = x$$ and $t", "$$t = x$$ and flows"},
	{"formula around a reference", "$$ ${t} $$", "$$ flows $$"},
	{"reference, then two dollars", "$t$$", "flows$$"},
}

// filled is the text that data becomes.
func filled(t *testing.T, data string, known variables, f format) string {
	t.Helper()
	before := strings.Clone(data)
	filling := filling{[]byte(data), newValues(known), f}
	out, err := filling.fill(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	n, changed := filling.size()
	if out == nil && changed || out != nil && (!changed || int64(len(out)) != n || cap(out) != len(out)) {
		t.Errorf("%q: %d of %d bytes, and size says %d, %v", data, len(out), cap(out), n, changed)
	}
	if string(filling.data) != before {
		t.Errorf("fill changed its input %q to %q", before, filling.data)
	}
	if out == nil {
		return data
	}
	return string(out)
}

func TestFill(t *testing.T) {
	t.Parallel()
	for _, c := range fillCases {
		if got := filled(t, c.in, fillVars(), format{}); got != c.want {
			t.Errorf("%s: %q becomes %q, want %q", c.name, c.in, got, c.want)
		}
	}
}

// Every case of plain text means the same inside a JSON string, as its reader
// sees it, however the writer of the JSON escaped it.
func TestFillInJSONStringsMeansTheSame(t *testing.T) {
	t.Parallel()
	writers := map[string]func(r rune) string{
		"as Go writes it": func(r rune) string { return jsonContent(string(r)) },
		"all but names escaped": func(r rune) string {
			if r == '$' || r < utf8.RuneSelf && (isLetter(byte(r)) || isDigit(byte(r))) || r == '{' || r == '}' {
				return string(r)
			}
			return asEscapes(r)
		},
	}
	for name, write := range writers {
		for _, c := range fillCases {
			var in strings.Builder
			for _, r := range c.in {
				in.WriteString(write(r))
			}
			for _, around := range [][2]string{{`"`, `"`}, {`{"a": ["x$y", "`, `"], "b": 1}`}} {
				data := around[0] + in.String() + around[1]
				got := filled(t, data, fillVars(), format{json: true})
				inner, ok := strings.CutPrefix(got, around[0])
				inner, ok2 := strings.CutSuffix(inner, around[1])
				var text string
				if err := json.Unmarshal([]byte(`"`+inner+`"`), &text); err != nil || !ok || !ok2 || text != c.want {
					t.Errorf("%s, %s: %s becomes %s, which says %q, want %q (%v)", c.name, name, data, got, text, c.want, err)
				}
				if c.in == c.want && got != data {
					t.Errorf("%s, %s: %s became %s, want every byte as it was", c.name, name, data, got)
				}
			}
		}
	}
}

// asEscapes writes a character as JSON's \u escapes.
func asEscapes(r rune) string {
	if r > 0xffff {
		return string(r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

var jsonCases = []struct{ name, in, want string }{
	{"in a string", `{"a": "${t}"}`, `{"a": "flows"}`},
	{"in a key", `{"${t}": 1}`, `{"flows": 1}`},
	{"quotes and backslashes", `{"a": "${escaped}"}`, `{"a": "a\"b\\c\nd"}`},
	{"in a string literal of code", `["x = \"${t}\"\n", "y = '$t'"]`, `["x = \"flows\"\n", "y = 'flows'"]`},
	{"after the escape of a line end", `["a\n$t\t$t"]`, `["a\nflows\tflows"]`},
	{"after the escape of a letter", `["\u0061$t \u005f$t"]`, `["\u0061$t \u005f$t"]`},
	{"before the escape of a letter", `["$t\u0061 $t\u005f ${t}\u0061 $t\u00e9 $t\n"]`, `["$t\u0061 $t\u005f flows\u0061 flows\u00e9 flows\n"]`},
	{"after half a pair of surrogates", `["\ud835$t \ud835\udc00$t"]`, `["\ud835flows \ud835\udc00$t"]`},
	{"literal with an escaped backslash", `["\\${t} \u005C${t} \\\\${t}"]`, `["${t} ${t} \\\\flows"]`},
	{"literal with an escaped dollar", `["\u0024${t}"]`, `["${t}"]`},
	{"an escaped dollar begins nothing", `["\u0024{t} \u0024t"]`, `["\u0024{t} \u0024t"]`},
	{"column after an escaped backslash", `["\\$t"]`, `["\\$t"]`},
	{"array and object in a string", `["$list ${object}"]`, `["[1,\"a b\",true] {\"k\":{\"x\":\"<é>\"}}"]`},
	{"outside a string", `{"a": ${number}, "b": $yes, "c": ${list}, "d": $none, "e": ${t}}`, `{"a": 1.50, "b": true, "c": [1,"a b",true], "d": null, "e": flows}`},
	{"text that is written as JSON outside a string", `{"a": ${word}}`, `{"a": true}`},
	{"a line end ends a string", "// it's 5\" long\n{\"a\": \"${escaped}\", \"b\": ${number}}", "// it's 5\" long\n{\"a\": \"a\\\"b\\\\c\\nd\", \"b\": 1.50}"},
	{"one object a line", `{"a": "${escaped}"}` + "\n" + `{"a": "$t"}`, `{"a": "a\"b\\c\nd"}` + "\n" + `{"a": "flows"}`},
	{"an escape that JSON does not know", `{"a": "\${t}"}`, `{"a": "${t}"}`},
	{"a backslash at the end", `{"a": "${t}\`, `{"a": "flows\`},
}

func TestFillJSON(t *testing.T) {
	t.Parallel()
	for _, c := range jsonCases {
		got := filled(t, c.in, fillVars(), format{json: true})
		if got != c.want {
			t.Errorf("%s: %s becomes %s, want %s", c.name, c.in, got, c.want)
		}
		if json.Valid([]byte(c.in)) && !json.Valid([]byte(got)) {
			t.Errorf("%s: %s was JSON, %s is not", c.name, c.in, got)
		}
	}
}

func TestFormatOf(t *testing.T) {
	t.Parallel()
	notebook := func(metadata string) string {
		return `{"cells": [{"source": ["D = ${yes}, ${no}, ${none}, '${escaped}', ${list}"]}], "metadata": ` + metadata + `, "nbformat": 4}`
	}
	const escaped = `'a\"b\\c\nd', [1,\"a b\",true]`
	python, r, other := "D = True, False, None, "+escaped, "D = TRUE, FALSE, NULL, "+escaped, "D = true, false, null, "+escaped
	for _, c := range []struct{ name, file, in, want string }{
		{"Python by kernelspec", "a.ipynb", notebook(`{"kernelspec": {"language": "python", "name": "x"}}`), python},
		{"kernelspec before language_info", "a.ipynb", notebook(`{"language_info": {"name": "R"}, "kernelspec": {"language": "python"}}`), python},
		{"R by kernelspec", "a.ipynb", notebook(`{"kernelspec": {"language": "R", "name": "ir"}}`), r},
		{"R by language_info", "sub/A.IPYNB", notebook(`{"language_info": {"name": "R"}}`), r},
		{"r in lower case", "a.ipynb", notebook(`{"kernelspec": {"language": "r"}}`), r},
		{"an empty language", "a.ipynb", notebook(`{"kernelspec": {"language": ""}, "language_info": {"name": "R"}}`), r},
		{"a language that is no text", "a.ipynb", notebook(`{"kernelspec": {"language": 3}, "language_info": {"name": "R"}}`), r},
		{"kernelspec that is no object", "a.ipynb", notebook(`{"kernelspec": [], "language_info": {"name": "R"}}`), r},
		{"Spark's Python", "a.ipynb", notebook(`{"language_info": {"name": "pyspark"}}`), python},
		{"Spark's R", "a.ipynb", notebook(`{"language_info": {"name": "sparkR"}}`), r},
		{"Scala", "a.ipynb", notebook(`{"kernelspec": {"language": "scala"}}`), other},
		{"Julia", "a.ipynb", notebook(`{"language_info": {"name": "julia"}}`), other},
		{"no language", "a.ipynb", notebook(`{}`), python},
		{"a byte order mark", "a.ipynb", "\ufeff" + notebook(`{"kernelspec": {"language": "R"}}`), r},
		{"no notebook at all", "a.ipynb", `"${yes} ${escaped}`, `"True a\"b\\c\nd`},
		{"outside a string of a notebook", "a.ipynb", `{"collapsed": ${yes}, "source": "${yes}"}`, `{"collapsed": true, "source": "True"}`},
		{"Python", "a.py", "x = ${yes}, ${no}, ${none}, ${list}, '${escaped}'", "x = True, False, None, [1,\"a b\",true], 'a\"b\\c\nd'"},
		{"Python in upper case", "A.PY", "$yes", "True"},
		{"R's own files", "a.R", "x <- ${yes}", "x <- true"},
		{"JSON", "a.json", `{"a": "${escaped}", "b": ${yes}, "c": "${none}"}`, `{"a": "a\"b\\c\nd", "b": true, "c": "null"}`},
		{"JSON in upper case", "A.JSON", `["${escaped}"]`, `["a\"b\\c\nd"]`},
		{"GeoJSON", "a.GeoJson", `["${escaped}"]`, `["a\"b\\c\nd"]`},
		{"JSON by another name", "config", ` {"a": "${escaped}"}` + "\n", ` {"a": "a\"b\\c\nd"}` + "\n"},
		{"JSON by another name with a byte order mark", "a.conf", "\ufeff" + `["${escaped}"]`, "\ufeff" + `["a\"b\\c\nd"]`},
		{"no JSON by another name", "a.conf", `{"a": "${escaped}", "b": ${yes}}`, "{\"a\": \"a\"b\\c\nd\", \"b\": true}"},
		{"text", "a.txt", "${escaped} ${yes}", "a\"b\\c\nd true"},
		{"no suffix", "json", "${escaped}", "a\"b\\c\nd"},
	} {
		got := filled(t, c.in, fillVars(), formatOf(c.file, []byte(c.in)))
		if i := strings.Index(c.in, "D = $"); i >= 0 {
			c.want = c.in[:i] + c.want + c.in[strings.Index(c.in, `"]}],`):]
		}
		if got != c.want {
			t.Errorf("%s: %s in %s becomes %s, want %s", c.name, c.in, c.file, got, c.want)
		}
	}
}

func TestFillStopsAtItsLimit(t *testing.T) {
	t.Parallel()
	v := newValues(vars("t", `"`+strings.Repeat("x", 1000)+`"`))
	for _, c := range []struct {
		limit int
		want  error
	}{{100_000, nil}, {99_999, errFull}, {0, errFull}} {
		out, err := filling{bytes.Repeat([]byte("${t}"), 100), v, format{}}.fill(c.limit)
		if !errors.Is(err, c.want) || c.want == nil && len(out) != 100_000 {
			t.Errorf("limit %d: %d bytes, %v, want error %v", c.limit, len(out), err, c.want)
		}
	}
	if out, err := (filling{[]byte("nothing to fill"), v, format{}}).fill(0); out != nil || err != nil {
		t.Errorf("text without references: %q, %v, want no limit for what is not filled", out, err)
	}
}

// The size is known before the text is made, however large it would be.
func TestSizeOfWhatIsNeverMade(t *testing.T) {
	t.Parallel()
	v := newValues(vars("t", `"`+strings.Repeat("x", 1<<20)+`"`))
	n, changed := filling{bytes.Repeat([]byte("${t}"), 20_000), v, format{}}.size()
	if n != 20_000<<20 || !changed {
		t.Errorf("size = %d, %v, want 20,000 MiB", n, changed)
	}
}

// oracle is a second way to say what a reference is: the whole language, on
// plain text.
var oracle = regexp.MustCompile(`(\\*)(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)`)

func fillByOracle(text string, v values) string {
	var out strings.Builder
	at := 0
	for _, m := range oracle.FindAllStringSubmatchIndex(text, -1) {
		out.WriteString(text[at:m[0]])
		at = m[1]
		whole := text[m[0]:m[1]]
		if m[8] >= 0 { // bare
			before, _ := utf8.DecodeLastRuneInString(text[:m[0]])
			value, known := v.byName[text[m[8]:m[9]]]
			if known && !unicode.In(before, unicode.L, unicode.N, unicode.M) && (m[0] == 0 || !strings.ContainsRune(`_)].$\`, before)) {
				whole = value.text
			}
			out.WriteString(whole)
			continue
		}
		backslashes, dollar := m[3]-m[2], text[m[4]:m[5]]
		value, known := v.byName[text[m[6]:m[7]]]
		switch {
		case !known:
		case dollar != "":
			whole = text[m[2]:m[3]] + whole[backslashes+1:]
		case backslashes%2 == 1:
			whole = whole[1:]
		default:
			whole = whole[:backslashes] + value.text
		}
		out.WriteString(whole)
	}
	return out.String() + text[at:]
}

// escapedReference finds JSON's escapes of what references are made of, and
// halves of pairs.
var escapedReference = regexp.MustCompile(`\\u(00[2-7]|[dD][89a-fA-F])`)

// mapStrings applies change to every string and key of a JSON value.
// two tells that two keys of an object became one.
func mapStrings(v any, two *bool, change func(string) string) any {
	switch v := v.(type) {
	case string:
		return change(v)
	case []any:
		for i := range v {
			v[i] = mapStrings(v[i], two, change)
		}
	case map[string]any:
		mapped := map[string]any{}
		for key, value := range v {
			mapped[change(key)] = mapStrings(value, two, change)
		}
		*two = *two || len(mapped) < len(v)
		return mapped
	}
	return v
}

func FuzzFill(f *testing.F) {
	for _, c := range fillCases {
		f.Add([]byte(c.in), "flows")
		quoted, _ := json.Marshal(c.in)
		f.Add(quoted, "\"\\\n")
	}
	for _, c := range jsonCases {
		f.Add([]byte(c.in), "flows")
	}
	f.Fuzz(func(t *testing.T, data []byte, value string) {
		if !utf8.Valid(data) || !utf8.ValidString(value) {
			return
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return
		}
		text, known := string(data), variables{"t": raw, "t_2": json.RawMessage("2"), "_": json.RawMessage("true")}
		v := newValues(known)
		if got, want := filled(t, text, known, format{}), fillByOracle(text, v); got != want {
			t.Fatalf("%q becomes %q, want %q", text, got, want)
		}
		if got := filled(t, text, variables{"u": raw}, format{}); !strings.Contains(text, "$u") && !strings.Contains(text, "${u") && got != text {
			t.Fatalf("%q without a reference becomes %q", text, got)
		}
		if simple := (variables{"t": json.RawMessage("12")}); !strings.Contains(text, "$$") && !strings.Contains(text, `\`) {
			once := filled(t, text, simple, format{})
			if again := filled(t, once, simple, format{}); again != once {
				t.Fatalf("%q becomes %q, and that %q", text, once, again)
			}
		}
		filledJSON := filled(t, text, known, format{json: true})
		if !json.Valid(data) {
			return
		}
		if !json.Valid([]byte(filledJSON)) {
			t.Fatalf("%q was JSON, filled it is not: %q", data, filledJSON)
		}
		if escapedReference.MatchString(text) {
			return // no reference by the file's text, but one in what it says
		}
		var before, after any
		if json.Unmarshal(data, &before) != nil || json.Unmarshal([]byte(filledJSON), &after) != nil {
			return // a number out of range
		}
		two := false
		want := mapStrings(before, &two, func(s string) string { return fillByOracle(s, v) })
		if !two && !reflect.DeepEqual(after, want) {
			t.Fatalf("%s says %#v, want %#v", data, after, want)
		}
	})
}
