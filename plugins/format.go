package plugins

import (
	"cmp"
	"encoding/json"
	"path"
	"strconv"
	"strings"
	"unicode/utf16"

	dm "github.com/pndaproject/deployment-manager"
)

// format is how values are written in one file.
type format struct {
	json  bool              // JSON: what lands in a string is escaped
	words map[string]string // of true, false and null, as the language spells them; nil for JSON's
}

// The languages that do not spell true, false and null as JSON does.
var (
	pythonWords = map[string]string{"true": "True", "false": "False", "null": "None"}
	rWords      = map[string]string{"true": "TRUE", "false": "FALSE", "null": "NULL"}
)

// languages are those of kernels, in lower case, as notebooks name them.
var languages = map[string]map[string]string{
	"python": pythonWords, "python2": pythonWords, "python3": pythonWords, "ipython": pythonWords,
	"pyspark": pythonWords, "pyspark3": pythonWords, "sage": pythonWords, "sagemath": pythonWords,
	"r": rWords, "sparkr": rWords,
}

// spell writes v where a reference stood; quoted says that this is inside a
// JSON string. Outside of one, JSON itself is the reader.
func (f format) spell(v value, quoted bool) string {
	switch {
	case v.word && (quoted || !f.json):
		return cmp.Or(f.words[v.text], v.text)
	case quoted:
		return v.content
	}
	return v.text
}

// formatOf tells how values are written in the file of that name and content.
func formatOf(file string, data []byte) format {
	switch strings.ToLower(path.Ext(file)) {
	case notebookEnd:
		return format{json: true, words: kernelWords(data)}
	case ".json", ".geojson":
		return format{json: true}
	case ".py":
		return format{json: isJSON(data), words: pythonWords}
	}
	return format{json: isJSON(data)}
}

func isJSON(data []byte) bool { return json.Valid(dm.WithoutMark(data)) }

// kernelWords are those of the language that runs a notebook. One that names no
// language, or can't be read, counts as Python's.
func kernelWords(notebook []byte) map[string]string {
	var n struct {
		Metadata struct {
			Kernelspec struct {
				Language string `json:"language"`
			} `json:"kernelspec"`
			LanguageInfo struct {
				Name string `json:"name"`
			} `json:"language_info"`
		} `json:"metadata"`
	}
	// A part that has another shape than here is left empty.
	_ = json.Unmarshal(dm.WithoutMark(notebook), &n)
	name := cmp.Or(strings.TrimSpace(n.Metadata.Kernelspec.Language), strings.TrimSpace(n.Metadata.LanguageInfo.Name), "python")
	return languages[strings.ToLower(name)]
}

// escapeAt reads the escape that a JSON string begins with. n is its length in
// bytes, 0 when it is none. before is the character before it: the second half
// of a pair of surrogates makes one character with the first.
func escapeAt(s []byte, before rune) (r rune, n int) {
	if len(s) < 2 {
		return 0, 0
	}
	if i := strings.IndexByte(`"\/bfnrt`, s[1]); i >= 0 {
		return rune("\"\\/\b\f\n\r\t"[i]), 2
	}
	if s[1] != 'u' || len(s) < 6 {
		return 0, 0
	}
	code, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return 0, 0
	}
	r = rune(code)
	if utf16.IsSurrogate(r) && utf16.IsSurrogate(before) {
		r = utf16.DecodeRune(before, r)
	}
	return r, 6
}
