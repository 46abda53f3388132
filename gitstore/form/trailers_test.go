package form

import (
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
)

func TestTrailersCannotBeForged(t *testing.T) {
	t.Parallel()
	at := time.Date(2025, 1, 6, 10, 20, 30, 123456789, time.UTC)
	stamp := dm.Stamp{Verb: dm.Create, User: "ana\nDM-User: root", Auth: "none", Via: "rest", Time: at, RequestID: "r1"}
	message := append(stampTrailers(stamp), [2]string{trailerInformation, "first\n\nDM-User: root\x1b[31m\u202e"}).message("Create a\nDM-User: root")
	got := ParseTrailers(message)
	if got[TrailerUser] != "ana DM-User: root" || got[trailerAction] != "create" || len(got) != 7 {
		t.Errorf("parsed %q from\n%s", got, message)
	}
	if strings.ContainsAny(message, "\x1b\u202e") {
		t.Errorf("control characters stayed in %q", message)
	}
	if back := parseStamp(got, object.Signature{}); !back.Time.Equal(at) || back.Verb != dm.Create || back.RequestID != "r1" {
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
