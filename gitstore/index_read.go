package gitstore

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

// versionOf reads refs/tags/<v> and refs/deployed/<v>; prefix is "" for others.
func versionOf(ref string) (prefix string, v dm.Version, err error) {
	for _, p := range [...]string{repo.TagPrefix, repo.DeployedPrefix} {
		if text, ok := strings.CutPrefix(ref, p); ok {
			v, err = dm.ParseVersion(text)
			return p, v, err
		}
	}
	return "", v, nil
}

// readContent reads one commit of an application's main.
func readContent(objects *repo.Objects, h plumbing.Hash) (contentEntry, dm.Stamp, error) {
	c, err := form.DecodeChange(objects, h)
	return newContentEntry(c), c.Stamp, err
}

// stillUsed refuses other bytes under the number of a version that was withdrawn:
// who has the number in hand must never get something else for it.
func (e *packageEntry) stillUsed(file dm.PackageFile, digest string) error {
	old, withdrawn := e.withdrawn[file.Ref.Version]
	if !withdrawn || old.digest == digest {
		return nil
	}
	return dm.Errorf(dm.Conflict, "gitstore.Publish", "%s was withdrawn, and its number accepts only the same bytes again", file.Ref).
		WithHint("publish the change under a new version number")
}

// readPast reads who owns the package and which versions were withdrawn. The
// owner is who published first: by the order of the commits, because a clock can
// have been wrong.
func (e *packageEntry) readPast(objects *repo.Objects, name dm.PackageName, heads repo.Refs) error {
	people := map[dm.UserName]bool{}
	for _, v := range e.versions {
		people[v.by] = true
	}
	last := map[dm.Version]int{}
	e.withdrawn = map[dm.Version]versionEntry{}
	for ref, h := range heads {
		text, ok := strings.CutPrefix(ref, repo.SupersededPrefix)
		if !ok {
			continue
		}
		v, n, err := readSuperseded(objects, name, text, h)
		if err != nil {
			return err
		}
		people[v.by] = true
		if _, published := e.version(v.file.Ref.Version); !published && n > last[v.file.Ref.Version] {
			last[v.file.Ref.Version], e.withdrawn[v.file.Ref.Version] = n, v
		}
	}
	if len(people) == 1 {
		for e.owner = range people {
			return nil
		}
	}
	return e.readOwner(objects)
}

// readSuperseded reads the version behind refs/superseded/<version>/<n>.
func readSuperseded(objects *repo.Objects, name dm.PackageName, text string, h plumbing.Hash) (v versionEntry, n int, err error) {
	number, place, _ := strings.Cut(text, "/")
	version, err := dm.ParseVersion(number)
	if err == nil {
		n, err = strconv.Atoi(place)
	}
	if err != nil {
		return v, 0, fmt.Errorf("%w: %s%s", repo.ErrBadRef, repo.SupersededPrefix, text)
	}
	u, _, err := form.DecodeVersion(objects, dm.PackageRef{Name: name, Version: version}, h)
	return newVersionEntry(u), n, err
}

// readOwner follows main to the first upload.
func (e *packageEntry) readOwner(objects *repo.Objects) error {
	for h := e.main; !h.IsZero(); {
		c, err := objects.Commit(h)
		if err != nil {
			return err
		}
		v := form.ParseVersion(c)
		e.owner, h = v.User, v.Before
	}
	return nil
}

// overtaken returns the commits of main before its tip that have no outcome,
// oldest first.
func overtaken(ctx context.Context, objects *repo.Objects, e *appEntry) ([]*object.Commit, error) {
	answered := plumbing.ZeroHash
	if e.observed != nil {
		answered = plumbing.NewHash(string(e.observed.Desired))
	}
	if e.main == answered {
		return nil, nil
	}
	list, _, err := form.Chain(ctx, objects, e.main, answered)
	if err != nil {
		return nil, err
	}
	return list[:len(list)-1], nil
}

// givenUp is the outcome of a change that another overtook: it changed nothing.
func (e *appEntry) givenUp(change plumbing.Hash, at time.Time) dm.Observation {
	o := dm.Observation{
		Desired: dm.Revision(change.String()), Phase: e.settled(), Time: at,
		Information: "given up while it waited: " + string(e.last.Verb) + " came in its place",
	}
	if e.observed != nil {
		o.Effective, o.Deployment, o.Records = e.observed.Effective, e.observed.Deployment, e.observed.Records
	}
	return o
}

// number fills in the number of a content in effect or at main whose commit does
// not tell it: before format 3 a start, a stop and a destroy had none. It is that
// of the overtaken change that they follow, or else of what is in effect. Nothing
// else reads commits without a number, but verify.
func (e *appEntry) number(ctx context.Context, objects *repo.Objects, content *contentEntry) error {
	if content.deployment > 0 || content.commit.IsZero() {
		return nil
	}
	if content.commit == e.main {
		commits, err := overtaken(ctx, objects, e)
		if err != nil {
			return err
		}
		for _, c := range commits { // oldest first
			if n := form.ParseChange(c).Deployment; n > 0 {
				content.deployment = n
			}
		}
	}
	if content.deployment == 0 && e.observed != nil {
		content.deployment = e.observed.Deployment
	}
	return nil
}

// seen is the last outcome as readers see it.
func (e *appEntry) seen() *dm.Observation {
	if e.observed != nil && e.shown.Of == e.observed {
		return e.shown.Now
	}
	return e.observed
}

// shown is what readers see in the place of an outcome: the same with newer states
// of its components. It lasts as long as that outcome is the last.
type shown struct{ Of, Now *dm.Observation }

// then tells what was in effect at an instant, nil for nothing, if the newest
// outcome knows it.
func (e *appEntry) then(app dm.ApplicationName, at time.Time) (then *dm.Then, known bool) {
	o := e.observed
	switch {
	case o.Time.After(at):
		return nil, false
	case o.Effective == "":
		return nil, true
	case o.Effective != o.Desired, o.Health != "":
		return nil, false // what is in effect came earlier
	}
	return &dm.Then{
		Application: app, Owner: e.effective.spec.Owner, Phase: o.Phase, Package: e.effective.spec.Package,
		Deployment: o.Deployment, Revision: o.Effective, Since: o.Time.UTC(),
	}, true
}

// list names the newest versions for a hint.
func (e *packageEntry) list() string {
	var names []string
	for _, v := range e.versions[:min(len(e.versions), listedVersions)] {
		names = append(names, v.file.Ref.Version.String())
	}
	if len(e.versions) > listedVersions {
		names = append(names, "and older ones")
	}
	return strings.Join(names, ", ")
}

// listedVersions is how many versions a hint names.
const listedVersions = 10

func (v versionEntry) answer() dm.Published {
	return dm.Published{File: v.file, Tag: dm.Revision(v.tag.String()), Commit: dm.Revision(v.commit.String()), Digest: v.digest, Findings: v.findings}
}

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

// readPackage reads a package, and the refs that others of it prove to be gone. Its
// main is where it ought to be: a server that was killed may not have moved it.
func readPackage(objects *repo.Objects, name dm.PackageName, heads repo.Refs) (*packageEntry, []repair.Finding, error) {
	entry := &packageEntry{main: heads[repo.Main], outcomes: map[dm.Version]outcomeEntry{}}
	var newest form.Version
	after := map[plumbing.Hash]plumbing.Hash{} // commit of an upload → commit of the next
	for ref, h := range heads {
		switch text, v, err := versionOf(ref); {
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
			after[u.Before] = u.Commit
			entry.versions = append(entry.versions, newVersionEntry(u))
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
			o := newOutcomeEntry(form.DecodeDecision(c))
			if o.tree == repo.EmptyTree {
				if o.once, err = hadFiles(objects, c); err != nil {
					return nil, nil, fmt.Errorf("%s: %w", ref, err)
				}
			}
			entry.outcomes[v] = o
		}
	}
	slices.SortFunc(entry.versions, func(a, b versionEntry) int { return b.file.Ref.Version.Compare(a.file.Ref.Version) })
	gaps, err := gapsOfPackage(objects, name, entry, heads, after)
	if err != nil {
		return nil, nil, err
	}
	if len(gaps) == 0 {
		entry.main = nextMain(entry.main, newest.Commit, after)
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

// readApplication reads an application, the moves that write numbers of deployments
// which are missing, and the refs that others of it prove to be gone or set back.
func readApplication(ctx context.Context, objects *repo.Objects, app dm.ApplicationName, heads repo.Refs) (_ *appEntry, missing []gitcmd.RefUpdate, gaps []repair.Finding, err error) {
	if heads[repo.Main].IsZero() {
		return nil, nil, nil, repo.Broken(repo.Main, "it is missing")
	}
	e := &appEntry{main: heads[repo.Main], observedTip: heads[repo.Observed]}
	if e.desired, e.last, err = readContent(objects, e.main); err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", repo.Main, err)
	}
	if e.desired.spec.Name != app {
		return nil, nil, nil, repo.Broken(repo.Main, "%s names the application %q", form.SpecFile, e.desired.spec.Name)
	}
	if !e.observedTip.IsZero() {
		o, err := form.DecodeOutcome(objects, e.observedTip)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("%s: %w", repo.Observed, err)
		}
		e.observed = placed(o.Observation)
	}
	if e.observed != nil && e.observed.Effective != "" {
		if e.effective, _, err = readContent(objects, plumbing.NewHash(string(e.observed.Effective))); err != nil {
			return nil, nil, nil, err
		}
	}
	if err := cmp.Or(e.number(ctx, objects, &e.desired), e.number(ctx, objects, &e.effective)); err != nil {
		return nil, nil, nil, err
	}
	if e.deployments, missing, err = numbers(objects, e.main, heads); err != nil {
		return nil, nil, nil, err
	}
	if gaps, err = gapsOfApplication(ctx, objects, e, heads); err != nil {
		return nil, nil, nil, err
	}
	e.slim()
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

// placed fills in where the files of records went that were made before plugins
// kept it: one component into the application's folder itself, each of several
// into a sub-folder of its own.
func placed(o dm.Observation) *dm.Observation {
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
