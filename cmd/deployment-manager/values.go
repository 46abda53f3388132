package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	dm "github.com/pndaproject/deployment-manager"
)

// The kinds of values. Each reads the text of a flag or variable; lists and
// maps also read YAML, so that the file and a variable can say the same.

type textValue struct {
	to    *string
	check func(string) error // nil accepts everything
}

func (v *textValue) Type() string   { return "text" }
func (v *textValue) String() string { return *v.to }
func (v *textValue) Set(s string) error {
	if v.check != nil {
		if err := v.check(s); err != nil {
			return err
		}
	}
	*v.to = s
	return nil
}

func notEmpty(s string) error {
	if s == "" {
		return fmt.Errorf("must not be empty")
	}
	return nil
}

func hostPort(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%q does not end in a port number from 0 to 65535", s)
	}
	return nil
}

func optionalURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%q is not an http or https address", s)
	}
	return nil
}

type boolValue struct{ to *bool }

func (v *boolValue) Type() string     { return "bool" }
func (v *boolValue) String() string   { return strconv.FormatBool(*v.to) }
func (v *boolValue) IsBoolFlag() bool { return true }
func (v *boolValue) Set(s string) error {
	switch s {
	case "true":
		*v.to = true
	case "false":
		*v.to = false
	default:
		return fmt.Errorf("%q is not true or false", s)
	}
	return nil
}

// timeValue is a time between a second and a year, such as 90s, 24h or 1h30m.
type timeValue struct{ to *time.Duration }

func (v *timeValue) Type() string { return "time" }

// String leaves out the zero minutes and seconds that nobody types.
func (v *timeValue) String() string {
	text := v.to.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func (v *timeValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Second || d > 365*24*time.Hour {
		return fmt.Errorf("%q is not a time between 1s and 8760h, such as 90s or 24h", s)
	}
	*v.to = d
	return nil
}

// pauseValue is a timeValue that may also be 0, for never.
type pauseValue struct{ timeValue }

func (v *pauseValue) String() string {
	if *v.to == 0 {
		return "0"
	}
	return v.timeValue.String()
}

func (v *pauseValue) Set(s string) error {
	if s == "0" {
		*v.to = 0
		return nil
	}
	if err := v.timeValue.Set(s); err != nil {
		return fmt.Errorf("%w, or 0", err)
	}
	return nil
}

type choiceValue struct {
	to      *string
	allowed []string
}

func (v *choiceValue) Type() string   { return "choice" }
func (v *choiceValue) String() string { return *v.to }
func (v *choiceValue) Set(s string) error {
	if !slices.Contains(v.allowed, s) {
		return fmt.Errorf("%q is not %s", s, strings.Join(v.allowed, " or "))
	}
	*v.to = s
	return nil
}

type modeValue struct{ to *dm.AuthMode }

func (v *modeValue) Type() string   { return "mode" }
func (v *modeValue) String() string { return string(*v.to) }
func (v *modeValue) Set(s string) error {
	mode, err := dm.ParseAuthMode(s)
	if err != nil {
		return fmt.Errorf("%q is not strict, public-read or insecure-pnda", s)
	}
	*v.to = mode
	return nil
}

type levelValue struct{ to *slog.Level }

func (v *levelValue) Type() string   { return "level" }
func (v *levelValue) String() string { return strings.ToLower(v.to.String()) }
func (v *levelValue) Set(s string) error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, strings.ToLower(s)) {
		return fmt.Errorf("%q is not debug, info, warn or error", s)
	}
	return v.to.UnmarshalText([]byte(s))
}

// maxCount is far above any count that makes sense: each worker is made at the
// start and ended at the stop.
const maxCount = 1_000_000

type countValue struct{ to *int }

func (v *countValue) Type() string   { return "number" }
func (v *countValue) String() string { return strconv.Itoa(*v.to) }
func (v *countValue) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxCount {
		return fmt.Errorf("%q is not an integer from 1 to %d", s, maxCount)
	}
	*v.to = n
	return nil
}

// optionalCount is a count that may be left empty, which is 0.
type optionalCount struct{ to *int }

func (v *optionalCount) Type() string { return "number" }
func (v *optionalCount) String() string {
	if *v.to == 0 {
		return ""
	}
	return strconv.Itoa(*v.to)
}

func (v *optionalCount) Set(s string) error {
	if s == "" {
		*v.to = 0
		return nil
	}
	return (&countValue{v.to}).Set(s)
}

type sizeValue struct{ to *int64 }

// sizeUnits are tried in this order, so that the longer ending wins over "B".
var sizeUnits = [...]struct {
	ending string
	shift  uint
}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}, {"B", 0}, {"", 0}}

func (v *sizeValue) Type() string { return "size" }
func (v *sizeValue) String() string {
	for _, u := range sizeUnits {
		if *v.to > 0 && *v.to%(1<<u.shift) == 0 {
			return strconv.FormatInt(*v.to>>u.shift, 10) + u.ending
		}
	}
	return strconv.FormatInt(*v.to, 10)
}
func (v *sizeValue) Set(s string) error {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(s, u.ending)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 1 || n > (1<<62)>>u.shift {
			break
		}
		*v.to = n << u.shift
		return nil
	}
	return fmt.Errorf("%q is not a size such as 500MiB, 4GiB or a number of bytes", s)
}

type listValue struct{ to *[]string }

func (v *listValue) Type() string   { return "list" }
func (v *listValue) String() string { return strings.Join(*v.to, ",") }
func (v *listValue) Set(s string) error {
	list := []string{}
	if strings.HasPrefix(s, "[") {
		if err := yaml.UnmarshalStrict([]byte(s), &list); err != nil {
			return fmt.Errorf("is not a list of strings")
		}
	} else if s != "" {
		list = strings.Split(s, ",")
	}
	for i, item := range list {
		if list[i] = strings.TrimSpace(item); list[i] == "" {
			return fmt.Errorf("%q has an empty item", s)
		}
	}
	*v.to = list
	return nil
}

type groupsValue struct{ to *map[string][]string }

func (v *groupsValue) Type() string   { return "groups" }
func (v *groupsValue) String() string { return jsonText(*v.to) }
func (v *groupsValue) Set(s string) error {
	groups := map[string][]string{}
	if err := yaml.UnmarshalStrict([]byte(s), &groups); err != nil {
		return fmt.Errorf("is not a map from group to list of users, such as {admin: [ana]}")
	}
	*v.to = groups
	return nil
}

type environmentValue struct{ to *map[string]any }

func (v *environmentValue) Type() string   { return "variables" }
func (v *environmentValue) String() string { return jsonText(*v.to) }

// Set turns numbers and booleans into text: PNDA's console calls text
// functions on every value and breaks on anything else.
func (v *environmentValue) Set(s string) error {
	raw := map[string]json.RawMessage{}
	if err := yaml.UnmarshalStrict([]byte(s), &raw); err != nil {
		return fmt.Errorf("is not a map of strings, such as {kafka_brokers: \"kafka:9092\"}")
	}
	out := make(map[string]any, len(raw))
	for key, value := range raw {
		if text, ok := scalarText(value); ok {
			out[key] = text
			continue
		}
		nested := map[string]json.RawMessage{}
		if err := json.Unmarshal(value, &nested); err != nil {
			return fmt.Errorf("the value of %q must be a string or a map of strings", key)
		}
		texts := make(map[string]string, len(nested))
		for inner, value := range nested {
			text, ok := scalarText(value)
			if !ok {
				return fmt.Errorf("the value of %q must be a string", key+"."+inner)
			}
			texts[inner] = text
		}
		out[key] = texts
	}
	*v.to = out
	return nil
}

// scalarText returns the text of a JSON text, number, boolean or null.
func scalarText(raw json.RawMessage) (string, bool) {
	if len(raw) == 0 || raw[0] == '{' || raw[0] == '[' {
		return "", false
	}
	if raw[0] == '"' {
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err == nil
	}
	if string(raw) == "null" {
		return "", true
	}
	return string(raw), true
}

func jsonText(v any) string {
	text, err := json.Marshal(v)
	if err != nil || string(text) == "null" {
		return "{}"
	}
	return string(text)
}
