package form

import (
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

func TestChangeComesBack(t *testing.T) {
	t.Parallel()
	spec := dm.Spec{
		Name: "noon-run", Package: ref, Owner: "ana", State: dm.WantStarted, Audience: []dm.Subject{"user:ana"},
		Overrides: dm.Overrides{"jupyter": {"report": {"limit": []byte("7"), "title": []byte(`"\u001b[31m\u003c\u0026"`)}}},
	}
	for i, text := range hostile {
		changes := []Change{
			{Stamp: stamps(dm.Create)[i], Deployment: 1, Information: text},
			{Stamp: stamps(dm.Create)[i], Deployment: 1, Pushed: three},
			{Stamp: stamps(dm.Change)[i], Deployment: 12, Before: two, Pushed: three, Overtakes: two},
			{Stamp: stamps(dm.Rollback)[i], Deployment: 13, Before: two},
			{Stamp: stamps(dm.Start)[i], Deployment: 13, Before: two},
			{Stamp: stamps(dm.Stop)[i], Before: two}, // of before format 3
		}
		var all []encoder
		for j := range changes {
			c := &changes[j]
			c.Spec, c.Package, c.Components = spec, one, two
			if i%2 == 0 {
				c.Components = repo.EmptyTree
			}
			all = append(all, c)
		}
		objects := kept(t, all...)
		for _, c := range changes {
			want := c
			want.Stamp, want.Information = clean(c.Stamp), dm.Printable(c.Information)
			got, err := DecodeChange(objects, c.Commit)
			if err != nil {
				t.Fatal(err)
			}
			comesBack(t, &got, &want)
			said := ParseChange(commitOf(t, objects, c.Commit))
			if said.Stamp != want.Stamp || said.Spec.Package != ref || said.Deployment != c.Deployment || said.Overtakes != c.Overtakes || said.Pushed != c.Pushed {
				t.Errorf("the message alone says %+v", said)
			}
			if i == 3 && c.Verb == dm.Change {
				named(t, c.Commit, "7e269263c5837bc5d2fd2794d91f98516994d840")
			}
			if i == 3 && c.Verb == dm.Stop {
				named(t, c.Commit, "4d2c4960f2acc36cc7efc1e11966921f99747141")
			}
		}
	}
}

// TestDamagedChange: what can't be read is zero, and what is written of it is
// another object.
func TestDamagedChange(t *testing.T) {
	t.Parallel()
	c := Change{Stamp: stamps(dm.Create)[0], Spec: dm.Spec{Package: ref}, Deployment: 1}
	commit := commitOf(t, kept(t, &c), c.Commit)
	commit.Message = "Paint it\n\nDM-Time: noon\nDM-Deployment: one\nDM-Package: flow\nDM-Overtakes: HEAD\nDM-Pushed: x\n"
	got := ParseChange(commit)
	if !got.Time.Equal(commit.Author.When) || got.Verb != "" || got.Deployment != 0 || !got.Spec.Package.IsZero() || got.Overtakes != plumbing.ZeroHash {
		t.Errorf("it reads as %+v", got)
	}
	if err := got.Encode(repo.NamesOnly{}); err != nil || got.Commit == c.Commit {
		t.Errorf("it is written as %s, %v", got.Commit, err)
	}
}
