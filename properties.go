package dm

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
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

// IsSecret tells the keys whose values never leave the server: no API shows
// them, and they are no variables of templates, so they never enter git.
func IsSecret(key string) bool {
	key = strings.ToLower(key)
	return slices.ContainsFunc([]string{"password", "private_key", "secret", "token"}, func(word string) bool {
		return strings.Contains(key, word)
	})
}

// ParseProperties reads one JSON object of at most MaxJSONBytes, at most
// MaxJSONDepth levels deep, with at most MaxJSONKeys keys, in UTF-8, without duplicate keys at any level and
// with nothing behind it. The error is Invalid and says where the fault is.
func ParseProperties(data []byte) (Properties, error) {
	const op = "parse JSON"
	if len(data) > MaxJSONBytes {
		return nil, Errorf(TooLarge, op, "the JSON document has %d bytes, at most %d are allowed", len(data), MaxJSONBytes)
	}
	// Go's decoder takes such bytes for U+FFFD and keeps the raw value, which
	// no other reader takes for JSON.
	if !utf8.Valid(data) {
		return nil, Errorf(Invalid, op, "the JSON document is not UTF-8, at byte %d", validUTF8(data))
	}
	if err := checkJSON(data); err != nil {
		return nil, err
	}
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); trimmed[0] != '{' {
		return nil, Errorf(Invalid, op, "the JSON document is not an object")
	}
	var p Properties
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, Errorf(Invalid, op, "not JSON: %v", err)
	}
	return p, nil
}

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

// WithoutSecrets returns the overrides without the keys that IsSecret tells, and
// which those were, as <type>/<component>/<key> in byte order.
func (o Overrides) WithoutSecrets() (open Overrides, secret []string) {
	open = Overrides{}
	for t, components := range o {
		open[t] = map[ComponentName]Properties{}
		for name, properties := range components {
			kept := Properties{}
			for key, value := range properties {
				if IsSecret(key) {
					secret = append(secret, fmt.Sprintf("%s/%s/%s", t, name, key))
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

func unmarshalObject(raw json.RawMessage, into any) error {
	if len(raw) == 0 || raw[0] != '{' {
		return errors.New("not an object")
	}
	return json.Unmarshal(raw, into)
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

// checkJSON walks the tokens: Go's decoder silently keeps the last of two
// equal keys and recurses as deep as the input asks.
func checkJSON(data []byte) error {
	const op = "parse JSON"
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var levels []jsonLevel
	keys := 0
	for {
		token, err := dec.Token()
		switch {
		case errors.Is(err, io.EOF) && len(levels) == 0 && dec.InputOffset() > 0 && len(bytes.TrimSpace(data)) > 0:
			return nil
		case err != nil:
			return Errorf(Invalid, op, "not JSON: %s", jsonFault(err, dec.InputOffset()))
		}
		if len(levels) > 0 {
			if levels[len(levels)-1].expectsKey(token) {
				keys++
			}
			if keys > MaxJSONKeys {
				return Errorf(Invalid, op, "the JSON document has more than %d keys, before byte %d", MaxJSONKeys, dec.InputOffset())
			}
			if key := levels[len(levels)-1].duplicate(token); key != "" {
				return Errorf(Invalid, op, "the JSON key %q is there twice, before byte %d", clip(key), dec.InputOffset())
			}
		} else if dec.InputOffset() > 0 && token != json.Delim('{') && token != json.Delim('[') && dec.More() {
			return Errorf(Invalid, op, "more than one JSON value, at byte %d", dec.InputOffset())
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			if len(levels) == MaxJSONDepth {
				return Errorf(Invalid, op, "the JSON document is deeper than %d levels, at byte %d", MaxJSONDepth, dec.InputOffset())
			}
			level := jsonLevel{}
			if token == json.Delim('{') {
				level.keys = map[string]bool{}
			}
			levels = append(levels, level)
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:len(levels)-1]
			if len(levels) == 0 && dec.More() {
				return Errorf(Invalid, op, "more than one JSON value, at byte %d", dec.InputOffset())
			}
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

func jsonFault(err error, offset int64) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Sprintf("it ends too early, at byte %d", offset)
	}
	return fmt.Sprintf("%s, near byte %d", strings.TrimPrefix(err.Error(), "json: "), offset)
}
