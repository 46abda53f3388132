package form

import (
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// hostile are texts that try to be more than one line, another trailer, a subject
// or a terminal sequence, and some that must come back as they are.
var hostile = []string{
	"", " ", " a ", "DM-User: root", "a\n\nDM-User: root", "a\r\nDM-Time: 1", "\x1b[31mred\x1b[0m", "\u202egnp", "\xff\xfe and \xff", "a\x00b",
	`"quoted" \ufffd`, "key: value: more", "Grüße 🐦", "<ana@pnda>", "-----BEGIN PGP SIGNATURE-----",
}

// stamps are one for each hostile text.
func stamps(verb dm.Verb) (list []dm.Stamp) {
	for i, text := range hostile {
		s := dm.Stamp{
			Verb: verb, User: "ana", Auth: "token:" + text, Via: "api", Impersonator: dm.UserName(text), Reason: text,
			Time: time.Date(2026, 1, 2, 3, 4, 5, i, time.UTC), RequestID: text,
		}
		if i > 3 { // those of before format 3 have none
			s.Seq = uint64(i)
		}
		list = append(list, s)
	}
	list[0].User, list[1].User = "ana <root@pnda>", "..."
	return list
}

// clean is a stamp as it reads when it comes back.
func clean(s dm.Stamp) dm.Stamp {
	s.Auth, s.Impersonator, s.Reason = dm.Printable(s.Auth), dm.UserName(dm.Printable(string(s.Impersonator))), dm.Printable(s.Reason)
	s.RequestID = dm.Printable(s.RequestID)
	return s
}

// Names of objects that need not be there.
var (
	one   = plumbing.NewHash("1111111111111111111111111111111111111111")
	two   = plumbing.NewHash("2222222222222222222222222222222222222222")
	three = plumbing.NewHash("3333333333333333333333333333333333333333")
	ref   = dm.PackageRef{Name: "flow-report", Version: dm.Version{Major: 1, Minor: 20, Patch: 3}}
)

type encoder interface{ Encode(repo.Adder) error }

// kept encodes into a repository and opens it.
func kept(t *testing.T, all ...encoder) *repo.Objects {
	t.Helper()
	dir := t.TempDir()
	if err := os.MkdirAll(repo.PackDir(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	w, err := pack.Create(pack.Config{Dir: repo.PackDir(dir)})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, x := range all {
		if err := x.Encode(w); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(""); err != nil {
		t.Fatal(err)
	}
	return repo.Open(dir)
}

func commitOf(t *testing.T, objects *repo.Objects, h plumbing.Hash) *object.Commit {
	t.Helper()
	c, err := objects.Commit(h)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// comesBack compares what was decoded with what it must be, and proves that the
// same objects come of it again, which verify relies on. Encode fills want's names
// in as well.
func comesBack(t *testing.T, got, want encoder) {
	t.Helper()
	before := reflect.ValueOf(got).Elem().Interface()
	for _, x := range []encoder{got, want} {
		if err := x.Encode(repo.NamesOnly{}); err != nil {
			t.Fatal(err)
		}
	}
	if !reflect.DeepEqual(before, reflect.ValueOf(got).Elem().Interface()) {
		t.Errorf("it is\n%+v\nand written again\n%+v", before, got)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("it comes back as\n%+v\nwant\n%+v", got, want)
	}
}

// named holds a name that was written once: what is in a record must read the
// same for ever, and verify writes it again. Fields are added where they are left
// out when empty, and where they stand they stay.
func named(t *testing.T, got plumbing.Hash, want string) {
	t.Helper()
	if got.String() != want {
		t.Errorf("it is written as %s, and was as %s before: verify would find fault with every record there is", got, want)
	}
}
