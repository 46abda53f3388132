package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/archive"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/workspace"
)

// Record says what an audit looks at. All is required.
type Record struct {
	Data       *repo.Folder
	Service    *repair.Service
	Index      *index.Index
	Workspaces *workspace.Workspaces
	Clock      func() time.Time

	// Of is how a repository of a kind is examined.
	Of func(dm.Repository) func(*Verifier, context.Context)

	// Aside fills the index from a repository that is out of service, as far as it
	// can be read.
	Aside func(context.Context, dm.Repository)
}

// Verify proves the whole record: git fsck of every repository, every ref
// against the index, every package's tree against its archive, who made each
// commit and tag, and that every workspace is what the record makes of where it
// began. It calls problem for each fault and returns an error only when
// it can't go on.
func (a *Record) Verify(ctx context.Context, problem func(string)) error {
	const op = "audit.Verify"
	for _, aside := range a.Service.LookNow(ctx).Left {
		problem(aside.String())
		a.Aside(ctx, aside.Repository)
	}
	deployed, given := map[dm.PackageRef]deployedTrees{}, map[plumbing.Hash]form.Delivery{}
	for _, kind := range a.Data.Many() {
		err := a.Data.Each(ctx, kind, func(r dm.Repository) error {
			if a.Service.Sound(r) != nil && !a.Index.Read(r) {
				return nil
			}
			v := &Verifier{Record: a, r: r, dir: a.Data.Path(r), objects: repo.Open(a.Data.Path(r)), report: problem, deployed: deployed, given: given}
			v.run(ctx)
			return nil
		})
		if err != nil {
			return repo.Failed(op, err)
		}
	}
	return repo.Failed(op, a.verifySweeps(ctx, problem))
}

// Verifier examines one repository.
type Verifier struct {
	*Record
	r       dm.Repository
	dir     string
	objects *repo.Objects
	heads   repo.Refs
	report  func(string)

	problems int // reported until now

	deployed map[dm.PackageRef]deployedTrees // of all packages, as far as they were asked for
	given    map[plumbing.Hash]form.Delivery // of all applications: change → what users get of it
}

func (v *Verifier) problem(format string, args ...any) {
	v.problems++
	v.report(fmt.Sprintf("%s/%s: ", v.r.Kind, v.r.Name) + dm.OneLine(fmt.Sprintf(format, args...)))
}

func (v *Verifier) run(ctx context.Context) {
	release := v.Data.Hold(v.r)
	defer release()
	lines, err := v.Data.Git.Fsck(ctx, v.dir, true)
	if err != nil {
		v.problem("fsck could not run: %v", err)
	}
	for _, line := range lines {
		v.problem("fsck: %s", line)
	}
	if v.heads, err = repo.ReadRefs(v.dir); err != nil {
		v.problem("%v", err)
		return
	}
	v.gaps(ctx)
	v.Of(v.r)(v, ctx)
}

// Package examines a package.
func (v *Verifier) Package(ctx context.Context) {
	v.packageRefs(ctx)
	v.packagePeople(ctx)
}

// packageRefs compares the index and the archives with the tags.
func (v *Verifier) packageRefs(ctx context.Context) {
	entry := v.Index.Package(dm.PackageName(v.r.Name))
	if entry == nil {
		v.problem("it is not in the index")
		return
	}
	for _, version := range entry.Versions {
		ref := repo.Tag(version.File.Ref.Version)
		if v.heads[ref] != version.Tag {
			v.problem("%s is %s, the index has %s", ref, v.heads[ref], version.Tag)
		}
		v.archived(ctx, version)
	}
	v.earlierArchives(ctx)
	for version, o := range entry.Outcomes {
		if ref := repo.Deployed(version); v.heads[ref] != o.Commit {
			v.problem("%s is %s, the index has %s", ref, v.heads[ref], o.Commit)
		}
	}
	for ref := range v.heads {
		prefix, version, _ := index.VersionOf(ref)
		_, tagged := entry.Version(version)
		_, decided := entry.Outcomes[version]
		if prefix == repo.TagPrefix && !tagged || prefix == repo.DeployedPrefix && !decided {
			v.problem("%s is not in the index", ref)
		}
		if blob, ok := strings.CutPrefix(ref, repo.ArchivePrefix); ok && blob != v.heads[ref].String() {
			v.problem("%s names another blob, %s", ref, v.heads[ref])
		}
	}
}

// earlierArchives examines the uploads that were replaced or withdrawn.
func (v *Verifier) earlierArchives(ctx context.Context) {
	for _, ref := range slices.Sorted(maps.Keys(v.heads)) {
		text, ok := strings.CutPrefix(ref, repo.SupersededPrefix)
		if !ok {
			continue
		}
		text, _, _ = strings.Cut(text, "/")
		number, err := dm.ParseVersion(text)
		if err != nil {
			v.problem("%s is of no version", ref)
			continue
		}
		version, _, err := form.DecodeVersion(v.objects, dm.PackageRef{Name: dm.PackageName(v.r.Name), Version: number}, v.heads[ref])
		if err != nil {
			v.problem("%s: %v", ref, err)
			continue
		}
		v.archived(ctx, version)
	}
}

// archived proves that the archive of an upload is there and kept, or can be made.
func (v *Verifier) archived(ctx context.Context, version form.Version) {
	if version.Archive.IsZero() { // its files are verified by making it
		if err := version.WriteArchive(ctx, v.objects, io.Discard); err != nil {
			v.problem("%s: %v", version.File, err)
		}
		return
	}
	if v.heads[repo.Archive(version.Archive.String())] != version.Archive {
		v.problem("the ref of the archive of %s is missing", version.File)
	}
	if err := v.archiveOf(ctx, version); err != nil {
		v.problem("%s: %v", version.File, err)
	}
}

// archiveOf reads the archive anew and compares its digest and each of its
// files with the version's tree.
func (v *Verifier) archiveOf(ctx context.Context, version form.Version) error {
	blob, _, err := v.Data.OpenBlob(ctx, v.dir, version.Archive)
	if err != nil {
		return err
	}
	defer blob.Close()
	digest := sha256.New()
	sink := &form.TreeSink{Files: map[string]form.FileLine{}}
	result, err := archive.Read(ctx, io.TeeReader(blob, digest), archive.NoLimits(), sink)
	if err != nil {
		return err
	}
	if got := hex.EncodeToString(digest.Sum(nil)); got != version.Digest {
		return fmt.Errorf("the archive has SHA-256 %s, its tag says %s", got, version.Digest)
	}
	// An older server took litter beside the directory for a second entry.
	older := version.Top == "" && len(result.TopEntries) > 1
	if result.Top != version.Top && !older {
		return fmt.Errorf("the archive's top directory is %q, its tag says %q", result.Top, version.Top)
	}
	tree, err := v.objects.Tree(version.Tree)
	if err != nil {
		return err
	}
	stored, err := form.TreeFiles(tree)
	if err != nil {
		return err
	}
	packed := map[string]form.FileLine{}
	place := form.NewPlacer(version.Top, maps.Keys(sink.Files))
	for path, f := range sink.Files {
		if path, ok := place.Place(path); ok {
			packed[path] = f
		}
	}
	if !maps.Equal(packed, stored) {
		return errors.New("the files of the archive are not those of the commit")
	}
	return nil
}

// Application compares the index with the refs, the numbers of deployments
// with the trailers on main, and checks who did what.
func (v *Verifier) Application(ctx context.Context) {
	e := v.Index.Application(dm.ApplicationName(v.r.Name))
	if e == nil {
		v.problem("it is not in the index")
		return
	}
	if v.heads[repo.Main] != e.Main || v.heads[repo.Observed] != e.ObservedTip {
		v.problem("main or observed is not what the index has")
	}
	v.foreign(repo.Main, repo.Observed, repo.DeploymentPrefix)
	main, read := v.changes(v.chainOf(ctx, repo.Main))
	observed, of := v.outcomes(v.chainOf(ctx, repo.Observed), main)
	v.numbers(main)
	v.unanswered(main, observed)
	if read && of {
		v.order(main, observed)
	}
}

// numbers compares refs/deployments with the trailers on main.
func (v *Verifier) numbers(main []form.Change) {
	want := repo.Refs{}
	for _, c := range main {
		if n := c.Made(); n > 0 {
			want[repo.Deployment(n)] = c.Commit
		}
	}
	for ref, h := range v.heads {
		if strings.HasPrefix(ref, repo.DeploymentPrefix) && want[ref] != h {
			v.problem("%s is not a deployment on main", ref)
		}
	}
	for ref := range want {
		if v.heads[ref].IsZero() {
			v.problem("%s is missing", ref)
		}
	}
}

// Workspace makes the chain of a user again from where it began, and compares it with
// what is there. Of a chain that an earlier server began only what each commit says
// can be proved.
func (v *Verifier) Workspace(ctx context.Context) {
	v.foreign(repo.Main, repo.Brought, repo.AppBranchPrefix)
	state, err := workspace.Read(v.dir, v.heads)
	if err != nil {
		v.problem("%v", err)
		return
	}
	for _, e := range state.Entries {
		app := dm.ApplicationName(e.Name)
		if e.Mode == filemode.Dir && v.Index.Application(app) == nil && v.Service.Sound(repo.Application(app)) == nil {
			v.problem("main has the folder %s, and there is no such application", app)
		}
	}
	if readme := slices.IndexFunc(state.Entries, func(e object.TreeEntry) bool { return e.Name == workspace.ReadmeFile }); readme < 0 {
		v.problem("%s is missing", workspace.ReadmeFile)
	}
	for ref := range v.heads {
		if ref != repo.Brought {
			v.deliveries(v.chainOf(ctx, ref))
		}
	}
	if !v.heads[repo.Brought].IsZero() {
		v.brought(v.heads[repo.Brought])
	}
}

// brought proves refs/brought/head, and main and the branches by what it says.
func (v *Verifier) brought(h plumbing.Hash) {
	d := told{what: "commit " + h.String()}
	c, err := v.objects.Commit(h)
	if err != nil {
		v.problem("%s: %v", repo.Brought, err)
		return
	}
	b, err := form.DecodeBrought(c)
	if err != nil {
		v.problem("%v", err)
		return
	}
	said := b
	want, _ := v.again(d, &said)
	v.commit(d, c, want, "")
	if b.Main != v.heads[repo.Main] {
		v.problem("%s brought main to %s, which is at %s", d.what, b.Main, v.heads[repo.Main])
	}
	if !v.Workspaces.Blank(b.Began) {
		return
	}
	refs, err := v.Workspaces.Again(dm.UserName(v.r.Name), b)
	if err != nil {
		v.problem("its chain cannot be made again: %v", err)
		return
	}
	refs[repo.Brought] = h
	for ref := range v.heads {
		if v.heads[ref] != refs[ref] {
			v.problem("%s is at %s, the record makes it %s", ref, v.heads[ref], refs[ref])
		}
	}
	for ref := range refs {
		if v.heads[ref].IsZero() {
			v.problem("%s is missing, the record makes it %s", ref, refs[ref])
		}
	}
}

// gaps reports every ref that is gone or was set back, but the one for which the
// repository is out of service.
func (v *Verifier) gaps(ctx context.Context) {
	list, err := v.Service.Contradicted(ctx, v.r, v.objects, v.heads)
	var more []repair.Finding
	switch v.r.Kind {
	case dm.PackageRepository:
		if e := v.Index.Package(dm.PackageName(v.r.Name)); e != nil && err == nil {
			follows := map[plumbing.Hash]plumbing.Hash{}
			for _, u := range e.Versions {
				if c, err := v.objects.Commit(u.Commit); err == nil {
					follows[form.ParentOf(c)] = u.Commit
				}
			}
			more, err = index.GapsOfPackage(v.objects, dm.PackageName(v.r.Name), e, v.heads, follows)
		}
	case dm.ApplicationRepository:
		if e := v.Index.Application(dm.ApplicationName(v.r.Name)); e != nil && err == nil {
			more, err = index.GapsOfApplication(ctx, v.objects, e, v.heads)
		}
	}
	if err != nil {
		v.problem("%v", err)
	}
	told := map[string]bool{}
	if f := v.Service.Fault(v.r); f != nil {
		told[f.File] = true
	}
	for _, f := range append(list, more...) {
		if !told[f.Ref] {
			v.problem("%s: %s", f.Ref, f.Why)
		}
		told[f.Ref] = true
	}
}
