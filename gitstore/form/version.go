package form

import (
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Version is one upload: a tag by the uploader around a commit of the package's
// files. Both say the same.
type Version struct {
	dm.Stamp
	File     dm.PackageFile
	Archive  plumbing.Hash // the uploaded bytes, a blob; zero when it was pushed, and an archive is made of its files
	Digest   string        // SHA-256 of the archive
	Top      string        // the single outer directory, "" when there was none
	Findings []string      // why it can't be deployed, as it was judged when it came
	Tree     plumbing.Hash // the package's files
	Before   plumbing.Hash // commit of the upload before; zero for the first

	Commit, Tag plumbing.Hash // their names, which Encode fills in
}

// Encode adds the commit and the tag to w.
func (v *Version) Encode(w repo.Adder) (err error) {
	message := append(stampTrailers(v.Stamp), trailers{
		{trailerPackage, v.File.Ref.String()},
		{trailerArchive, hashText(v.Archive)},
		{trailerArchiveName, v.File.String()},
		{trailerSha256, v.Digest},
		{trailerTop, v.Top},
		{trailerFindings, FormatList(v.Findings)},
	}...).message("Publish " + v.File.Ref.String())
	if v.Commit, err = AddCommit(w, person(v.Stamp), v.Tree, message, v.Before); err != nil {
		return err
	}
	v.Tag, err = addTag(w, v.Stamp, v.File.Ref.Version.String(), message, v.Commit, plumbing.CommitObject)
	return err
}

// DecodeVersion reads an upload of ref, and its withdrawal when h is one.
func DecodeVersion(objects *repo.Objects, ref dm.PackageRef, h plumbing.Hash) (v Version, gone *Withdrawal, err error) {
	if v, gone, err = DecodeTag(objects, h); err != nil {
		return v, gone, err
	}
	switch {
	case v.File.Ref != ref:
		return v, gone, repo.Broken(repo.Tag(ref.Version), "the tag %s does not name an archive of %s", v.Tag, ref)
	case v.Archive.IsZero() && v.Digest == "":
		return v, gone, repo.Broken(repo.Tag(ref.Version), "the tag %s names neither the blob of its archive nor its digest", v.Tag)
	}
	commit, err := objects.Commit(v.Commit)
	if err != nil {
		return v, gone, err
	}
	v.Tree, v.Before = commit.TreeHash, ParentOf(commit)
	_, err = objects.Tree(v.Tree)
	return v, gone, err
}

// DecodeTag reads what the tag of an upload says, and that around it when h is
// one of a withdrawal. What is damaged is zero: DecodeVersion and verify tell.
func DecodeTag(objects *repo.Objects, h plumbing.Hash) (v Version, gone *Withdrawal, err error) {
	t, err := objects.Tag(h)
	if err == nil && t.TargetType == plumbing.TagObject {
		gone = decodeWithdrawal(t)
		t, err = objects.Tag(gone.Upload)
	}
	if err != nil {
		return v, gone, err
	}
	v = parseVersion(t.Message, t.Tagger)
	v.Commit, v.Tag = t.Target, t.Hash
	return v, gone, nil
}

// ParseVersion reads what the commit of an upload says.
func ParseVersion(c *object.Commit) Version {
	v := parseVersion(c.Message, c.Author)
	v.Tree, v.Before, v.Commit = c.TreeHash, ParentOf(c), c.Hash
	return v
}

func parseVersion(message string, by object.Signature) Version {
	said := ParseTrailers(message)
	v := Version{Stamp: parseStamp(said, by), Digest: said[trailerSha256], Top: said[trailerTop], Findings: parseList(said[trailerFindings])}
	v.File, _ = dm.ParsePackageFile(said[trailerArchiveName])
	if text, kept := said[trailerArchive]; kept {
		var err error
		if v.Archive, err = repo.ParseHash(text, trailerArchive); err != nil {
			v.Digest = "" // so that it is not taken for one that is not kept
		}
	}
	return v
}

// Withdrawal is the tag around an upload that was taken away.
type Withdrawal struct {
	dm.Stamp
	Package dm.PackageRef
	Upload  plumbing.Hash // its tag

	Tag plumbing.Hash // its name, which Encode fills in
}

// Encode adds the tag to w.
func (g *Withdrawal) Encode(w repo.Adder) (err error) {
	message := append(stampTrailers(g.Stamp), trailers{{trailerPackage, g.Package.String()}}...).message("Withdraw " + g.Package.String())
	g.Tag, err = addTag(w, g.Stamp, g.Package.Version.String()+"-withdrawn", message, g.Upload, plumbing.TagObject)
	return err
}

func decodeWithdrawal(t *object.Tag) *Withdrawal {
	said := ParseTrailers(t.Message)
	g := &Withdrawal{Stamp: parseStamp(said, t.Tagger), Upload: t.Target, Tag: t.Hash}
	g.Package, _ = dm.ParsePackageRef(said[trailerPackage]) // zero when damaged; verify tells
	return g
}
