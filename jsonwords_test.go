package dm_test

import (
	"fmt"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// A person must find the fault without knowing how the parser works.
func TestFaultsOfJSONAreToldInItsWords(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, text, want string }{
		{"single quotes", "{'a': 1}", `expected a key in double quotes, not '\'', at line 1, column 2`},
		{"single quotes of a value", "{\"a\": 'x'}", `unexpected '\''; strings have straight double quotes, at line 1, column 7`},
		{"curly quotes", "{\"a\":\n “x”}", "unexpected '“'; strings have straight double quotes, at line 2, column 2"},
		{"comma at the end", "{\n  \"a\": 1,\n}", "expected a key in double quotes, not '}', at line 3, column 1"},
		{"comma at the end of a list", `{"a": [1, ]}`, "unexpected comma before ']', at line 1, column 11"},
		{"no comma", "{\"a\": 1\n \"b\": 2}", `expected ',' or '}', not '"', at line 2, column 2`},
		{"no comma in a list", `{"a": [1 2]}`, "expected ',' or ']', not '2', at line 1, column 10"},
		{"no colon", `{"a" 1}`, "expected ':' after the key, not '1', at line 1, column 6"},
		{"no value", `{"a": }`, "expected a value, not '}', at line 1, column 7"},
		{"Python's truth", `{"a": True}`, "expected true, false, null or double quotes, at line 1, column 7"},
		{"nearly true", `{"a": trve}`, "expected true, false or null, at line 1, column 9"},
		{"not a number", `{"a": NaN}`, "expected true, false, null or double quotes"},
		{"variable", `{"a": ${component_a}}`, "expected true, false, null or double quotes"},
		{"key without quotes", `{a: 1}`, "expected a key in double quotes, not 'a'"},
		{"comment", "{\"a\": # x\n1}", "JSON has no comments, at line 1, column 7"},
		{"comment before", "// x\n{}", "JSON has no comments, at line 1, column 1"},
		{"line break in a text", "{\"a\": \"x\ny\"}", `unescaped '\n' in a string; write a line break as \n, a tab as \t, at line 1, column 9`},
		{"path of Windows", `{"a": "C:\data"}`, `invalid escape before 'd'; write a backslash as \\, at line 1, column 11`},
		{"half a letter's number", `{"a": "\u12x4"}`, `expected four hexadecimal digits after \u, not 'x'`},
		{"number with a zero before", `{"a": 1.x}`, "unexpected 'x' in a number"},
		{"not closed", "{\"a\": {\n\"b\": 1", "truncated: a bracket or a quotation mark is not closed, at line 2"},
		{"text behind", "{}\n{}", "unexpected '{' after the end of the value, at line 2, column 1"},
		{"columns are characters", `{"año": "ñ" 1}`, "at line 1, column 13"},
		{"key twice", "{\"a\": 1,\n\"a\": 2}", `duplicate key "a", at line 2`},
		{"HTML", "\n<!DOCTYPE html><title>Sign in</title>", "not JSON: it is an HTML page; it may be a sign-in page"},
		{"XML", `<?xml version="1.0"?>`, "not JSON: it is XML"},
		{"form of curl -d", "package=flow-1.0.0&user=ana", "not JSON: it is a form (application/x-www-form-urlencoded); send JSON, for example"},
		{"form of curl -F", "--x\r\nContent-Disposition: form-data; name=\"package\"\r\n\r\nflow\r\n--x--\r\n", "not JSON: it is a form (multipart/form-data), as curl -F sends it"},
		{"gzip", "\x1f\x8b\x08\x00", "not JSON: it is compressed with gzip"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "not JSON: it is text in UTF-16; save it as UTF-8"},
		{"conflict", "<<<<<<< HEAD\n{}\n", "not JSON: it is a file with conflict markers"},
		{"pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not JSON: it is a Git LFS pointer; get the file itself with 'git lfs pull'"},
		{"word", "flow-1.0.0", "expected true, false or null"},
		{"name", "Flow", "expected true, false, null or double quotes"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := dm.ParseProperties([]byte(c.text))
			refused(t, err, c.want)
			for _, parser := range []string{"invalid character", "looking for", "unexpected end", "literal", "offset"} {
				if strings.Contains(dm.Public(err), parser) {
					t.Errorf("%q is a word of the parser", parser)
				}
			}
		})
	}
}

// Whatever is cut off, replaced or put into a document, at any byte, is told in
// sentences that hold no word of the parser.
func TestNoFaultOfJSONSpeaksAsTheParser(t *testing.T) {
	t.Parallel()
	const good = "{\"a\": [1, -2.5e+3, true, null, \"x\\n\\u00e9ü\"],\n \"b\": {\"c\": false}}"
	check := func(text string) {
		if _, err := dm.ParseProperties([]byte(text)); err != nil && strings.Contains(dm.Public(err), "invalid character") {
			t.Errorf("%q: %s", text, dm.Public(err))
		}
	}
	for at := range len(good) {
		check(good[:at])
		for c := range 256 {
			check(good[:at] + string([]byte{byte(c)}) + good[at:])
			check(good[:at] + string([]byte{byte(c)}) + good[at+1:])
		}
	}
}

// Forms are guessed by their beginning; what is JSON must never be taken for one.
func TestMistakenTakesNoJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"a=b": 1}`, `"a=b"`, "{}", "[]", " \n{\"--\": 1}", "-1", "true", "", "\ufeff{}", `{"<html>": "PK"}`} {
		if name, _ := dm.Mistaken([]byte(text)); name != "" {
			t.Errorf("%q is taken for %s", text, name)
		}
	}
}

func TestNamesAreShownWhole(t *testing.T) {
	t.Parallel()
	long := func(n int, rest string) string { return strings.Repeat("n", n) + rest }
	cases := []struct{ name, want string }{
		{"päck-1.0.0.tgz", `the package name "päck" contains 'ä'; the letters a-z`},
		{"flow数据-1.0.0.tgz", `the package name "flow数据" contains '数'`},
		{"a😀-1.0.0.tgz", `contains '😀'`},
		{"äpfel-1.0.0.tgz", `the package name "äpfel" contains 'ä'`},
		{"a\xe4b-1.0.0.tgz", "contains the byte 0xe4, which is not UTF-8"},
		{"a\ufffdb-1.0.0.tgz", "contains '\ufffd'"},
		{"a b-1.0.0.tgz", `contains ' '`},
		{"flow-1.0.tgz", `in the package id "flow-1.0" the version "1.0" must be three numbers`},
		{long(199, "ä") + ".zip", fmt.Sprintf("the file name %q must end", long(199, "…"))},
		{long(197, "数数") + ".zip", fmt.Sprintf("the file name %q must end", long(197, "数…"))},
	}
	for _, c := range cases {
		_, err := dm.ParsePackageFile(c.name)
		refused(t, err, c.want)
	}
	_, err := dm.ParseApplicationName("mittag-läuf")
	refused(t, err, `the application name "mittag-läuf" contains 'ä'; it may only contain the characters a-z A-Z 0-9 - _`)
	_, err = dm.ParseApplicationName(strings.Repeat("ä", 64))
	refused(t, err, "has 64 characters, 1 to 63 are allowed")
	refused(t, dm.CheckPath(strings.Repeat("ü", 150)+"/"), "…")
	refused(t, dm.CheckPath(long(199, "\xff\xff\xff")), long(199, `\xff…`))
}
