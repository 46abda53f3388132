package gitstore

import (
	"fmt"
	"strings"
	"testing"
	"testing/quick"
	"time"

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
		if got := encodeName(c.name); got != c.want {
			t.Errorf("encodeName(%q) = %q, want %q", c.name, got, c.want)
		}
	}
	longest := strings.Repeat("Ü", dm.MaxUserName/2)
	if got := encodeName(longest); len(got) > 250 || !strings.HasPrefix(got, "==") {
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
			dir := encodeName(name)
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
		back, ok := decodeName(encodeName(name))
		return ok && back == name
	}
	if err := quick.Check(round, nil); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"A", "=4", "=zz", "==!", "=61", ".x"} {
		if name, ok := decodeName(dir); ok {
			t.Errorf("decodeName(%q) = %q", dir, name)
		}
	}
}

func TestTrailersCannotBeForged(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 1, 6, 10, 20, 30, 123456789, time.UTC)
	stamp := dm.Stamp{Verb: dm.Create, User: "ana\nDM-User: root", Auth: "none", Via: "rest", Time: at, RequestID: "r1"}
	message := append(stampTrailers(stamp), [2]string{trailerInformation, "first\n\nDM-User: root\x1b[31m\u202e"}).message("Create a\nDM-User: root")
	got := parseTrailers(message)
	if got[trailerUser] != "ana DM-User: root" || got[trailerAction] != "create" || len(got) != 7 {
		t.Errorf("parsed %q from\n%s", got, message)
	}
	if strings.ContainsAny(message, "\x1b\u202e") {
		t.Errorf("control characters stayed in %q", message)
	}
	if back := parseStamp(got); !back.Time.Equal(at) || back.Verb != dm.Create || back.RequestID != "r1" {
		t.Errorf("stamp %+v", back)
	}
}

// TestPersonSignature: git refuses a commit whose author it finds empty.
func TestPersonSignature(t *testing.T) {
	t.Parallel()
	for user, want := range map[dm.UserName]string{
		"ana": "ana", "ana <root@pnda>": "ana _root@pnda_", "a\nb": "a_b", "...": "anonymous", " ;'": "anonymous", "": "anonymous",
	} {
		if got := personSignature(user, time.Unix(0, 0)); got.Name != want || got.Email != want+"@pnda" {
			t.Errorf("%q signs as %s <%s>, want the name %q", user, got.Name, got.Email, want)
		}
	}
}
