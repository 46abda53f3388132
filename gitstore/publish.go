package gitstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/gate"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/pack"
	"github.com/pndaproject/deployment-manager/gitstore/receive"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Publish implements dm.PackageStore.
func (s *Store) Publish(ctx context.Context, actor dm.Actor, file dm.PackageFile, body io.Reader, size int64) (dm.Published, error) {
	if err := s.admitPackage(ctx, actor, dm.Publish, file.Ref); err != nil {
		return dm.Published{}, err
	}
	r := repo.Package(file.Ref.Name)
	if err := s.service.Sound(r); err != nil {
		return dm.Published{}, err
	}
	if err := s.index.Published(file.Ref); err != nil {
		return dm.Published{}, err
	}
	leave, err := s.gates.Uploads.Enter(ctx)
	if err != nil {
		return dm.Published{}, err
	}
	defer leave()
	if old, ok := s.version(file.Ref); ok && !s.Replace {
		digest, err := receive.Digest(body, size, s.Limits.Wire)
		if err != nil {
			return dm.Published{}, err
		}
		return unchanged(old, file, digest)
	}
	up, err := receive.ReadUpload(ctx, s.data, s.Limits, file.Ref.Name, body, size)
	if err != nil {
		return dm.Published{}, err
	}
	defer up.Discard()
	if err := s.judged(ctx, file.Ref, up); err != nil {
		return dm.Published{}, repo.Failed("gitstore.Publish", err)
	}
	published, err := s.publishArrived(ctx, actor, file, up)
	published.Notes = up.Notes
	return published, err
}

// admitPackage asks admission for a change of what the repository offers.
func (s *Store) admitPackage(ctx context.Context, actor dm.Actor, verb dm.Verb, ref dm.PackageRef) error {
	_, err := s.Admission.Admit(ctx, dm.AdmissionRequest{Actor: actor, Verb: verb, Package: ref, PackageOwner: s.PackageOwner(ref.Name)})
	return err
}

// publishArrived makes what has arrived whole a version.
func (s *Store) publishArrived(ctx context.Context, actor dm.Actor, file dm.PackageFile, up *receive.Upload) (dm.Published, error) {
	const op = "gitstore.Publish"
	tx, err := s.data.Begin(repo.Package(file.Ref.Name), "publish")
	if err != nil {
		return dm.Published{}, err
	}
	defer tx.End()
	// Another may have published the first version while the body came.
	if err := s.admitPackage(ctx, actor, dm.Publish, file.Ref); err != nil {
		return dm.Published{}, err
	}
	if err := s.index.Published(file.Ref); err != nil {
		return dm.Published{}, err
	}
	p, err := s.addVersion(ctx, tx, actor, file, up)
	return p, repo.Failed(op, err)
}

func answer(v form.Version) dm.Published {
	return dm.Published{File: v.File, Tag: repo.Revision(v.Tag), Commit: repo.Revision(v.Commit), Digest: v.Digest, Findings: v.Findings}
}

// unchanged answers an upload of a version that is there and may not change.
func unchanged(old form.Version, file dm.PackageFile, digest string) (dm.Published, error) {
	const op = "gitstore.Publish"
	switch {
	case old.File != file:
		return dm.Published{}, dm.Errorf(dm.Conflict, op, "%s already exists as %s", file.Ref, old.File).
			WithHint("versions are immutable: publish the change under a new version number")
	case old.Digest != digest:
		return dm.Published{}, dm.Errorf(dm.Conflict, op, "%s already exists with other content", file).
			WithHint("versions are immutable: publish the change under a new version number")
	}
	p := answer(old)
	p.Already = true
	return p, nil
}

func (s *Store) version(ref dm.PackageRef) (form.Version, bool) {
	e := s.index.Package(ref.Name)
	if e == nil {
		return form.Version{}, false
	}
	return e.Version(ref.Version)
}

// addVersion makes a received upload a version. Order of writes: archive pack,
// content pack, superseded, tag; the tag is the moment at which the version exists.
func (s *Store) addVersion(ctx context.Context, tx *repo.Tx, actor dm.Actor, file dm.PackageFile, up *receive.Upload) (dm.Published, error) {
	old, had := s.version(file.Ref)
	if had && (!s.Replace || old.File == file && old.Digest == up.Digest) {
		return unchanged(old, file, up.Digest)
	}
	entry := s.index.Package(file.Ref.Name)
	if entry == nil {
		entry = &index.Package{}
	}
	if !had && !s.Replace {
		if err := entry.StillUsed(file, up.Digest); err != nil {
			return dm.Published{}, err
		}
	}
	v := form.Version{
		Stamp: s.stamp(ctx, actor, dm.Publish), File: file, Digest: up.Digest, Top: up.Top, Findings: up.Findings, Before: entry.Main,
	}
	var packs []pack.Pack
	if up.Archive != nil {
		p, err := up.Archive.Commit("archive of " + file.Ref.String())
		if err != nil {
			return dm.Published{}, err
		}
		v.Archive, packs = up.Blob.Hash, append(packs, p)
		s.Step("publish-archive-packed")
	}
	v.Seq = tx.Seq()
	contentPack, err := up.Seal(&v)
	if err != nil {
		return dm.Published{}, err
	}
	s.Step("publish-content-packed")
	if err := s.landVersion(ctx, tx, up, v, old, append(packs, contentPack)...); err != nil {
		return dm.Published{}, err
	}
	next := entry.With(v)
	next.Main, next.Owner = v.Commit, cmp.Or(entry.Owner, v.User)
	s.index.PutPackage(file.Ref.Name, next)
	return answer(v), nil
}

// landVersion moves the refs of a new version. The archive's stands before the tag,
// unless the same bytes were there already, and so does that of a replaced tag.
func (s *Store) landVersion(ctx context.Context, tx *repo.Tx, up *receive.Upload, v, old form.Version, packs ...pack.Pack) error {
	if err := tx.Adopt(up.Aside, packs...); err != nil {
		return err
	}
	dir := s.data.Path(repo.Package(v.File.Ref.Name))
	heads, err := repo.ReadRefs(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	moves := []repo.Move{
		repo.Moved(repo.Tag(v.File.Ref.Version), old.Tag, v.Tag, "publish-tagged").Means(form.PackageEvent(v.File.Ref.String(), dm.Created, "", v.Stamp)),
		repo.Derived(repo.Main, heads[repo.Main], v.Commit, "publish-main"),
	}
	if name := repo.Archive(v.Archive.String()); !v.Archive.IsZero() && heads[name].IsZero() {
		moves = append(moves, repo.Before(name, plumbing.ZeroHash, v.Archive, "publish-superseded"))
	}
	if !old.Tag.IsZero() {
		moves = append(moves, repo.Before(repo.NextSuperseded(heads, v.File.Ref.Version), plumbing.ZeroHash, old.Tag, "publish-superseded"))
	}
	return tx.Land(ctx, moves...)
}

// moveMain lets a plain clone show the newest upload. The ref is derived from
// the tags: when it can't be moved now, a second look or maintenance does it.
func (s *Store) moveMain(ctx context.Context, name dm.PackageName, commit plumbing.Hash) {
	r := repo.Package(name)
	dir := s.data.Path(r)
	old, err := repo.ReadRef(dir, repo.Main)
	if err == nil && old != commit {
		err = s.data.MoveRefs(ctx, dir, repo.Update(repo.Main, old, commit))
	}
	if err != nil {
		s.Log.Error("main of a package could not be moved", "package", name, "err", err)
		s.service.LookSoon(r)
	}
}

// Withdraw implements dm.PackageStore. Who took the version away is told by a
// tag around the earlier tag, kept under refs/superseded.
func (s *Store) Withdraw(ctx context.Context, actor dm.Actor, file dm.PackageFile) error {
	const op = "gitstore.Withdraw"
	if err := s.admitPackage(ctx, actor, dm.Withdraw, file.Ref); err != nil {
		return err
	}
	tx, err := s.data.Begin(repo.Package(file.Ref.Name), "withdraw")
	if err != nil {
		return err
	}
	defer tx.End()
	v, ok := s.version(file.Ref)
	if !ok { // under whichever suffix: one archive is there for a package's id
		return noFile(op, file)
	}
	stamp := s.stamp(ctx, actor, dm.Withdraw)
	if err := s.withdraw(ctx, tx, v, stamp); err != nil {
		return repo.Failed(op, err)
	}
	s.index.PutPackage(file.Ref.Name, s.index.Package(file.Ref.Name).Withdraw(v))
	return nil
}

func noFile(op string, file dm.PackageFile) error {
	return dm.Errorf(dm.NotFound, op, "no package file %s", file)
}

func (s *Store) withdraw(ctx context.Context, tx *repo.Tx, v form.Version, stamp dm.Stamp) error {
	w, err := tx.Objects()
	if err != nil {
		return err
	}
	stamp.Seq = tx.Seq()
	gone := form.Withdrawal{Stamp: stamp, Package: v.File.Ref, Upload: v.Tag}
	if err := gone.Encode(w); err != nil {
		return err
	}
	heads, err := repo.ReadRefs(s.data.Path(repo.Package(v.File.Ref.Name)))
	if err != nil {
		return err
	}
	return tx.Land(ctx,
		repo.Before(repo.NextSuperseded(heads, v.File.Ref.Version), plumbing.ZeroHash, gone.Tag, "withdraw-superseded"),
		repo.Moved(repo.Tag(v.File.Ref.Version), v.Tag, plumbing.ZeroHash, "withdraw-untagged").
			Means(form.PackageEvent(v.File.Ref.String(), dm.NotCreated, "", stamp)))
}

// ListPackages implements dm.PackageStore.
func (s *Store) ListPackages(recency int) []dm.PackageListing {
	list := []dm.PackageListing{}
	s.index.EachPackage(func(name dm.PackageName, e *index.Package) {
		n := len(e.Versions)
		if n == 0 {
			return
		}
		if recency > 0 {
			n = min(n, recency)
		}
		l := dm.PackageListing{Name: name, Versions: make([]dm.PackageFile, n)}
		for i, v := range e.Versions[:n] {
			l.Versions[i] = v.File
		}
		list = append(list, l)
	})
	slices.SortFunc(list, func(a, b dm.PackageListing) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list
}

// OpenArchive implements dm.PackageStore.
func (s *Store) OpenArchive(ctx context.Context, file dm.PackageFile) (dm.Archive, error) {
	const op = "gitstore.OpenArchive"
	r := repo.Package(file.Ref.Name)
	if err := s.service.Sound(r); err != nil {
		return dm.Archive{}, err
	}
	v, ok := s.version(file.Ref)
	if !ok {
		return dm.Archive{}, noFile(op, file)
	}
	leave, err := s.gates.Downloads.Enter(ctx)
	if err != nil {
		return dm.Archive{}, err
	}
	bytes, size, err := s.openArchive(ctx, s.data.Path(r), v)
	if err != nil {
		leave()
		s.service.Suspect(r)
		return dm.Archive{}, repo.Failed(op, fmt.Errorf("archive of %s: %w", file, err))
	}
	return dm.Archive{File: v.File, Size: size, Digest: v.Digest, Uploaded: v.Time, ReadSeekCloser: &gate.Leaving{ReadSeekCloser: bytes, Leave: leave}}, nil
}

// openArchive opens the uploaded bytes. Where a version was pushed there are none,
// and an archive is made of its files.
func (s *Store) openArchive(ctx context.Context, dir string, v form.Version) (io.ReadSeekCloser, int64, error) {
	if !v.Archive.IsZero() {
		return s.data.OpenBlob(ctx, dir, v.Archive)
	}
	return s.data.Spool(func(w io.Writer) error { return v.WriteArchive(ctx, repo.Open(dir), w) })
}
