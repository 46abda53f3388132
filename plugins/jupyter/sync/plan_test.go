package sync

import (
	"math/rand/v2"
	"testing"

	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/disk"
	"github.com/pndaproject/deployment-manager/plugins/jupyter/sync/remote"
)

// TestDecide holds the rule to its promises over random files: nothing of the
// user's is overwritten or deleted, nothing that the user deleted comes back, and
// what the server has new comes to its place or beside it.
func TestDecide(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	content := func() remote.Version {
		n := random.IntN(4) // few, so that they meet
		if n == 0 {
			return remote.Version{}
		}
		return remote.Version{Blob: remote.Blob{byte(n)}, Exec: random.IntN(2) == 0}
	}
	for range 200_000 {
		base, theirs := content(), content()
		mine := disk.Found{Kind: disk.Kind(random.IntN(5))}
		if mine.Kind == disk.File {
			mine.Blob = remote.Blob{byte(1 + random.IntN(4))}
		}
		what := decide(base, theirs, mine)
		had, has := base != remote.Version{}, theirs != remote.Version{}
		untouched := had && mine.Is(base.Blob)
		switch {
		case (what == swap || what == drop) && !untouched:
			t.Fatalf("base %v, theirs %v, mine %v: %d changes a file of the user's", base, theirs, mine, what)
		case what == put && (had || mine.Kind != disk.Absent):
			t.Fatalf("base %v, theirs %v, mine %v: a file comes that the user deleted, or that is in the user's way", base, theirs, mine)
		case what == beside && had && mine.Kind != disk.File:
			t.Fatalf("base %v, theirs %v, mine %v: a copy comes of a file that the user deleted", base, theirs, mine)
		case (what == settle || what == own || what == away) && has && base != theirs && mine.Kind == disk.File && mine.Blob != theirs.Blob:
			t.Fatalf("base %v, theirs %v, mine %v: what is new does not come", base, theirs, mine)
		case what == settle && !had && has && mine.Kind != disk.File:
			t.Fatalf("base %v, theirs %v, mine %v: a new file does not come", base, theirs, mine)
		case what == settle && had && !has && untouched:
			t.Fatalf("base %v, theirs %v, mine %v: what the server removed stays", base, theirs, mine)
		case what == own && (!had || has), what == away && (!had || !has), what != settle && base == theirs, what != wait && what != settle && mine.Kind == disk.Unreadable:
			t.Fatalf("base %v, theirs %v, mine %v: %d", base, theirs, mine, what)
		}
	}
}

// TestCopyName has the names that people see.
func TestCopyName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ path, at, want string }{
		{"app/a.ipynb", "", "app/a.1.2.0.2.ipynb"},
		{"app/.hidden", "", "app/.hidden.1.2.0.2"},
		{"app/a.tar.gz", "", "app/a.tar.1.2.0.2.gz"},
		{"Makefile", "", "Makefile.1.2.0.2"},
		{"app/sub/f/g.ipynb", "app/sub", "app/sub.1.2.0.2/f/g.ipynb"},
	} {
		if got := copyName(c.path, c.at, "1.2.0", 2); got != c.want {
			t.Errorf("%s: got %s, want %s", c.path, got, c.want)
		}
	}
}
