package repo

import (
	"fmt"
	"strings"
	"testing"
	"testing/quick"

	dm "github.com/pndaproject/deployment-manager"
)

func TestEncodeName(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, want string }{
		{"flow-collector", "flow-collector"},
		{"a.b_c", "a.b_c"},
		{"Ana", "=41na"},
		{".hidden.", "=2ehidden=2e"},
		{"-rf", "=2drf"},
		{"a/b", "a=2fb"},
		{"zoë", "zo=c3=ab"},
		{"a=41", "a=3d41"},
	}
	for _, c := range cases {
		if got := EncodeName(c.name); got != c.want {
			t.Errorf("encodeName(%q) = %q, want %q", c.name, got, c.want)
		}
	}
	longest := strings.Repeat("Ü", dm.MaxUserName/2)
	if got := EncodeName(longest); len(got) > 250 || !strings.HasPrefix(got, "==") {
		t.Errorf("the longest name becomes %d bytes: %q", len(got), got)
	}
}

// TestEncodeNameIsInjective holds 200 near pairs and random names.
func TestEncodeNameIsInjective(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for i := range 50 {
		for _, form := range []string{"a.b%d", "a-b%d", "A.b%d", "a=2eb%d", "==a%d", "ä%d", "a\u0308%d"} {
			name := fmt.Sprintf(form, i)
			dir := EncodeName(name)
			if other, ok := seen[strings.ToLower(dir)]; ok {
				t.Errorf("%q and %q share %q", name, other, dir)
			}
			seen[strings.ToLower(dir)] = name
		}
	}
	round := func(name string) bool {
		if len(name) > dm.MaxUserName {
			name = name[:dm.MaxUserName]
		}
		back, ok := DecodeName(EncodeName(name))
		return ok && back == name
	}
	if err := quick.Check(round, nil); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"A", "=4", "=zz", "==!", "=61", ".x"} {
		if name, ok := DecodeName(dir); ok {
			t.Errorf("decodeName(%q) = %q", dir, name)
		}
	}
}
