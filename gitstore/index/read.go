package index

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
	"github.com/pndaproject/deployment-manager/gitstore/repair"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// VersionOf reads refs/tags/<v> and refs/deployed/<v>; prefix is "" for others.
func VersionOf(ref string) (prefix string, v dm.Version, err error) {
	for _, p := range [...]string{repo.TagPrefix, repo.DeployedPrefix} {
		if text, ok := strings.CutPrefix(ref, p); ok {
			v, err = dm.ParseVersion(text)
			return p, v, err
		}
	}
	return "", v, nil
}

// StillUsed refuses other bytes under the number of a version that was withdrawn:
// who has the number in hand must never get something else for it.
func (e *Package) StillUsed(file dm.PackageFile, digest string) error {
	old, withdrawn := e.Withdrawn[file.Ref.Version]
	if !withdrawn || old.Digest == digest {
		return nil
	}
	return dm.Errorf(dm.Conflict, "index.StillUsed", "%s was withdrawn, and its number accepts only the same bytes again", file.Ref).
		WithHint("publish the change under a new version number")
}

// readPast reads who owns the package and which versions were withdrawn. The
// owner is who published first: by the order of the commits, because a clock can
// have been wrong.
func (e *Package) readPast(objects *repo.Objects, name dm.PackageName, heads repo.Refs) error {
	people := map[dm.UserName]bool{}
	for _, v := range e.Versions {
		people[v.User] = true
	}
	last := map[dm.Version]int{}
	e.Withdrawn = map[dm.Version]form.Version{}
	for ref, h := range heads {
		text, ok := strings.CutPrefix(ref, repo.SupersededPrefix)
		if !ok {
			continue
		}
		v, n, err := e.readSuperseded(objects, name, text, h)
		if err != nil {
			return err
		}
		people[v.User] = true
		if _, published := e.Version(v.File.Ref.Version); !published && n > last[v.File.Ref.Version] {
			last[v.File.Ref.Version], e.Withdrawn[v.File.Ref.Version] = n, v
		}
	}
	if len(people) == 1 {
		for e.Owner = range people {
			return nil
		}
	}
	return e.readOwner(objects)
}

// readSuperseded reads the version behind refs/superseded/<version>/<n>.
func (e *Package) readSuperseded(objects *repo.Objects, name dm.PackageName, text string, h plumbing.Hash) (v form.Version, n int, err error) {
	number, place, _ := strings.Cut(text, "/")
	version, err := dm.ParseVersion(number)
	if err == nil {
		n, err = strconv.Atoi(place)
	}
	if err != nil {
		return v, 0, fmt.Errorf("%w: %s%s", repo.ErrBadRef, repo.SupersededPrefix, text)
	}
	v, gone, err := form.DecodeVersion(objects, dm.PackageRef{Name: name, Version: version}, h)
	e.Seq = max(e.Seq, v.Seq)
	if gone != nil {
		e.Seq = max(e.Seq, gone.Seq)
	}
	return v, n, err
}

// readOwner follows main to the first upload.
func (e *Package) readOwner(objects *repo.Objects) error {
	for h := e.Main; !h.IsZero(); {
		c, err := objects.Commit(h)
		if err != nil {
			return err
		}
		v := form.ParseVersion(c)
		e.Owner, h = v.User, v.Before
	}
	return nil
}

// Overtaken returns the commits of main before its tip that have no outcome,
// oldest first.
func Overtaken(ctx context.Context, objects *repo.Objects, e *Application) ([]*object.Commit, error) {
	answered := plumbing.ZeroHash
	if e.Observed != nil {
		answered = plumbing.NewHash(string(e.Observed.Desired))
	}
	if e.Main == answered {
		return nil, nil
	}
	list, _, err := form.Chain(ctx, objects, e.Main, answered)
	if err != nil {
		return nil, err
	}
	return list[:len(list)-1], nil
}

// GivenUp is the outcome of a change that another overtook: it changed nothing.
func (e *Application) GivenUp(change plumbing.Hash, at time.Time) dm.Observation {
	o := dm.Observation{
		Desired: dm.Revision(change.String()), Phase: e.Settled(), Time: at,
		Information: "superseded while it waited, by: " + string(e.Desired.Verb),
	}
	if e.Observed != nil {
		o.Effective, o.Deployment, o.Records = e.Observed.Effective, e.Observed.Deployment, e.Observed.Records
	}
	return o
}

// Number fills in the number of a content in effect or at main whose commit does
// not tell it: before format 3 a start, a stop and a destroy had none. It is that
// of the overtaken change that they follow, or else of what is in effect. Nothing
// else reads commits without a number, but verify.
func (e *Application) Number(ctx context.Context, objects *repo.Objects, content *form.Change) error {
	if content.Deployment > 0 || content.Commit.IsZero() {
		return nil
	}
	if content.Commit == e.Main {
		commits, err := Overtaken(ctx, objects, e)
		if err != nil {
			return err
		}
		for _, c := range commits { // oldest first
			if n := form.ParseChange(c).Deployment; n > 0 {
				content.Deployment = n
			}
		}
	}
	if content.Deployment == 0 && e.Observed != nil {
		content.Deployment = e.Observed.Deployment
	}
	return nil
}

// Seen is the last outcome as readers see it.
func (e *Application) Seen() *dm.Observation {
	if e.Observed != nil && e.Shown.Of == e.Observed {
		return e.Shown.Now
	}
	return e.Observed
}

// Shown is what readers see in the place of an outcome: the same with newer states
// of its components. It lasts as long as that outcome is the last.
type Shown struct{ Of, Now *dm.Observation }

// Then tells what was in effect at an instant, nil for nothing, if the newest
// outcome knows it.
func (e *Application) Then(app dm.ApplicationName, at time.Time) (then *dm.Then, known bool) {
	o := e.Observed
	switch {
	case o.Time.After(at):
		return nil, false
	case o.Effective == "":
		return nil, true
	case o.Effective != o.Desired, o.Health != "":
		return nil, false // what is in effect came earlier
	}
	return &dm.Then{
		Application: app, Owner: e.Effective.Spec.Owner, Phase: o.Phase, Package: e.Effective.Spec.Package,
		Deployment: o.Deployment, Revision: o.Effective, Since: o.Time.UTC(),
	}, true
}

// List names the newest versions for a hint.
func (e *Package) List() string {
	var names []string
	for _, v := range e.Versions[:min(len(e.Versions), listedVersions)] {
		names = append(names, v.File.Ref.Version.String())
	}
	if len(e.Versions) > listedVersions {
		names = append(names, "and older ones")
	}
	return strings.Join(names, ", ")
}

// listedVersions is how many versions a hint names.
const listedVersions = 10

// hadFiles tells whether an outcome before c had the files of its version.
func hadFiles(objects *repo.Objects, c *object.Commit) (bool, error) {
	for h := form.ParentOf(c); !h.IsZero(); h = form.ParentOf(c) {
		var err error
		if c, err = objects.Commit(h); err != nil || c.TreeHash != repo.EmptyTree {
			return err == nil, err
		}
	}
	return false, nil
}

// ReadPackage reads a package, and the refs that others of it prove to be gone. Its
// main is where it ought to be: a server that was killed may not have moved it.
func ReadPackage(objects *repo.Objects, name dm.PackageName, heads repo.Refs) (*Package, []repair.Finding, error) {
	entry := &Package{Main: heads[repo.Main], Outcomes: map[dm.Version]Outcome{}}
	var newest form.Version
	after := map[plumbing.Hash]plumbing.Hash{} // commit of an upload → commit of the next
	for ref, h := range heads {
		switch text, v, err := VersionOf(ref); {
		case text == "":
			continue
		case err != nil:
			return nil, nil, repo.Broken(ref, "it is not a version")
		case text == repo.TagPrefix:
			u, gone, err := form.DecodeVersion(objects, dm.PackageRef{Name: name, Version: v}, h)
			switch {
			case err != nil:
				return nil, nil, fmt.Errorf("%s: %w", ref, err)
			case gone != nil:
				return nil, nil, repo.Broken(ref, "it is a withdrawal")
			}
			entry.Seq = max(entry.Seq, u.Seq)
			after[u.Before] = u.Commit
			entry.Versions = append(entry.Versions, u)
			if newest.Time.Before(u.Time) {
				newest = u
			}
		default:
			c, err := objects.Commit(h)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", ref, err)
			}
			if _, err := objects.Tree(c.TreeHash); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", ref, err)
			}
			o := Outcome{Decision: form.DecodeDecision(c)}
			entry.Seq = max(entry.Seq, o.Seq)
			if o.Tree == repo.EmptyTree {
				if o.once, err = hadFiles(objects, c); err != nil {
					return nil, nil, fmt.Errorf("%s: %w", ref, err)
				}
			}
			entry.Outcomes[v] = o
		}
	}
	slices.SortFunc(entry.Versions, func(a, b form.Version) int { return b.File.Ref.Version.Compare(a.File.Ref.Version) })
	gaps, err := GapsOfPackage(objects, name, entry, heads, after)
	if err != nil {
		return nil, nil, err
	}
	if len(gaps) == 0 {
		entry.Main = nextMain(entry.Main, newest.Commit, after)
	}
	return entry, gaps, entry.readPast(objects, name, heads)
}

// nextMain is the upload that follows the one that main has, when a crash came
// between a tag and main. A missing main becomes the newest by its time; otherwise
// times, which a wrong clock may have made, do not count.
func nextMain(main, newest plumbing.Hash, after map[plumbing.Hash]plumbing.Hash) plumbing.Hash {
	if main.IsZero() {
		main = newest
	}
	for next, ok := after[main]; ok && !main.IsZero(); next, ok = after[main] {
		main = next
	}
	return main
}

// ReadApplication reads an application, the moves that write numbers of deployments
// which are missing, and the refs that others of it prove to be gone or set back.
func ReadApplication(ctx context.Context, objects *repo.Objects, app dm.ApplicationName, heads repo.Refs) (_ *Application, missing []gitcmd.RefUpdate, gaps []repair.Finding, err error) {
	if heads[repo.Main].IsZero() {
		return nil, nil, nil, repo.Broken(repo.Main, "it is missing")
	}
	e := &Application{Main: heads[repo.Main], ObservedTip: heads[repo.Observed]}
	if e.Desired, err = form.DecodeChange(objects, e.Main); err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", repo.Main, err)
	}
	if e.Desired.Spec.Name != app {
		return nil, nil, nil, repo.Broken(repo.Main, "%s names the application %q", form.SpecFile, e.Desired.Spec.Name)
	}
	if !e.ObservedTip.IsZero() {
		o, err := form.DecodeOutcome(objects, e.ObservedTip)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", repo.Observed, err)
		}
		e.Observed, e.ObservedSeq, e.Seq, e.Logs = Placed(o.Observation), o.Seq, o.Seq, o.Logs
	}
	e.Seq = max(e.Seq, e.Desired.Seq)
	if e.Observed != nil && e.Observed.Effective != "" {
		if e.Effective, err = form.DecodeChange(objects, plumbing.NewHash(string(e.Observed.Effective))); err != nil {
			return nil, nil, nil, err
		}
	}
	if err := cmp.Or(e.Number(ctx, objects, &e.Desired), e.Number(ctx, objects, &e.Effective)); err != nil {
		return nil, nil, nil, err
	}
	if e.Deployments, missing, err = numbers(objects, e.Main, heads); err != nil {
		return nil, nil, nil, err
	}
	if gaps, err = GapsOfApplication(ctx, objects, e, heads); err != nil {
		return nil, nil, nil, err
	}
	e.Slim()
	return e, missing, gaps, nil
}

// numbers compares refs/deployments with the trailers on main; it walks back only
// as far as some are missing.
func numbers(objects *repo.Objects, main plumbing.Hash, heads repo.Refs) (highest int, missing []gitcmd.RefUpdate, err error) {
	have := 0
	for ref := range heads {
		if strings.HasPrefix(ref, repo.DeploymentPrefix) {
			have++
		}
	}
	for h := main; !h.IsZero(); {
		c, err := objects.Commit(h)
		if err != nil {
			return 0, nil, err
		}
		change := form.ParseChange(c)
		if n := change.Made(); n > 0 {
			highest = max(highest, n)
			if heads[repo.Deployment(n)].IsZero() {
				missing = append(missing, repo.Update(repo.Deployment(n), plumbing.ZeroHash, h))
			}
			if have+len(missing) >= highest {
				break
			}
		}
		h = change.Before
	}
	return highest, missing, nil
}

// Placed fills in where the files of records went that were made before plugins
// kept it: one component into the application's folder itself, each of several
// into a sub-folder of its own.
func Placed(o dm.Observation) *dm.Observation {
	for i := range o.Records {
		r := &o.Records[i]
		if r.Folders != nil || len(r.Users) == 0 {
			continue
		}
		r.Folders = map[string]dm.ComponentName{}
		for _, c := range r.Components {
			sub := string(c.Name)
			if len(r.Components) == 1 {
				sub = ""
			}
			r.Folders[sub] = c.Name
		}
	}
	return &o
}
