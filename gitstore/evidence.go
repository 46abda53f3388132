package gitstore

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// A ref that somebody removed or set back leaves nothing behind that looks
// broken: the version would be free again, the application would run an older
// change. What else the record knows of it tells: the file known-refs, and the
// other refs, none of which the server writes before the one that it follows
// from is durable. So evidence that a ref was there is never older than the ref.

// finding is a ref that is not what something else proves it to have been.
type finding struct {
	ref string
	why string
}

// contradicted compares the refs of a repository with what is known of them.
func (s *Store) contradicted(ctx context.Context, r dm.Repository, objects *repo.Objects, heads repo.Refs) ([]finding, error) {
	var list []finding
	for _, was := range s.data.Known(r) {
		ok, err := explained(ctx, objects, heads, was)
		switch is := heads[was.Name]; {
		case err != nil:
			return nil, fmt.Errorf("%s: %w", was.Name, err)
		case ok:
		case is.IsZero():
			list = append(list, finding{was.Name, fmt.Sprintf("it is gone, %s has it at %s", repo.KnownFile, was.Hash)})
		default:
			list = append(list, finding{was.Name, fmt.Sprintf("it is at %s, which does not follow %s, where %s has it", is, was.Hash, repo.KnownFile)})
		}
	}
	return list, nil
}

// explained tells whether the server may have moved a ref from where it was
// known to be to where it is.
func explained(ctx context.Context, objects *repo.Objects, heads repo.Refs, was repo.KnownRef) (bool, error) {
	is := heads[was.Name]
	switch version, tag := strings.CutPrefix(was.Name, repo.TagPrefix); {
	case is == was.Hash:
		return true, nil
	case tag:
		return superseded(objects, heads, version, was.Hash)
	case strings.HasPrefix(was.Name, repo.SupersededPrefix):
		return false, nil
	}
	return leadsTo(ctx, objects, is, was.Hash)
}

// superseded tells whether a tag of a version is kept as one that was replaced
// or withdrawn.
func superseded(objects *repo.Objects, heads repo.Refs, version string, tag plumbing.Hash) (bool, error) {
	for ref, h := range heads {
		if !strings.HasPrefix(ref, repo.SupersededPrefix+version+"/") {
			continue
		}
		if h == tag {
			return true, nil
		}
		t, err := objects.Tag(h)
		if err != nil {
			return false, err
		}
		if t.Target == tag {
			return true, nil
		}
	}
	return false, nil
}

// leadsTo tells whether a commit is among those that another one follows.
func leadsTo(ctx context.Context, objects *repo.Objects, from, to plumbing.Hash) (bool, error) {
	for h := from; !h.IsZero() && ctx.Err() == nil; {
		if h == to {
			return true, nil
		}
		c, err := objects.Commit(h)
		if err != nil {
			return false, err
		}
		h = parentOf(c)
	}
	return false, ctx.Err()
}

// gapsOfPackage finds refs that others of a package prove to have been there.
// follows are the parents of uploads.
func gapsOfPackage(objects *repo.Objects, name dm.PackageName, entry *packageEntry, heads repo.Refs, follows map[plumbing.Hash]plumbing.Hash) ([]finding, error) {
	list, counted := gapsOfSuperseded(heads)
	for v, o := range entry.outcomes {
		if _, ok := entry.version(v); !ok && counted[v.String()] == 0 && o.tree != repo.EmptyTree {
			list = append(list, finding{repo.Tag(v), fmt.Sprintf("it is gone, %s is of its files", repo.Deployed(v))})
		}
	}
	uploads := map[plumbing.Hash]bool{}
	for _, v := range entry.versions {
		uploads[v.commit] = true
	}
	earlier := false
	for _, c := range append([]plumbing.Hash{entry.main}, keysOf(follows)...) {
		if c.IsZero() || uploads[c] {
			continue
		}
		if !earlier {
			if err := earlierUploads(objects, heads, uploads); err != nil {
				return nil, err
			}
			earlier = true
		}
		if uploads[c] {
			continue
		}
		commit, err := objects.Commit(c)
		if err != nil {
			return nil, err
		}
		// Who wrote something else there is told by verify.
		if of := ParseVersion(commit).File.Ref; of.Name == name {
			list = append(list, finding{repo.Tag(of.Version), fmt.Sprintf("it is gone, main has its commit %s", c)})
		}
	}
	return list, nil
}

func keysOf(m map[plumbing.Hash]plumbing.Hash) []plumbing.Hash {
	list := make([]plumbing.Hash, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	return list
}

// gapsOfSuperseded finds missing numbers of earlier tags, which are given one
// after the other, and returns the highest ones.
func gapsOfSuperseded(heads repo.Refs) (list []finding, highest map[string]int) {
	highest = map[string]int{}
	for ref := range heads {
		if text, ok := strings.CutPrefix(ref, repo.SupersededPrefix); ok {
			version, number, _ := strings.Cut(text, "/")
			if n, err := strconv.Atoi(number); err == nil {
				highest[version] = max(highest[version], n)
			}
		}
	}
	for version, last := range highest {
		for n := 1; n < last; n++ {
			if ref := repo.SupersededPrefix + version + "/" + strconv.Itoa(n); heads[ref].IsZero() {
				list = append(list, finding{ref, fmt.Sprintf("it is gone, number %d came after it", last)})
			}
		}
	}
	return list, highest
}

// earlierUploads adds the commits of uploads that were replaced or withdrawn.
func earlierUploads(objects *repo.Objects, heads repo.Refs, uploads map[plumbing.Hash]bool) error {
	for ref, h := range heads {
		if !strings.HasPrefix(ref, repo.SupersededPrefix) {
			continue
		}
		v, _, err := DecodeTag(objects, h)
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		uploads[v.Commit] = true
	}
	return nil
}

// gapsOfApplication finds whether main or the outcomes were set back.
func gapsOfApplication(ctx context.Context, objects *repo.Objects, e *appEntry, heads repo.Refs) ([]finding, error) {
	var list []finding
	for ref, h := range heads {
		n, err := strconv.Atoi(strings.TrimPrefix(ref, repo.DeploymentPrefix))
		if err != nil || n <= e.deployments || h == e.main {
			continue
		}
		if follows, err := leadsTo(ctx, objects, h, e.main); err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		} else if follows {
			list = append(list, finding{repo.Main, fmt.Sprintf("it was set back, %s goes on from it", ref)})
			break
		}
	}
	if e.observed == nil {
		if followed, err := answeredBefore(ctx, objects, e.main); err != nil || followed {
			list = append(list, finding{repo.Observed, "it is gone, and a change is only taken when the one before it has an outcome"})
			return list, err
		}
		return list, nil
	}
	if ok, err := leadsTo(ctx, objects, e.main, plumbing.NewHash(string(e.observed.Desired))); err != nil || !ok {
		list = append(list, finding{repo.Main, fmt.Sprintf("it was set back, the last outcome is of %.40s, which is not on it", e.observed.Desired)})
		return list, err
	}
	return list, nil
}

// answeredBefore tells whether a change follows one that must have an outcome.
func answeredBefore(ctx context.Context, objects *repo.Objects, main plumbing.Hash) (bool, error) {
	for h := main; !h.IsZero() && ctx.Err() == nil; {
		c, err := objects.Commit(h)
		if err != nil {
			return false, err
		}
		change := ParseChange(c)
		if h = change.Before; !h.IsZero() && change.Overtakes.IsZero() {
			return true, nil
		}
	}
	return false, ctx.Err()
}

// markAbsent takes repositories out of service that are known and not there, and
// those in whose place is a link.
func (s *Store) markAbsent(kind dm.RepositoryKind) error {
	there, err := os.ReadDir(filepath.Join(s.data.Dir, string(kind)))
	if err != nil {
		return err
	}
	why := map[string]string{}
	for _, folder := range s.data.KnownFolders(kind) {
		why[folder] = absentCause
	}
	for _, e := range there {
		if e.IsDir() {
			delete(why, e.Name())
		} else if e.Type()&fs.ModeSymlink != 0 {
			why[e.Name()] = "it is a symbolic link"
		}
	}
	for folder, cause := range why {
		enc, repository := strings.CutSuffix(folder, ".git")
		if name, ok := repo.DecodeName(enc); ok && repository {
			_ = s.takeAbsent(dm.Repository{Kind: kind, Name: name}, cause)
		}
	}
	return nil
}

// absentCause is what is wrong with a repository that is not there.
const absentCause = "it is gone, " + repo.KnownFile + " has it"

// takeAbsent takes one of them out of service, until it is there again, and
// returns why. In the place of a workspace a new one is made.
func (s *Store) takeAbsent(r dm.Repository, cause string) error {
	f := &repo.Fault{File: ".", Cause: cause}
	if r.Kind == dm.WorkspaceRepository {
		s.setAside(r, f)
		return f
	}
	if o, away := s.index.whyAway(r); away && o.fault != nil && *o.fault == *f {
		return f
	}
	s.Log.Error("a repository is not there and is out of service", "kind", r.Kind, "name", r.Name, "cause", cause)
	s.index.takeAway(r, outOfService{fault: f, since: s.now()})
	s.again.ask(r, firstLook)
	return f
}

// markUnpublished finds the packages that applications were made from and of
// which the record has no deployment. Their numbers are not free.
func (s *Store) markUnpublished() {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	for app, e := range s.index.apps {
		for _, content := range []contentEntry{e.desired, e.effective} {
			ref := content.spec.Package
			if content.commit.IsZero() || content.packageTree == repo.EmptyTree || s.index.deployedOnce(ref) {
				continue
			}
			_, away := s.index.away[repo.Package(ref.Name)]
			if s.index.unpublished[ref] == "" && !away {
				s.Log.Error("the record of a package is gone", "package", ref, "ref", repo.Deployed(ref.Version), "evidence", "application "+string(app))
			}
			s.index.unpublished[ref] = app
		}
	}
}

// deployedOnce tells whether there is an outcome with the files of a version, the
// last one or one before: the deploy of what was withdrawn has none. The caller
// holds the lock.
func (x *index) deployedOnce(ref dm.PackageRef) bool {
	e := x.packages[ref.Name]
	if e == nil {
		return false
	}
	o, ok := e.outcomes[ref.Version]
	return ok && (o.tree != repo.EmptyTree || o.once)
}

// hadFiles tells whether an outcome before c had the files of its version.
func hadFiles(objects *repo.Objects, c *object.Commit) (bool, error) {
	for h := parentOf(c); !h.IsZero(); h = parentOf(c) {
		var err error
		if c, err = objects.Commit(h); err != nil || c.TreeHash != repo.EmptyTree {
			return err == nil, err
		}
	}
	return false, nil
}

// published fails for a version that applications were made from and of which
// the record has nothing any more.
func (x *index) published(ref dm.PackageRef) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	app := x.unpublished[ref]
	if app == "" || x.deployedOnce(ref) {
		return nil
	}
	return dm.Errorf(dm.Unavailable, "read the record", "the record of %s is gone, the application %s was made from it", ref, app).
		WithHint("an administrator must bring it back; publish changes under a new version number")
}

// lostRef is the fault of a repository some of whose refs are not what they were;
// nil when there are none.
func lostRef(list []finding) error {
	if len(list) == 0 {
		return nil
	}
	first := slices.MinFunc(list, func(a, b finding) int { return strings.Compare(a.ref, b.ref) })
	return repo.Broken(first.ref, "%s", first.why)
}

// readAside fills the index from a repository that is out of service, as far as
// that can be read: verify looks at it all the same.
func (s *Store) readAside(ctx context.Context, r dm.Repository) {
	if r.Kind != dm.WorkspaceRepository {
		_ = s.recoverRepository(ctx, r) // why it is out of service was told
	}
}

// read tells whether the index has something of a repository.
func (x *index) read(r dm.Repository) bool {
	switch r.Kind {
	case dm.PackageRepository:
		return x.pkg(dm.PackageName(r.Name)) != nil
	case dm.ApplicationRepository:
		return x.app(dm.ApplicationName(r.Name)) != nil
	}
	return false
}

// gaps reports every ref that is gone or was set back, but the one for which the
// repository is out of service.
func (v *verifier) gaps(ctx context.Context) {
	list, err := v.s.contradicted(ctx, v.r, v.objects, v.heads)
	var more []finding
	switch v.r.Kind {
	case dm.PackageRepository:
		if e := v.s.index.pkg(dm.PackageName(v.r.Name)); e != nil && err == nil {
			follows := map[plumbing.Hash]plumbing.Hash{}
			for _, u := range e.versions {
				if c, err := v.objects.Commit(u.commit); err == nil {
					follows[parentOf(c)] = u.commit
				}
			}
			more, err = gapsOfPackage(v.objects, dm.PackageName(v.r.Name), e, v.heads, follows)
		}
	case dm.ApplicationRepository:
		if e := v.s.index.app(dm.ApplicationName(v.r.Name)); e != nil && err == nil {
			more, err = gapsOfApplication(ctx, v.objects, e, v.heads)
		}
	}
	if err != nil {
		v.problem("%v", err)
	}
	told := map[string]bool{}
	if o, away := v.s.index.whyAway(v.r); away && o.fault != nil {
		told[o.fault.File] = true
	}
	for _, f := range append(list, more...) {
		if !told[f.ref] {
			v.problem("%s: %s", f.ref, f.why)
		}
		told[f.ref] = true
	}
}
