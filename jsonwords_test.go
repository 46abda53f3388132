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
		{"single quotes", "{'a': 1}", `a key in double quotes is expected, not '\'', in line 1 at character 2`},
		{"single quotes of a value", "{\"a\": 'x'}", `'\'' begins no text; texts stand in straight double quotes, in line 1 at character 7`},
		{"curly quotes", "{\"a\":\n “x”}", "'“' begins no text; texts stand in straight double quotes, in line 2 at character 2"},
		{"comma at the end", "{\n  \"a\": 1,\n}", "a key in double quotes is expected, not '}', in line 3 at character 1"},
		{"comma at the end of a list", `{"a": [1, ]}`, "a comma stands before ']', in line 1 at character 11"},
		{"no comma", "{\"a\": 1\n \"b\": 2}", `',' or '}' is expected, not '"', in line 2 at character 2`},
		{"no comma in a list", `{"a": [1 2]}`, "',' or ']' is expected, not '2', in line 1 at character 10"},
		{"no colon", `{"a" 1}`, "':' is expected after the key, not '1', in line 1 at character 6"},
		{"no value", `{"a": }`, "a value is expected, not '}', in line 1 at character 7"},
		{"Python's truth", `{"a": True}`, "a word without quotes is none of true, false and null, in line 1 at character 7"},
		{"nearly true", `{"a": trve}`, "a word is none of true, false and null, in line 1 at character 9"},
		{"not a number", `{"a": NaN}`, "a word without quotes is none of true, false and null"},
		{"variable", `{"a": ${component_a}}`, "a word without quotes is none of true, false and null"},
		{"key without quotes", `{a: 1}`, "a key in double quotes is expected, not 'a'"},
		{"comment", "{\"a\": # x\n1}", "JSON knows no comments, in line 1 at character 7"},
		{"comment before", "// x\n{}", "JSON knows no comments, in line 1 at character 1"},
		{"line break in a text", "{\"a\": \"x\ny\"}", `a text holds '\n' as it is; a line break is written \n, a tab \t, in line 1 at character 9`},
		{"path of Windows", `{"a": "C:\data"}`, `a backslash stands before 'd'; a backslash itself is written \\, in line 1 at character 11`},
		{"half a letter's number", `{"a": "\u12x4"}`, `\u needs four hexadecimal digits, not 'x'`},
		{"number with a zero before", `{"a": 1.x}`, "a number holds 'x'"},
		{"not closed", "{\"a\": {\n\"b\": 1", "it ends too early: a bracket or a quotation mark is not closed, in line 2"},
		{"text behind", "{}\n{}", "more than one value: '{' stands behind the end of the first, in line 2 at character 1"},
		{"columns are characters", `{"año": "ñ" 1}`, "in line 1 at character 13"},
		{"key twice", "{\"a\": 1,\n\"a\": 2}", `the JSON key "a" is there twice, in line 2`},
		{"HTML", "\n<!DOCTYPE html><title>Sign in</title>", "not JSON: it is an HTML page; look into it"},
		{"XML", `<?xml version="1.0"?>`, "not JSON: it is XML"},
		{"form of curl -d", "package=flow-1.0.0&user=ana", "not JSON: it is a form (application/x-www-form-urlencoded); send JSON, for example"},
		{"form of curl -F", "--x\r\nContent-Disposition: form-data; name=\"package\"\r\n\r\nflow\r\n--x--\r\n", "not JSON: it is a form (multipart/form-data), as curl -F sends it"},
		{"gzip", "\x1f\x8b\x08\x00", "not JSON: it is compressed with gzip"},
		{"UTF-16", "\xff\xfe{\x00}\x00", "not JSON: it is text in UTF-16; save it as UTF-8"},
		{"conflict", "<<<<<<< HEAD\n{}\n", "not JSON: it is a file with the marks of a merge"},
		{"pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "not JSON: it is a pointer of Git LFS; 'git lfs pull' brings the file itself"},
		{"word", "flow-1.0.0", "a word is none of true, false and null"},
		{"name", "Flow", "a word without quotes is none of true, false and null"},
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
		{"päck-1.0.0.tgz", `the package name "päck" holds 'ä'; the letters a-z`},
		{"flow数据-1.0.0.tgz", `the package name "flow数据" holds '数'`},
		{"a😀-1.0.0.tgz", `holds '😀'`},
		{"äpfel-1.0.0.tgz", `the package name "äpfel" holds 'ä'`},
		{"a\xe4b-1.0.0.tgz", "holds the byte 0xe4, which is not UTF-8"},
		{"a\ufffdb-1.0.0.tgz", "holds '\ufffd'"},
		{"a b-1.0.0.tgz", `holds ' '`},
		{"flow-1.0.tgz", `in the package id "flow-1.0" the version "1.0" must be three numbers`},
		{long(199, "ä") + ".zip", fmt.Sprintf("the file name %q must end", long(199, "…"))},
		{long(197, "数数") + ".zip", fmt.Sprintf("the file name %q must end", long(197, "数…"))},
	}
	for _, c := range cases {
		_, err := dm.ParsePackageFile(c.name)
		refused(t, err, c.want)
	}
	_, err := dm.ParseApplicationName("mittag-läuf")
	refused(t, err, `the application name "mittag-läuf" holds 'ä'; it may only hold the characters a-z A-Z 0-9 - _`)
	_, err = dm.ParseApplicationName(strings.Repeat("ä", 64))
	refused(t, err, "has 64 characters, 1 to 63 are allowed")
	refused(t, dm.CheckPath(strings.Repeat("ü", 150)+"/"), "…")
	refused(t, dm.CheckPath(long(199, "\xff\xff\xff")), long(199, `\xff…`))
}
