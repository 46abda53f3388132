package receive

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	dm "github.com/pndaproject/deployment-manager"
)

// headFields are the fields that a commit or a tag has once.
var headFields = map[string][]string{
	"commit": {"tree", "author", "committer"},
	"tag":    {"object", "type", "tag", "tagger"},
}

// parseHead reads the header of a commit or a tag and refuses what programs read
// in different ways: fields that are there twice, and control characters, which
// a terminal may obey. git's own check lets both through.
func parseHead(kind, id string, content []byte) (map[string]string, error) {
	const op = "receive.push"
	fault := func(format string, args ...any) error {
		return dm.Errorf(dm.Invalid, op, "the %s %.12s is refused: %s", kind, id, fmt.Sprintf(format, args...))
	}
	if at := controlIn(content); at >= 0 {
		r, _ := utf8.DecodeRune(content[at:])
		return nil, fault("it contains the control character %U at byte %d", r, at)
	}
	head, _, _ := bytes.Cut(content, []byte("\n\n"))
	if bytes.IndexByte(head, '\r') >= 0 {
		return nil, fault("its header contains a carriage return")
	}
	fields := map[string]string{}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(head), "\n"), "\n") {
		key, value, ok := strings.Cut(line, " ")
		switch {
		case key == "" && ok: // goes on with the field before, as signatures do
			continue
		case !ok || !slices.Contains(headKeys[kind], key):
			return nil, fault("its header has the unknown field %q", firstBytes(key))
		}
		if _, twice := fields[key]; twice && key != "parent" && key != "mergetag" {
			return nil, fault("its header has the duplicate field %q", key)
		}
		fields[key] = value
	}
	for _, key := range headFields[kind] {
		if fields[key] == "" {
			return nil, fault("its header has no field %q", key)
		}
	}
	switch encoding := strings.ToLower(fields["encoding"]); {
	case encoding == "", encoding == "utf-8", encoding == "utf8":
	case !strings.HasPrefix(encoding, "iso-8859-") && encoding != "latin1":
		// Others, such as UTF-7, write control characters in plain letters.
		return nil, fault("its encoding is %q; UTF-8 and ISO-8859 are allowed", firstBytes(encoding))
	case slices.ContainsFunc(content, func(b byte) bool { return 0x80 <= b && b < 0xa0 }):
		return nil, fault("it contains a control character of its encoding")
	}
	return fields, nil
}

// controlIn returns the place of the first control character, or -1. Line ends
// and tabs are none here.
func controlIn(content []byte) int {
	return bytes.IndexFunc(content, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' })
}

// headKeys are the fields that git and the programs around it write.
var headKeys = map[string][]string{
	"commit": {"tree", "parent", "author", "committer", "encoding", "gpgsig", "gpgsig-sha256", "mergetag", "change-id"},
	"tag":    {"object", "type", "tag", "tagger", "gpgsig", "gpgsig-sha256", "encoding"},
}

// firstBytes keeps a message short.
func firstBytes(s string) string { return s[:min(len(s), 60)] }
