package form

import (
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

func TestVersionComesBack(t *testing.T) {
	t.Parallel()
	for i, stamp := range stamps(dm.Publish) {
		v := Version{
			Stamp: stamp, File: dm.PackageFile{Ref: ref, Suffix: ".tgz"}, Archive: one, Digest: "5f70bf18", Top: dm.OneLine(hostile[i]),
			Findings: []string{dm.OneLine(hostile[i]), "second; third"}, Tree: repo.EmptyTree, Before: two,
		}
		if i == 0 {
			v.Before, v.Findings = plumbing.ZeroHash, nil
		}
		tree := Decision{Package: ref, Tree: repo.EmptyTree} // writes the tree
		objects := kept(t, &tree, &v)
		got, gone, err := DecodeVersion(objects, ref, v.Tag)
		if err != nil || gone != nil {
			t.Fatalf("%q: %v, withdrawal %v", hostile[i], err, gone)
		}
		want := v
		want.Stamp = clean(stamp)
		comesBack(t, &got, &want)
		if said := ParseVersion(commitOf(t, objects, v.Commit)); said.User != v.User || said.File != v.File || said.Before != v.Before {
			t.Errorf("the commit says %+v", said)
		}
		if i == 3 {
			named(t, v.Tag, "462aa4b3afd1b3465926429a7c9830d182498b6d")
		}
	}
}

// TestVersionWithoutArchive: a pushed version names the digest of its archive and
// no blob; one that names neither is damaged, and so is one whose blob has no name.
func TestVersionWithoutArchive(t *testing.T) {
	t.Parallel()
	v := Version{Stamp: stamps(dm.Publish)[0], File: dm.PackageFile{Ref: ref, Suffix: ".tar.gz"}, Digest: "5f70bf18", Top: "top", Tree: repo.EmptyTree}
	tree := Decision{Package: ref, Tree: repo.EmptyTree} // writes the tree
	objects := kept(t, &tree, &v)
	got, _, err := DecodeVersion(objects, ref, v.Tag)
	if err != nil || !got.Archive.IsZero() || got.Digest != v.Digest {
		t.Errorf("got %+v, %v", got, err)
	}
	v.Digest = ""
	if _, _, err := DecodeVersion(kept(t, &tree, &v), ref, v.Tag); err == nil {
		t.Error("a version without blob and digest is taken")
	}
	damaged := parseVersion("Publish\n\nDM-Archive: 1\nDM-Archive-Sha256: 5f70bf18\n", object.Signature{})
	if !damaged.Archive.IsZero() || damaged.Digest != "" {
		t.Errorf("a blob without a name is read as %+v", damaged)
	}
}

func TestWithdrawalComesBack(t *testing.T) {
	t.Parallel()
	for i, stamp := range stamps(dm.Withdraw) {
		v := Version{Stamp: stamps(dm.Publish)[i], File: dm.PackageFile{Ref: ref, Suffix: ".tar.gz"}, Archive: one, Tree: two}
		if err := v.Encode(repo.NamesOnly{}); err != nil {
			t.Fatal(err)
		}
		g := Withdrawal{Stamp: stamp, Package: ref, Upload: v.Tag}
		up, got, err := DecodeTag(kept(t, &v, &g), g.Tag)
		if err != nil || got == nil || up.Tag != v.Tag || up.File != v.File {
			t.Fatalf("%q: %v, of %+v", hostile[i], err, up)
		}
		want := g
		want.Stamp = clean(stamp)
		comesBack(t, got, &want)
		if i == 3 {
			named(t, g.Tag, "49cdd4c6cb830ffbc8f962dd99a990cd13a5d8b6")
		}
	}
}
