package dm_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

func TestParseProperties(t *testing.T) {
	t.Parallel()
	nested := func(n int) string {
		return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}"
	}
	cases := []struct{ name, text, refused string }{
		{"empty object", "{}", ""},
		{"with space around", " \t\r\n{ \"a\" : 1 } \n", ""},
		{"values", `{"a": "x", "b": 1e400, "c": [1, {"a": 2}], "d": null, "e": true, "f": {"a": {"a": 1}}}`, ""},
		{"same key on other levels", `{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}]}`, ""},
		{"key after a nested value", `{"a": {"b": 1}, "b": 2, "c": [1], "d": 3}`, ""},
		{"key that equals a value", `{"a": "a", "b": "a"}`, ""},
		{"empty key", `{"": 1}`, ""},
		{"31 levels inside", nested(31), ""},

		{"nothing", "", "it is empty"},
		{"only space", " \n", "it is empty"},
		{"not JSON", "nope", "not JSON"},
		{"cut", `{"a": 1`, "truncated"},
		{"cut in a text", `{"a": "x`, "truncated"},
		{"comma at the end", `{"a": 1,}`, "not JSON"},
		{"comment", "{} // x", "after the end of the value"},
		{"byte order mark", "\ufeff{}", ""},
		{"Latin-1 in a text", "{\"a\": \"caf\xe9\"}", "the byte 0xe9 is not UTF-8, at line 1, column 11"},
		{"Latin-1 in a key", "{\"\xe9\": 1}", "the byte 0xe9 is not UTF-8, at line 1, column 3"},
		{"replacement character itself", "{\"a\": \"\ufffd\"}", ""},
		{"single quotes", `{'a': 1}`, "not JSON"},
		{"NaN", `{"a": NaN}`, "not JSON"},
		{"array", "[]", "not an object"},
		{"text", `"x"`, "not an object"},
		{"number", "7", "not an object"},
		{"null", "null", "not an object"},
		{"two objects", "{}{}", "after the end of the value"},
		{"two numbers", "1 2", "after the end of the value"},
		{"bracket behind", "{}]", "not JSON"},
		{"brace behind", "{}}", "not JSON"},
		{"duplicate key", `{"a": 1, "a": 2}`, `duplicate key "a"`},
		{"duplicate key behind a nested value", `{"a": {"x": [1]}, "b": 1, "a": 2}`, `duplicate key "a"`},
		{"duplicate key inside", `{"a": [{"b": 1, "b": 2}]}`, `duplicate key "b"`},
		{"duplicate key in another spelling", `{"a": 1, "\u0061": 2}`, `duplicate key "a"`},
		{"duplicate empty key", `{"": 1, "": 2}`, "duplicate key"},
		{"32 levels inside", nested(32), "deeper than 32"},
		{"200,000 levels", strings.Repeat("[", 200_000), "deeper than 32"},
		{"200,000 objects", strings.Repeat(`{"a":`, 200_000), "deeper than 32"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := dm.ParseProperties([]byte(c.text))
			refused(t, err, c.refused)
		})
	}
	large := `{"a": "` + strings.Repeat("x", dm.MaxJSONBytes) + `"}`
	if _, err := dm.ParseProperties([]byte(large)); dm.KindOf(err) != dm.TooLarge {
		t.Errorf("large document: got %v", err)
	}
}

func TestPropertiesKeepTheirSpelling(t *testing.T) {
	t.Parallel()
	p, err := dm.ParseProperties([]byte(`{"n": 1.50, "big": 12345678901234567890, "s": "\u00e9"}`))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"n": "1.50", "big": "12345678901234567890", "s": `"\u00e9"`} {
		if got := string(p[key]); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
}

func TestParseOverrides(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, text, want, refused string }{
		{"nothing", `{}`, "map[]", ""},
		{"left out", `{"user": "x", "package": "y"}`, "map[]", ""},
		{"one", `{"user": "x", "jupyter": {"c": {"a": 1}}}`, "map[jupyter:map[c:map[a:[49]]]]", ""},
		{"empty component", `{"jupyter": {"c": {}}}`, "map[jupyter:map[c:map[]]]", ""},
		{"type is text", `{"jupyter": "x"}`, "", "component type"},
		{"type is null", `{"jupyter": null}`, "", "component type"},
		{"type is an array", `{"jupyter": [{}]}`, "", "component type"},
		{"component is text", `{"jupyter": {"c": "x"}}`, "", "component type"},
		{"component is null", `{"jupyter": {"c": null}}`, "", `component "c"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := dm.ParseProperties([]byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			got, err := dm.ParseOverrides(p, "user", "package")
			refused(t, err, c.refused)
			if err == nil && fmt.Sprint(got) != c.want {
				t.Errorf("got %v, want %s", got, c.want)
			}
		})
	}
}

func FuzzParseProperties(f *testing.F) {
	for _, text := range []string{`{}`, `{"a": [1, {"b": null}]}`, `{"a": 1, "a": 2}`, `[[[[`, `{"a":{}}{}`, "\ufeff{}", `{"\ud800": 1}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := dm.ParseProperties(data)
		if err != nil {
			if k := dm.KindOf(err); k != dm.Invalid && k != dm.TooLarge {
				t.Errorf("kind %s", k)
			}
			return
		}
		if !json.Valid(dm.WithoutMark(data)) {
			t.Errorf("accepted, but the standard library says that %q is not JSON", data)
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := dm.ParseProperties(again)
		if err != nil || len(q) != len(p) {
			t.Errorf("%q does not read back: %v", again, err)
		}
		_, _ = dm.ParseOverrides(p)
	})
}

func TestOverridesWithoutSecrets(t *testing.T) {
	t.Parallel()
	properties, err := dm.ParseProperties([]byte(`{"jupyter":{"b":{"Db_Password":"x","topic":"y"},"a":{"api_token":1}},"spark":{"c":{}}}`))
	if err != nil {
		t.Fatal(err)
	}
	overrides, err := dm.ParseOverrides(properties)
	if err != nil {
		t.Fatal(err)
	}
	open, secret := overrides.WithoutSecrets()
	if want := []string{"jupyter/a/api_token", "jupyter/b/Db_Password"}; !slices.Equal(secret, want) {
		t.Errorf("secret are %q, want %q", secret, want)
	}
	text, err := json.Marshal(open)
	if want := `{"jupyter":{"a":{},"b":{"topic":"y"}},"spark":{"c":{}}}`; err != nil || string(text) != want {
		t.Errorf("left is %s, want %s (%v)", text, want, err)
	}
	if len(overrides["jupyter"]["b"]) != 2 {
		t.Error("the overrides themselves were changed")
	}
}

func TestParsePropertiesCountsKeys(t *testing.T) {
	t.Parallel()
	keys := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`"k%d":{}`, i)
		}
		return "{" + strings.Join(list, ",") + "}"
	}
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"as many as may be", keys(dm.MaxJSONKeys), true},
		{"one more", keys(dm.MaxJSONKeys + 1), false},
		{"at many levels", `{"a":` + keys(dm.MaxJSONKeys/2) + `,"b":[` + keys(dm.MaxJSONKeys/2) + `]}`, false},
		{"values do not count", `{"a":[` + strings.Repeat(`"x",`, dm.MaxJSONKeys) + `0]}`, true},
	} {
		if _, err := dm.ParseProperties([]byte(c.in)); (err == nil) != c.ok || !c.ok && dm.KindOf(err) != dm.Invalid {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
