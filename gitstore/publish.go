package gitstore

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
)

// Publish implements dm.PackageStore.
func (s *Store) Publish(ctx context.Context, actor dm.Actor, file dm.PackageFile, body io.Reader, size int64) (dm.Published, error) {
	if err := s.admitPackage(ctx, actor, dm.Publish, file.Ref); err != nil {
		return dm.Published{}, err
	}
	r := packageRepository(file.Ref.Name)
	if err := s.index.sound(r); err != nil {
		return dm.Published{}, err
	}
	if err := s.index.published(file.Ref); err != nil {
		return dm.Published{}, err
	}
	leave, err := s.gates.uploads.enter(ctx)
	if err != nil {
		return dm.Published{}, err
	}
	defer leave()
	if old, ok := s.version(file.Ref); ok && !s.Replace {
		digest, err := s.digest(body, size)
		if err != nil {
			return dm.Published{}, err
		}
		return unchanged(old, file, digest)
	}
	up, err := s.receive(ctx, body, size)
	if err != nil {
		return dm.Published{}, err
	}
	defer up.discard()
	if err := s.judged(ctx, file.Ref, up); err != nil {
		return dm.Published{}, failed("gitstore.Publish", err)
	}
	published, err := s.land(ctx, actor, file, up)
	published.Notes = up.notes
	return published, err
}

// land makes what has arrived whole a version.
func (s *Store) land(ctx context.Context, actor dm.Actor, file dm.PackageFile, up *upload) (dm.Published, error) {
	const op = "gitstore.Publish"
	r := packageRepository(file.Ref.Name)
	release := s.locks.hold(r)
	defer release()
	if err := s.index.sound(r); err != nil {
		return dm.Published{}, err // set aside while the body came
	}
	// Another may have published the first version while the body came.
	if err := s.admitPackage(ctx, actor, dm.Publish, file.Ref); err != nil {
		return dm.Published{}, err
	}
	if err := s.index.published(file.Ref); err != nil {
		return dm.Published{}, err
	}
	p, err := s.accept(ctx, actor, file, up)
	return p, failed(op, err)
}

// unchanged answers an upload of a version that is there and may not change.
func unchanged(old versionEntry, file dm.PackageFile, digest string) (dm.Published, error) {
	const op = "gitstore.Publish"
	switch {
	case old.file != file:
		return dm.Published{}, dm.Errorf(dm.Conflict, op, "%s is already stored as %s", file.Ref, old.file).
			WithHint("versions are immutable: publish the change under a new version number")
	case old.digest != digest:
		return dm.Published{}, dm.Errorf(dm.Conflict, op, "%s is already stored with other content", file).
			WithHint("versions are immutable: publish the change under a new version number")
	}
	p := old.answer()
	p.Already = true
	return p, nil
}

func (v versionEntry) answer() dm.Published {
	return dm.Published{File: v.file, Tag: dm.Revision(v.tag.String()), Commit: dm.Revision(v.commit.String()), Digest: v.digest, Findings: v.findings}
}

// digest reads a body for comparison only.
func (s *Store) digest(body io.Reader, size int64) (string, error) {
	if size > s.Limits.Wire {
		return "", tooLong(s.Limits.Wire)
	}
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(body, s.Limits.Wire+1))
	switch {
	case err != nil:
		return "", dm.Errorf(dm.Invalid, "gitstore.Publish", "the upload ended before its end").Because(err)
	case n > s.Limits.Wire:
		return "", tooLong(s.Limits.Wire)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (s *Store) version(ref dm.PackageRef) (versionEntry, bool) {
	e := s.index.pkg(ref.Name)
	if e == nil {
		return versionEntry{}, false
	}
	return e.version(ref.Version)
}

// accept makes a received upload a version. The caller holds the repository's
// lock. Order of writes: archive pack, content pack, superseded, tag; the tag
// is the moment at which the version exists.
func (s *Store) accept(ctx context.Context, actor dm.Actor, file dm.PackageFile, up *upload) (dm.Published, error) {
	old, had := s.version(file.Ref)
	if had && (!s.Replace || old.file == file && old.digest == up.digest) {
		return unchanged(old, file, up.digest)
	}
	entry := s.index.pkg(file.Ref.Name)
	if entry == nil {
		entry = &packageEntry{}
	}
	if !had && !s.Replace {
		if err := entry.stillUsed(file, up.digest); err != nil {
			return dm.Published{}, err
		}
	}
	v := versionEntry{file: file, by: actor.User, archive: up.blob.Hash, digest: up.digest, top: up.top, findings: up.findings}
	stamp := s.stamp(ctx, actor, dm.Publish)
	v.published = stamp.Time
	archivePack, err := up.archive.Commit("archive of " + file.Ref.String())
	if err != nil {
		return dm.Published{}, err
	}
	s.Step("publish-archive-packed")
	contentPack, err := up.seal(&v, stamp, entry.main)
	if err != nil {
		return dm.Published{}, err
	}
	s.Step("publish-content-packed")
	if err := s.record(ctx, up, v, old, archivePack, contentPack); err != nil {
		s.heal(ctx, packageRepository(file.Ref.Name))
		return dm.Published{}, err
	}
	next := entry.with(v)
	next.main, next.owner = v.commit, cmp.Or(entry.owner, v.by)
	s.index.putPackage(file.Ref.Name, next)
	s.emit(dm.Event{Kind: dm.PackageEvent, ID: file.Ref.String(), State: dm.Created, Stamp: stamp})
	s.tidy(packageRepository(file.Ref.Name))
	return v.answer(), nil
}

// seal adds trees, commit and tag to the content pack and ends it. One pack
// holds all that a deployment needs of the version, so that an application can
// take it over whole.
func (u *upload) seal(v *versionEntry, stamp dm.Stamp, parent plumbing.Hash) (pack.Pack, error) {
	tree, err := u.tree().write(u.content)
	if err != nil {
		return pack.Pack{}, err
	}
	v.tree = tree
	subject := "Publish " + v.file.Ref.String()
	lines := append(stampTrailers(stamp), trailers{
		{trailerPackage, v.file.Ref.String()},
		{trailerArchive, v.archive.String()},
		{trailerArchiveName, v.file.String()},
		{trailerSha256, v.digest},
		{trailerTop, v.top},
		{trailerFindings, formatList(v.findings)},
	}...)
	author := personSignature(stamp.User, stamp.Time)
	if v.commit, err = addCommit(u.content, author, v.tree, lines.message(subject), parent); err != nil {
		return pack.Pack{}, err
	}
	v.tag, err = addObject(u.content, &object.Tag{
		Name: v.file.Ref.Version.String(), Tagger: author,
		Message: lines.message(subject), TargetType: plumbing.CommitObject, Target: v.commit,
	})
	if err != nil {
		return pack.Pack{}, err
	}
	return u.content.Commit("content of " + v.file.Ref.String())
}

// record moves the refs of a new version, in the repository or in the one
// built aside when the package is new.
func (s *Store) record(ctx context.Context, up *upload, v, old versionEntry, packs ...pack.Pack) (err error) {
	target := s.repositoryDir(packageRepository(v.file.Ref.Name))
	if !exists(target) {
		if err := s.mustBeThere(packageRepository(v.file.Ref.Name)); err != nil {
			return err
		}
		first := refs{archiveRef(v.archive.String()): v.archive, tagRef(v.file.Ref.Version): v.tag, mainRef: v.commit}
		return up.aside.install(target, first)
	}
	end, err := s.intend(packageRepository(v.file.Ref.Name))
	if err != nil {
		return err
	}
	defer func() { end(err != nil) }()
	for _, p := range packs {
		if err := pack.Link(pack.Path(packDir(up.aside.dir), p.Name), packDir(target), v.file.Ref.String()); err != nil {
			return err
		}
	}
	s.Step("publish-linked")
	before, err := s.beforeTag(target, v, old)
	if err != nil {
		return err
	}
	if err := s.moveRefs(ctx, target, before...); err != nil {
		return err
	}
	s.Step("publish-superseded")
	if err := s.moveRefs(ctx, target, update(tagRef(v.file.Ref.Version), old.tag, v.tag)); err != nil {
		return err
	}
	s.Step("publish-tagged")
	s.moveMain(ctx, v.file.Ref.Name, v.commit)
	s.Step("publish-main")
	return nil
}

// beforeTag lists the refs that must stand before the tag moves: the archive's,
// unless the same bytes were there before, and the replaced tag's.
func (s *Store) beforeTag(dir string, v, old versionEntry) ([]gitcmd.RefUpdate, error) {
	var list []gitcmd.RefUpdate
	name := archiveRef(v.archive.String())
	switch h, err := readRef(dir, name); {
	case err != nil:
		return nil, err
	case h.IsZero():
		list = append(list, update(name, plumbing.ZeroHash, v.archive))
	}
	if !old.tag.IsZero() {
		n, err := nextSuperseded(dir, v.file.Ref.Version)
		if err != nil {
			return nil, err
		}
		list = append(list, update(supersededRef(v.file.Ref.Version, n), plumbing.ZeroHash, old.tag))
	}
	return list, nil
}

// nextSuperseded is the first free number for an earlier tag of v.
func nextSuperseded(dir string, v dm.Version) (int, error) {
	all, err := readRefs(dir)
	if err != nil {
		return 0, err
	}
	highest := 0
	for name := range all {
		if text, ok := strings.CutPrefix(name, supersededPrefix+v.String()+"/"); ok {
			if n, err := strconv.Atoi(text); err == nil {
				highest = max(highest, n)
			}
		}
	}
	return highest + 1, nil
}

// moveMain lets a plain clone show the newest upload. The ref is derived from
// the tags: when it can't be moved now, a second look or maintenance does it.
func (s *Store) moveMain(ctx context.Context, name dm.PackageName, commit plumbing.Hash) {
	r := packageRepository(name)
	dir := s.repositoryDir(r)
	old, err := readRef(dir, mainRef)
	if err == nil && old != commit {
		err = s.moveRefs(ctx, dir, update(mainRef, old, commit))
	}
	if err != nil {
		s.Log.Error("main of a package could not be moved", "name", name, "err", err)
		s.again.ask(r, firstLook)
	}
}

// Withdraw implements dm.PackageStore. Who took the version away is told by a
// tag around the earlier tag, kept under refs/superseded.
func (s *Store) Withdraw(ctx context.Context, actor dm.Actor, file dm.PackageFile) error {
	const op = "gitstore.Withdraw"
	if err := s.admitPackage(ctx, actor, dm.Withdraw, file.Ref); err != nil {
		return err
	}
	r := packageRepository(file.Ref.Name)
	release := s.locks.hold(r)
	defer release()
	if err := s.index.sound(r); err != nil {
		return err
	}
	v, ok := s.version(file.Ref)
	if !ok { // under whichever suffix: one archive is there for a package's id
		return noFile(op, file)
	}
	stamp := s.stamp(ctx, actor, dm.Withdraw)
	if err := s.withdraw(ctx, s.repositoryDir(r), v, stamp); err != nil {
		s.heal(ctx, r)
		return failed(op, err)
	}
	s.index.putPackage(file.Ref.Name, s.index.pkg(file.Ref.Name).withdraw(v))
	s.emit(dm.Event{Kind: dm.PackageEvent, ID: file.Ref.String(), State: dm.NotCreated, Stamp: stamp})
	return nil
}

func noFile(op string, file dm.PackageFile) error {
	return dm.Errorf(dm.NotFound, op, "no package file %s", file)
}

func (s *Store) withdraw(ctx context.Context, dir string, v versionEntry, stamp dm.Stamp) error {
	w, err := s.packWriter(dir)
	if err != nil {
		return err
	}
	defer w.Abort()
	tag, err := addObject(w, &object.Tag{
		Name: v.file.Ref.Version.String() + "-withdrawn", Tagger: personSignature(stamp.User, stamp.Time),
		Message:    append(stampTrailers(stamp), [2]string{trailerPackage, v.file.Ref.String()}).message("Withdraw " + v.file.Ref.String()),
		TargetType: plumbing.TagObject, Target: v.tag,
	})
	if err != nil {
		return err
	}
	if _, err := w.Commit(""); err != nil {
		return err
	}
	n, err := nextSuperseded(dir, v.file.Ref.Version)
	if err != nil {
		return err
	}
	if err := s.moveRefs(ctx, dir, update(supersededRef(v.file.Ref.Version, n), plumbing.ZeroHash, tag)); err != nil {
		return err
	}
	s.Step("withdraw-superseded")
	if err := s.moveRefs(ctx, dir, update(tagRef(v.file.Ref.Version), v.tag, plumbing.ZeroHash)); err != nil {
		return err
	}
	s.Step("withdraw-untagged")
	return nil
}

// ListPackages implements dm.PackageStore.
func (s *Store) ListPackages(recency int) []dm.PackageListing {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	list := make([]dm.PackageListing, 0, len(s.index.packages))
	for name, e := range s.index.packages {
		n := len(e.versions)
		if n == 0 {
			continue
		}
		if recency > 0 {
			n = min(n, recency)
		}
		l := dm.PackageListing{Name: name, Versions: make([]dm.PackageFile, n)}
		for i, v := range e.versions[:n] {
			l.Versions[i] = v.file
		}
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b dm.PackageListing) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list
}

// OpenArchive implements dm.PackageStore.
func (s *Store) OpenArchive(ctx context.Context, file dm.PackageFile) (dm.Archive, error) {
	const op = "gitstore.OpenArchive"
	r := packageRepository(file.Ref.Name)
	if err := s.index.sound(r); err != nil {
		return dm.Archive{}, err
	}
	v, ok := s.version(file.Ref)
	if !ok {
		return dm.Archive{}, noFile(op, file)
	}
	leave, err := s.gates.downloads.enter(ctx)
	if err != nil {
		return dm.Archive{}, err
	}
	blob, size, err := s.openBlob(ctx, s.repositoryDir(r), v.archive)
	if err != nil {
		leave()
		s.suspect(r)
		return dm.Archive{}, failed(op, fmt.Errorf("archive of %s: %w", file, err))
	}
	return dm.Archive{File: v.file, Size: size, Digest: v.digest, Uploaded: v.published, ReadSeekCloser: &leaving{blob, leave}}, nil
}
