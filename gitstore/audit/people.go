package audit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
	"github.com/pndaproject/deployment-manager/gitstore/workspace"
)

// Who did what is proved from commits and tags alone: what is read from each is
// written again, and must come out as the same object. Then each must stand where
// the record has a place for it.

// changeVerbs are the actions on an application's main and of its outcomes.
var changeVerbs = [...]dm.Verb{dm.Create, dm.Change, dm.Start, dm.Stop, dm.Rollback, dm.Destroy}

// told is a commit or a tag as a report names it, and what it says of itself.
type told struct {
	what string
	dm.Stamp
}

// told reports what no stamp of the server's says.
func (v *Verifier) told(what string, s dm.Stamp, verbs ...dm.Verb) told {
	if !slices.Contains(verbs, s.Verb) {
		v.problem("%s has the action %q, which has no place here", what, s.Verb)
	}
	if s.Auth == "" || s.Via == "" {
		v.problem("%s does not say how its user was known and by which door it came", what)
	}
	_, user := dm.ParseUserName(string(s.User))
	v.parsed(what, form.TrailerUser, user)
	if s.Impersonator != "" {
		_, err := dm.ParseUserName(string(s.Impersonator))
		v.parsed(what, form.TrailerImpersonator, err)
	}
	_, why := dm.ParseReason(s.Reason)
	v.parsed(what, form.TrailerReason, why)
	return told{what, s}
}

// numbered reports an event whose number is none that the server gives behind
// before. Both are 0 before format 3.
func (v *Verifier) numbered(d told, before uint64, same bool) {
	if d.Seq < before || d.Seq == before && before > 0 && !same {
		v.problem("%s is event %d, the one before it is %d", d.what, d.Seq, before)
	}
}

// parsed reports a trailer that could not be parsed.
func (v *Verifier) parsed(what, trailer string, err error) {
	if err != nil {
		v.problem("%s has a bad %s: %s", what, trailer, dm.Public(err))
	}
}

// written keeps the last object of each type that it is given.
type written map[plumbing.ObjectType]*plumbing.MemoryObject

// Add implements repo.Adder.
func (w written) Add(t plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	o := &plumbing.MemoryObject{}
	o.SetType(t)
	_, err := o.Write(content)
	w[t] = o
	return o.Hash(), err
}

// again writes what was read. It reports nothing but that it can't.
func (v *Verifier) again(d told, said interface{ Encode(repo.Adder) error }) (c object.Commit, t object.Tag) {
	w := written{}
	err := said.Encode(w)
	if o := w[plumbing.CommitObject]; o != nil && err == nil {
		err = c.Decode(o)
	}
	if o := w[plumbing.TagObject]; o != nil && err == nil {
		err = t.Decode(o)
	}
	if err != nil {
		v.problem("%s cannot be written again: %v", d.what, err)
	}
	return c, t
}

// commit compares a commit with the one that the server writes.
// otherwise says what it means that the messages differ, "" for nothing special.
func (v *Verifier) commit(d told, got *object.Commit, want object.Commit, otherwise string) {
	if got.Hash == want.Hash {
		return
	}
	before := v.problems
	v.signed(d, "author", got.Author, want.Author)
	v.signed(d, "committer", got.Committer, want.Committer)
	v.says(d, got.Message, want.Message, otherwise)
	switch n := len(got.ParentHashes); {
	case slices.Equal(got.ParentHashes, want.ParentHashes):
	case n <= len(want.ParentHashes) && len(want.ParentHashes) == 2:
		v.problem("%s says that %s was pushed, and that is not its second parent", d.what, want.ParentHashes[1])
	default:
		v.problem("%s has %d parents", d.what, n)
	}
	if got.TreeHash != want.TreeHash {
		v.problem("%s has a tree that the server does not write", d.what)
	}
	v.unsaid(d, before)
}

// tag compares a tag with the one that the server writes. is is the version that
// it names, of the one that it must.
func (v *Verifier) tag(d told, ref string, h plumbing.Hash, want object.Tag, is dm.PackageRef, of string) {
	got, err := v.objects.Tag(h)
	if err != nil {
		v.problem("%s: %v", ref, err)
		return
	}
	before := v.problems
	if got.Name != want.Name || is.String() != of {
		v.problem("%s at %s is called %s and says that it is of %s", d.what, ref, got.Name, is)
	}
	if got.Hash == want.Hash {
		return
	}
	v.signed(d, "tagger", got.Tagger, want.Tagger)
	v.says(d, got.Message, want.Message, "")
	if got.Target == want.Target { // or it is told of the commit
		v.unsaid(d, before)
	}
}

// unsaid reports a difference of which nothing was reported.
func (v *Verifier) unsaid(d told, before int) {
	if v.problems == before {
		v.problem("%s holds lines that the server does not write", d.what)
	}
}

// signed compares a signature with the one that the server writes.
func (v *Verifier) signed(d told, role string, got, want object.Signature) {
	if got.Name != want.Name || got.Email != want.Email {
		v.problem("%s has the %s %s <%s>, its trailers say %s <%s>", d.what, role, got.Name, got.Email, want.Name, want.Email)
	}
	if is, should := got.When.Format(time.RFC3339), want.When.Format(time.RFC3339); is != should {
		v.problem("%s has the %s's time %s, its trailers say %s", d.what, role, is, should)
	}
}

// says compares a message with the one that the server writes.
func (v *Verifier) says(d told, got, want, otherwise string) {
	is, should := form.ParseTrailers(got), form.ParseTrailers(want)
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if strings.Count("\n"+got, "\n"+key+": ") > 1 {
			v.problem("%s has the trailer %s twice", d.what, key)
		}
	}
	if otherwise != "" && got != want {
		v.problem("%s %s", d.what, otherwise)
		return
	}
	subject, _, _ := strings.Cut(got, "\n")
	if wanted, _, _ := strings.Cut(want, "\n"); subject != wanted {
		v.problem("%s is called %q, its trailers say %q", d.what, subject, wanted)
	}
	keys := slices.AppendSeq(slices.Collect(maps.Keys(is)), maps.Keys(should))
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if is[key] != should[key] {
			v.problem("%s says %q as %s, which is not one that the server writes", d.what, is[key], key)
		}
	}
}

// chainOf reads the record's commits that a ref leads to, oldest first.
func (v *Verifier) chainOf(ctx context.Context, ref string) []*object.Commit {
	list, _, err := form.Chain(ctx, v.objects, v.heads[ref], plumbing.ZeroHash)
	if err != nil {
		v.problem("%s: %v", ref, err)
	}
	return list
}

// foreign reports refs that are none of the record's.
func (v *Verifier) foreign(prefixes ...string) {
	for _, ref := range slices.Sorted(maps.Keys(v.heads)) {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return ref == p || strings.HasSuffix(p, "/") && strings.HasPrefix(ref, p) }) {
			v.problem("%s is no ref of the record", ref)
		}
	}
}

// changes checks who asked for each change of an application. whole is false
// when some can't be read.
func (v *Verifier) changes(commits []*object.Commit) (list []form.Change, whole bool) {
	whole = true
	deployments, repeated := 0, false // from format 3 on every change has the number
	var owner dm.UserName
	var team string
	var seq uint64
	for i, commit := range commits {
		c, err := form.DecodeChange(v.objects, commit.Hash)
		d := v.told("commit "+commit.Hash.String(), c.Stamp, changeVerbs[:]...)
		if err != nil {
			v.problem("%s: %v", d.what, err)
			whole = false
		} else {
			v.asked(d, commit, c)
		}
		v.numbered(d, seq, false)
		seq = c.Seq
		list = append(list, c)
		v.given[commit.Hash] = form.DeliveryOf(dm.ApplicationName(v.r.Name), c)
		if i == 0 && c.Verb != dm.Create {
			v.problem("%s is the first, and it is no create", d.what)
		}
		switch {
		case c.Made() > 0:
			deployments++
			if c.Deployment != deployments {
				v.problem("%s is deployment %d, the next one is %d", d.what, c.Deployment, deployments)
			}
		case c.Verb.MakesDeployment() || repeated && c.Deployment == 0:
			v.problem("%s has no number of a deployment", d.what)
		default:
			repeated = c.Deployment != 0
		}
		if c.Verb == dm.Create {
			owner, team = c.User, c.Spec.Team
		}
		if err == nil && c.Spec.Owner != owner {
			v.problem("%s gives the application to %s, its owner is %s", d.what, c.Spec.Owner, owner)
		}
		if err == nil && c.Spec.Team != team {
			v.problem("%s gives the application to the team %q, its team is %q", d.what, c.Spec.Team, team)
		}
		if !c.Overtakes.IsZero() && (i == 0 || commits[i-1].Hash != c.Overtakes) {
			v.problem("%s overtakes %s, which is not the change before", d.what, c.Overtakes)
		}
	}
	return list, whole
}

// asked compares a change with what the server writes, and application.json with
// the trailers beside it.
func (v *Verifier) asked(d told, commit *object.Commit, c form.Change) {
	want, _ := v.again(d, &c)
	v.commit(d, commit, want, "")
	if said := form.ParseChange(commit).Spec.Package; string(c.Spec.Name) != v.r.Name || c.Spec.Package != said {
		v.problem("%s has %s of %s from %s, its trailers say %s", d.what, form.SpecFile, c.Spec.Name, c.Spec.Package, said)
	}
}

// unanswered reports changes without an outcome. Only the newest may be one,
// with those that it overtook while they waited: the server takes no other
// change while it carries one out, and records their outcomes with its own.
func (v *Verifier) unanswered(main []form.Change, observed []form.Outcome) {
	answered := map[dm.Revision]bool{}
	for _, o := range observed {
		answered[o.Observation.Desired] = true
	}
	pending := true // nothing from here on is answered
	for i, c := range slices.Backward(main) {
		answered := answered[repo.Revision(c.Commit)]
		pending = pending && !answered
		overtaken := i+1 < len(main) && main[i+1].Overtakes == c.Commit
		if i+1 < len(main) && !answered && !(pending && overtaken) {
			v.problem("commit %s has no outcome, and another change followed it", c.Commit)
		}
	}
}

// outcomes checks that each outcome is one of a change of this application.
// whole is false when some are not, or can't be read.
func (v *Verifier) outcomes(commits []*object.Commit, main []form.Change) (list []form.Outcome, whole bool) {
	changes := map[dm.Revision]form.Change{}
	for _, c := range main {
		changes[repo.Revision(c.Commit)] = c
	}
	whole = true
	var seq uint64
	var logs map[string]plumbing.Hash
	for _, commit := range commits {
		o, err := form.DecodeOutcome(v.objects, commit.Hash)
		d := v.told("outcome "+commit.Hash.String(), o.Stamp, changeVerbs[:]...)
		if err != nil {
			v.problem("%s: %v", d.what, err)
			whole = false
		} else {
			said := o
			want, _ := v.again(d, &said)
			v.commit(d, commit, want, "has another "+form.ObservedFile+" than its trailers")
			logs = v.logs(d, o.Logs, logs)
		}
		v.numbered(d, seq, true) // one move records all that were overtaken
		seq = o.Seq
		list = append(list, o)
		desired := form.ParseOutcome(commit).Observation.Desired
		change, ok := changes[desired]
		switch {
		case !ok:
			v.problem("%s is of the change %.40q, which is not on main", d.what, desired)
			whole = false
		case change.User != o.User || change.Verb != o.Verb || change.Auth != o.Auth || change.Via != o.Via:
			v.problem("%s does not name who made the change", d.what)
		case string(o.Application) != v.r.Name || o.Package != change.Spec.Package:
			v.problem("%s is of %s from %s, its change of %s from %s", d.what, o.Application, o.Package, v.r.Name, change.Spec.Package)
		}
		if effective := o.Observation.Effective; effective != "" && changes[effective].Commit.IsZero() {
			v.problem("%s puts the change %.40q into effect, which is not on main", d.what, effective)
		}
		if !slices.Contains([]dm.Phase{dm.NotCreated, dm.Created, dm.Started}, o.Observation.Phase) {
			v.problem("%s has the phase %q, in which nothing settles", d.what, o.Observation.Phase)
		}
	}
	return list, whole
}

// deliveries checks that each commit of a workspace is of a change of the
// application, and says what that says.
func (v *Verifier) deliveries(commits []*object.Commit) {
	for len(commits) > 0 && commits[0].Message == workspace.BlankMessage { // it begins with some
		commits = commits[1:]
	}
	for _, commit := range commits {
		said := form.DecodeDelivery(commit)
		want, ok := v.given[said.Change]
		d := told{"commit " + commit.Hash.String(), want.Stamp}
		switch {
		case ok:
			want.Removed, want.Tree, want.Before = said.Removed, said.Tree, said.Before
			again, _ := v.again(d, &want)
			v.commit(d, commit, again, "")
		case v.Service.Sound(repo.Application(said.Application)) == nil:
			v.problem("%s is of the change %s, which is not on main of %s", d.what, said.Change, said.Application)
		}
	}
}

// packagePeople checks who uploaded, withdrew, deployed and undeployed.
func (v *Verifier) packagePeople(ctx context.Context) {
	v.foreign(repo.Main, repo.TagPrefix, repo.ArchivePrefix, repo.SupersededPrefix, repo.DeployedPrefix)
	uploads := map[string][]uploaded{} // by version
	commits := map[plumbing.Hash]bool{}
	for _, ref := range slices.Sorted(maps.Keys(v.heads)) {
		version, tagged := strings.CutPrefix(ref, repo.TagPrefix)
		earlier, superseded := strings.CutPrefix(ref, repo.SupersededPrefix)
		number := 0
		if superseded {
			var text string
			version, text, _ = strings.Cut(earlier, "/")
			number, _ = strconv.Atoi(text)
		}
		if !tagged && !superseded {
			continue
		}
		if u, err := v.upload(ref, version, number); err != nil {
			v.problem("%s: %v", ref, err)
		} else {
			uploads[version] = append(uploads[version], u)
			commits[u.commit] = true
		}
	}
	v.versions(uploads)
	for _, ref := range slices.Sorted(maps.Keys(v.heads)) {
		if version, ok := strings.CutPrefix(ref, repo.DeployedPrefix); ok {
			v.decisions(v.chainOf(ctx, ref), version, uploads[version])
		}
	}
	var main []told
	for _, c := range v.chainOf(ctx, repo.Main) {
		main = append(main, told{"commit " + c.Hash.String(), form.ParseVersion(c).Stamp})
		if !commits[c.Hash] {
			v.problem("commit %s is on main, and no version has it", c.Hash)
		}
	}
	v.dated(main)
}

// upload proves the tag and the commit of an upload, and its withdrawal. number
// is its place under refs/superseded, 0 for the one that stands.
func (v *Verifier) upload(ref, version string, number int) (u uploaded, err error) {
	h, of := v.heads[ref], v.r.Name+"-"+version
	said, gone, err := form.DecodeTag(v.objects, h)
	if err == nil && gone != nil && number == 0 {
		err = fmt.Errorf("it is a withdrawal")
	}
	if err != nil {
		return u, err
	}
	c, err := v.objects.Commit(said.Commit)
	if err != nil {
		return u, err
	}
	said.Tree, said.Before = c.TreeHash, form.ParentOf(c)
	u = uploaded{tag: said.Tag, commit: c.Hash, tree: c.TreeHash, number: number}
	if gone != nil {
		u.gone = v.told("tag "+h.String(), gone.Stamp, dm.Withdraw)
		_, tag := v.again(u.gone, gone)
		v.tag(u.gone, ref, h, tag, gone.Package, of)
	}
	u.d = v.told("tag "+u.tag.String(), said.Stamp, dm.Publish)
	commit, tag := v.again(u.d, &said)
	v.tag(u.d, ref, u.tag, tag, said.File.Ref, of)
	v.commit(told{"commit " + c.Hash.String(), said.Stamp}, c, commit, "does not say what its tag says")
	return u, nil
}

// decisions checks that the deploys and undeploys of a version take turns, and
// that what was deployed had been uploaded.
func (v *Verifier) decisions(commits []*object.Commit, version string, uploads []uploaded) {
	var list []told
	before := form.Decision{Phase: dm.NotDeployed}
	for _, commit := range commits {
		o := form.DecodeDecision(commit)
		d := v.told("commit "+commit.Hash.String(), o.Stamp, dm.Deploy, dm.Undeploy)
		list = append(list, d)
		v.numbered(d, before.Seq, false)
		said := o
		want, _ := v.again(d, &said)
		v.commit(d, commit, want, "")
		if of := o.Package.String(); of != v.r.Name+"-"+version {
			v.problem("%s is of %s, and stands with those of %s", d.what, of, version)
		}
		if o.Phase != dm.NotDeployed && (o.Phase != dm.Deployed || o.Verb != dm.Deploy) {
			v.problem("%s has the phase %q, in which no %s ends", d.what, o.Phase, o.Verb)
		}
		if o.Verb == dm.Deploy && before.Phase != dm.NotDeployed {
			v.problem("%s deploys what is %s", d.what, before.Phase)
		}
		if o.Verb == dm.Undeploy && (before.Phase != dm.Deployed || before.Tree != o.Tree) {
			v.problem("%s undeploys other files than were deployed", d.what)
		}
		if o.Phase == dm.Deployed {
			i := slices.IndexFunc(uploads, func(u uploaded) bool { return u.tree == o.Tree })
			if i < 0 {
				v.problem("%s deploys files that nobody uploaded as %s", d.what, version)
			} else {
				v.after(d, uploads[i].d.Time, uploads[i].d.what)
			}
		}
		before = o
	}
	v.dated(list)
}
