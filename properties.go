package dm

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a JSON document that comes from outside.
const (
	MaxJSONBytes = 1 << 20
	MaxJSONDepth = 32
	MaxJSONKeys  = 10_000 // at all levels together: each takes many times its bytes in memory
)

// Properties is a JSON object whose values keep the spelling they came with.
type Properties map[string]json.RawMessage

// Defaults are the properties of every component of a package.
type Defaults map[ComponentType]map[ComponentName]Properties

// Overrides are properties given at create or change, by type and component.
// They may name components that the package does not have.
type Overrides map[ComponentType]map[ComponentName]Properties

// ParseProperties reads one JSON object of at most MaxJSONBytes, at most
// MaxJSONDepth levels deep, with at most MaxJSONKeys keys, in UTF-8 with or
// without a byte order mark, without duplicate keys at any level and with
// nothing behind it. The error is Invalid and says where the fault is.
func ParseProperties(data []byte) (Properties, error) {
	const op = "parse JSON"
	if len(data) > MaxJSONBytes {
		return nil, Errorf(TooLarge, op, "the JSON document has %d bytes, at most %d are allowed", len(data), MaxJSONBytes)
	}
	data = WithoutMark(data)
	if err := noText(data); err != nil {
		return nil, err
	}
	if err := checkKeys(data); err != nil {
		return nil, err
	}
	if err := noJSON(data); err != nil {
		return nil, err
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); trimmed[0] != '{' {
		return nil, Errorf(Invalid, op, "the JSON document is not an object; it must start with '{'")
	}
	var p Properties
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, Errorf(Invalid, op, "not JSON").Because(err)
	}
	return p, nil
}

// CheckJSON refuses what is not one JSON value in UTF-8, whatever sort of value
// it is. The error is Invalid and tells the fault and its place in words for
// people.
func CheckJSON(data []byte) error {
	if err := noText(data); err != nil {
		return err
	}
	return noJSON(data)
}

// WithoutMark is data without the byte order mark that editors on Windows put
// before a text in UTF-8.
func WithoutMark(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\ufeff")) }

// ParseOverrides reads the component types and components of p, leaving out
// the keys in except. A value that is not an object is Invalid.
func ParseOverrides(p Properties, except ...string) (Overrides, error) {
	o := Overrides{}
	for _, t := range slices.Sorted(maps.Keys(p)) {
		if slices.Contains(except, t) {
			continue
		}
		var components map[ComponentName]Properties
		if err := unmarshalObject(p[t], &components); err != nil {
			return nil, Errorf(Invalid, "parse overrides", "the component type %q must be an object of components", t)
		}
		for name, props := range components {
			if props == nil {
				return nil, Errorf(Invalid, "parse overrides", "the component %q of type %q must be an object of properties", name, t)
			}
		}
		o[ComponentType(t)] = components
	}
	return o, nil
}

// WithoutSecrets returns the overrides without those that are secrets by their
// key or by what they hold, and which those were, as <type>/<component>/<key> in
// byte order. One whose object holds a secret is left out whole: a part of it
// would be something that nobody asked for.
func (o Overrides) WithoutSecrets() (open Overrides, secret []string) {
	open = Overrides{}
	for t, components := range o {
		open[t] = map[ComponentName]Properties{}
		for name, properties := range components {
			kept := Properties{}
			for key, value := range properties {
				if place, found := secretIn(key, value); found {
					secret = append(secret, fmt.Sprintf("%s/%s/%s", t, name, place))
				} else {
					kept[key] = value
				}
			}
			open[t][name] = kept
		}
	}
	slices.Sort(secret)
	return open, secret
}

// secretIn finds a secret in a property and names its place, such as db.password.
func secretIn(key string, raw json.RawMessage) (place string, found bool) {
	if refersToSecret(raw) {
		return "", false // it tells where the secret is, to those who may look there
	}
	if IsSecret(key) {
		return key, true
	}
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return "", false // the JSON was checked when it came
	}
	place, found = secretBelow(key, value)
	return place, found
}

// refersToSecret tells a reference to a Secret of the cluster, {"secretRef": "…"}.
func refersToSecret(raw json.RawMessage) bool {
	var object map[string]string
	return json.Unmarshal(raw, &object) == nil && len(object) == 1 && object["secretRef"] != ""
}

func secretBelow(place string, value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return place, HoldsSecret(v)
	case []any:
		for _, one := range v {
			if at, found := secretBelow(place, one); found {
				return at, true
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			at := place + "." + key
			if IsSecret(key) {
				return at, true
			}
			if at, found := secretBelow(at, v[key]); found {
				return at, true
			}
		}
	}
	return "", false
}

func unmarshalObject(raw json.RawMessage, into any) error {
	if len(raw) == 0 || raw[0] != '{' {
		return errors.New("not an object")
	}
	return json.Unmarshal(raw, into)
}

// checkKeys walks the tokens: Go's decoder silently keeps the last of two equal
// keys and goes as deep as the input asks. It takes several values for one.
func checkKeys(data []byte) error {
	const op = "parse JSON"
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var levels []jsonLevel
	keys := 0
	for {
		token, err := dec.Token()
		switch {
		case errors.Is(err, io.EOF) && len(levels) == 0:
			return nil
		case err != nil:
			return cmp.Or(noJSON(data), error(Errorf(Invalid, op, "not JSON, %s", jsonPlace(data, dec.InputOffset())).Because(err)))
		}
		if len(levels) > 0 {
			if levels[len(levels)-1].expectsKey(token) {
				keys++
			}
			if keys > MaxJSONKeys {
				return Errorf(Invalid, op, "the JSON document has more than %d keys, %s", MaxJSONKeys, jsonPlace(data, dec.InputOffset()))
			}
			if key := levels[len(levels)-1].duplicate(token); key != "" {
				return Errorf(Invalid, op, "duplicate key %q, %s", clip(key), jsonPlace(data, dec.InputOffset()))
			}
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if len(levels) == MaxJSONDepth {
				return Errorf(Invalid, op, "the JSON document is nested deeper than %d levels, %s", MaxJSONDepth, jsonPlace(data, dec.InputOffset()))
			}
			level := jsonLevel{}
			if token == json.Delim('{') {
				level.keys = map[string]bool{}
			}
			levels = append(levels, level)
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:len(levels)-1]
		}
	}
}

// jsonLevel is one open object or array; keys is nil for an array.
type jsonLevel struct {
	keys  map[string]bool
	value bool // in an object: the next token starts or is a value
}

// expectsKey tells whether token, directly inside the level, is a key.
func (l *jsonLevel) expectsKey(token json.Token) bool {
	return l.keys != nil && !l.value && token != json.Delim('}')
}

// duplicate returns the key when token repeats one of this object. Called once
// for every token directly inside the level; a nested object or array counts
// by its opening token alone, its closing one belongs to itself.
func (l *jsonLevel) duplicate(token json.Token) string {
	if l.keys == nil || token == json.Delim('}') || token == json.Delim(']') {
		return ""
	}
	if l.value {
		l.value = false
		return ""
	}
	key, _ := token.(string)
	if l.keys[key] {
		return cmp.Or(key, "(empty)")
	}
	l.keys[key], l.value = true, true
	return ""
}

// noText says what data is when it can't be JSON whatever it says.
func noText(data []byte) error {
	const op = "parse JSON"
	if name, hint := Mistaken(data); name != "" {
		return Errorf(Invalid, op, "not JSON: it is %s", name).WithHint("%s", hint)
	}
	// Go's decoder takes such bytes for U+FFFD and keeps the raw value, which
	// no other reader takes for JSON.
	if n := validUTF8(data); n < len(data) {
		return Errorf(Invalid, op, "not JSON: the byte %#02x is not UTF-8, %s", data[n], jsonPlace(data, int64(n)+1)).
			WithHint("save it as UTF-8")
	}
	return nil
}

// noJSON says in words of JSON, not of a parser, why data is not one value, and
// where; nil when it is one.
func noJSON(data []byte) error {
	const op = "parse JSON"
	var syntax *json.SyntaxError
	var value json.RawMessage
	err := json.Unmarshal(data, &value)
	switch {
	case err == nil:
		return nil
	case len(bytes.TrimSpace(data)) == 0:
		return Errorf(Invalid, op, "not JSON: it is empty").WithHint("the minimum is {}")
	case !errors.As(err, &syntax):
		return Errorf(Invalid, op, "not JSON").Because(err)
	}
	return Errorf(Invalid, op, "not JSON: %s, %s", jsonFault(data, syntax), jsonPlace(data, syntax.Offset)).Because(err)
}

// jsonFaults are the decoder's words, what they mean to a person, and what to
// do. The first that fits is taken.
var jsonFaults = [...]struct{ decoder, means string }{
	{"unexpected end", "truncated: a bracket or a quotation mark is not closed"},
	{"after top-level value", "unexpected %s after the end of the value"},
	{"looking for beginning of object key string", "expected a key in double quotes, not %s"},
	{"after object key:value pair", "expected ',' or '}', not %s"},
	{"after object key", "expected ':' after the key, not %s"},
	{"after array element", "expected ',' or ']', not %s"},
	{"in string escape code", `invalid escape before %s; write a backslash as \\`},
	{"hexadecimal character escape", `expected four hexadecimal digits after \u, not %s`},
	{"in string literal", `unescaped %s in a string; write a line break as \n, a tab as \t`},
	{"numeric literal", "unexpected %s in a number"},
	{"in literal", "expected true, false or null"},
}

// jsonFault says what is wrong at the byte before syntax.Offset.
func jsonFault(data []byte, syntax *json.SyntaxError) string {
	r, _ := utf8.DecodeRune(data[min(max(syntax.Offset-1, 0), int64(len(data)-1)):])
	text := syntax.Error()
	for _, f := range jsonFaults {
		if strings.Contains(text, f.decoder) {
			if strings.Contains(f.means, "%s") {
				return fmt.Sprintf(f.means, fmt.Sprintf("%q", r))
			}
			return f.means
		}
	}
	switch before := bytes.TrimSpace(data[:max(syntax.Offset-1, 0)]); {
	case strings.ContainsRune("}]", r) && bytes.HasSuffix(before, []byte(",")):
		return fmt.Sprintf("unexpected comma before %q", r)
	case r == '\'' || r == '‘' || r == '“' || r == '”' || r == '’':
		return fmt.Sprintf("unexpected %q; strings have straight double quotes", r)
	case r == '#' || r == '/':
		return "JSON has no comments"
	case r == '_' || r == '$' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z':
		return "expected true, false, null or double quotes"
	}
	return fmt.Sprintf("expected a value, not %q", r)
}

// jsonPlace is where the byte before offset stands, for people: columns are
// characters.
func jsonPlace(data []byte, offset int64) string {
	before := data[:min(max(offset-1, 0), int64(len(data)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("at line %d, column %d", line, column)
}

// validUTF8 is the number of bytes before the first that is not UTF-8.
func validUTF8(data []byte) int {
	n := 0
	for n < len(data) {
		r, size := utf8.DecodeRune(data[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}

// formBody tells the text of an HTML form as curl -d sends it.
var formBody = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}=`)

// Mistaken names what data is when it begins like something that people send by
// mistake in place of a package or of JSON, and what to do; name is "" when it
// does not. The beginning of data is enough.
func Mistaken(data []byte) (name, hint string) {
	head := data[:min(len(data), 512)]
	text := bytes.TrimLeft(WithoutMark(head), " \t\r\n")
	lower := bytes.ToLower(text)
	begins := func(with string) bool { return bytes.HasPrefix(lower, []byte(with)) }
	switch {
	case begins("--") && bytes.Contains(lower, []byte("content-disposition: form-data")):
		return "a form (multipart/form-data), as curl -F sends it", "send the file's own bytes: curl --upload-file <file> <address>"
	case begins("<!doctype html"), begins("<html"), begins("<head"), begins("<body"):
		return "an HTML page", "it may be a sign-in page or an error in place of the file"
	case begins("<?xml"):
		return "XML", ""
	case begins("version https://git-lfs"):
		return "a Git LFS pointer", "get the file itself with 'git lfs pull'"
	case begins("<<<<<<< "):
		return "a file with conflict markers", "resolve the conflict first"
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return "text in UTF-16", "save it as UTF-8"
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		return "compressed with gzip", "send it uncompressed"
	case formBody.Match(text):
		if _, err := url.ParseQuery(string(bytes.TrimSpace(text))); err == nil && !bytes.ContainsAny(bytes.TrimSpace(text), " \n\"{") {
			return "a form (application/x-www-form-urlencoded)", `send JSON, for example: curl -d '{"package": "flow-report-1.0.0"}'`
		}
	}
	return "", ""
}
