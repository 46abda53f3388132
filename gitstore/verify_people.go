package gitstore

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Who did what is proved from commits and tags alone: each must look exactly as
// this server would have written it for the person, the time and the action
// that its trailers name, and stand where the record has a place for it.

// changeVerbs are the actions on an application's main and of its outcomes.
var changeVerbs = [...]dm.Verb{dm.Create, dm.Change, dm.Start, dm.Stop, dm.Rollback, dm.Destroy}

// told is what a commit or a tag says of itself in its trailers.
type told struct {
	what  string // its name in a report
	t     map[string]string
	stamp dm.Stamp
}

// told reads the trailers of a commit or a tag, and reports each that is
// missing or malformed.
func (v *verifier) told(what, message string, verbs ...dm.Verb) told {
	t := parseTrailers(message)
	d := told{what, t, parseStamp(t)}
	for _, key := range slices.Sorted(maps.Keys(t)) {
		if strings.Count("\n"+message, "\n"+key+": ") > 1 {
			v.problem("%s has the trailer %s twice", what, key)
		}
	}
	if !slices.Contains(verbs, d.stamp.Verb) {
		v.problem("%s has the action %q, which has no place here", what, d.stamp.Verb)
	}
	if d.stamp.Auth == "" || d.stamp.Via == "" {
		v.problem("%s does not say how its user was known and by which door it came", what)
	}
	if d.stamp.Time.Format(time.RFC3339Nano) != t[trailerTime] || d.stamp.Time.Location() != time.UTC {
		v.problem("%s has the time %q, which is not one that the server writes", what, t[trailerTime])
	}
	_, user := dm.ParseUserName(t[trailerUser])
	v.parsed(what, trailerUser, user)
	if service := t[trailerImpersonator]; service != "" {
		_, err := dm.ParseUserName(service)
		v.parsed(what, trailerImpersonator, err)
	}
	_, why := dm.ParseReason(t[trailerReason])
	v.parsed(what, trailerReason, why)
	_, of := dm.ParsePackageRef(t[trailerPackage])
	v.parsed(what, trailerPackage, of)
	return d
}

// parsed reports a trailer that could not be parsed.
func (v *verifier) parsed(what, trailer string, err error) {
	if err != nil {
		v.problem("%s has a bad %s: %s", what, trailer, dm.Public(err))
	}
}

// person is the signature that d's user has on a change.
func (d told) person() object.Signature { return personSignature(d.stamp.User, d.stamp.Time) }

// signed compares a signature with the one that the server would have written,
// as it reads when it comes back from git.
func (v *verifier) signed(d told, role string, got, want object.Signature) bool {
	var text bytes.Buffer
	var same object.Signature
	if err := want.Encode(&text); err != nil {
		v.problem("%v", err)
		return false
	}
	same.Decode(text.Bytes())
	ok := true
	if got.Name != same.Name || got.Email != same.Email {
		v.problem("%s has the %s %s <%s>, its trailers say %s <%s>", d.what, role, got.Name, got.Email, same.Name, same.Email)
		ok = false
	}
	if got.When.Format(time.RFC3339) != same.When.Format(time.RFC3339) {
		v.problem("%s has the %s's time %s, its trailers say %s", d.what, role, got.When.Format(time.RFC3339), same.When.Format(time.RFC3339))
		ok = false
	}
	return ok
}

// commitBy checks who made a commit, which parents it has, and that nothing
// stands in it that the server does not write.
func (v *verifier) commitBy(d told, c *object.Commit, author object.Signature) {
	server := serverSignature(d.stamp.Time)
	byPerson, byServer := v.signed(d, "author", c.Author, author), v.signed(d, "committer", c.Committer, server)
	if byPerson && byServer {
		v.plain(d, c.Hash, &object.Commit{Author: author, Committer: server, Message: c.Message, TreeHash: c.TreeHash, ParentHashes: c.ParentHashes})
	}
	parents := len(c.ParentHashes)
	if pushed := d.t[trailerPushed]; pushed != "" {
		if parents != 2 || c.ParentHashes[1].String() != pushed {
			v.problem("%s says that %.40s was pushed, and that is not its second parent", d.what, pushed)
			return
		}
		parents--
	}
	if parents > 1 {
		v.problem("%s has %d parents", d.what, len(c.ParentHashes))
	}
}

// plain compares the name of an object with that of one as the server writes it.
func (v *verifier) plain(d told, h plumbing.Hash, written object.Object) {
	m := &plumbing.MemoryObject{}
	if err := written.Encode(m); err != nil || m.Hash() != h {
		v.problem("%s holds lines that the server does not write", d.what)
	}
}

// chainOf reads the record's commits that a ref leads to, oldest first.
func (v *verifier) chainOf(ctx context.Context, ref string) []*object.Commit {
	list, _, err := chain(ctx, v.objects, v.heads[ref], plumbing.ZeroHash)
	if err != nil {
		v.problem("%s: %v", ref, err)
	}
	return list
}

// foreign reports refs that are none of the record's.
func (v *verifier) foreign(prefixes ...string) {
	for _, ref := range slices.Sorted(maps.Keys(v.heads)) {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return ref == p || strings.HasSuffix(p, "/") && strings.HasPrefix(ref, p) }) {
			v.problem("%s is no ref of the record", ref)
		}
	}
}

// changes checks who asked for each change of an application.
func (v *verifier) changes(commits []*object.Commit) map[string]told {
	all := map[string]told{}
	deployments, repeated := 0, false // from format 3 on every change has the number
	var owner dm.UserName
	for i, c := range commits {
		d := v.told("commit "+c.Hash.String(), c.Message, changeVerbs[:]...)
		v.commitBy(d, c, d.person())
		all[c.Hash.String()] = d
		if i == 0 && d.stamp.Verb != dm.Create {
			v.problem("%s is the first, and it is no create", d.what)
		}
		switch want, got := strconv.Itoa(deployments+1), d.t[trailerDeployment]; {
		case contentNumber(d.stamp.Verb, d.t) > 0:
			if got != want {
				v.problem("%s is deployment %s, the next one is %s", d.what, got, want)
			}
			deployments++
		case d.stamp.Verb.MakesDeployment() || repeated && got == "":
			v.problem("%s has no number of a deployment", d.what)
		default:
			repeated = got != ""
		}
		if d.stamp.Verb == dm.Create {
			owner = d.stamp.User
		}
		if over := d.t[trailerOvertakes]; over != "" && (i == 0 || commits[i-1].Hash.String() != over) {
			v.problem("%s overtakes %.40q, which is not the change before", d.what, over)
		}
		v.asked(d, c.Hash, owner)
	}
	return all
}

// asked compares application.json with the trailers beside it.
func (v *verifier) asked(d told, h plumbing.Hash, owner dm.UserName) {
	content, _, err := readContent(v.objects, h)
	if err != nil {
		v.problem("%s: %v", d.what, err)
		return
	}
	spec := content.spec
	if string(spec.Name) != v.r.Name || spec.Package.String() != d.t[trailerPackage] {
		v.problem("%s has %s of %s from %s, its trailers say %s", d.what, specFile, spec.Name, spec.Package, d.t[trailerPackage])
	}
	if spec.Owner != owner {
		v.problem("%s gives the application to %s, its owner is %s", d.what, spec.Owner, owner)
	}
}

// unanswered reports changes without an outcome. Only the newest may be one,
// with those that it overtook while they waited: the server takes no other
// change while it carries one out, and records their outcomes with its own.
func (v *verifier) unanswered(main, observed []*object.Commit) {
	answered := map[string]bool{}
	for _, c := range observed {
		answered[parseTrailers(c.Message)[trailerDesired]] = true
	}
	pending := true // nothing from here on is answered
	for i, c := range slices.Backward(main) {
		pending = pending && !answered[c.Hash.String()]
		overtaken := i+1 < len(main) && parseTrailers(main[i+1].Message)[trailerOvertakes] == c.Hash.String()
		if i+1 < len(main) && !answered[c.Hash.String()] && !(pending && overtaken) {
			v.problem("commit %s has no outcome, and another change followed it", c.Hash)
		}
	}
}

// outcomes checks that each outcome is one of a change of this application.
func (v *verifier) outcomes(commits []*object.Commit, changes map[string]told) {
	for _, c := range commits {
		d := v.told("outcome "+c.Hash.String(), c.Message, changeVerbs[:]...)
		v.commitBy(d, c, serverSignature(d.stamp.Time))
		change, ok := changes[d.t[trailerDesired]]
		switch {
		case !ok:
			v.problem("%s is of the change %.40q, which is not on main", d.what, d.t[trailerDesired])
		case change.stamp.User != d.stamp.User || change.stamp.Verb != d.stamp.Verb || change.stamp.Auth != d.stamp.Auth || change.stamp.Via != d.stamp.Via:
			v.problem("%s does not name who made the change", d.what)
		}
		o, err := readOutcome(v.objects, c)
		if err != nil {
			v.problem("%s: %v", d.what, err)
			continue
		}
		_, effective := changes[string(o.Effective)]
		if o.Effective != "" && !effective {
			v.problem("%s puts the change %.40q into effect, which is not on main", d.what, o.Effective)
		}
		if string(o.Desired) != d.t[trailerDesired] || string(o.Phase) != d.t[trailerPhase] || dm.Printable(o.Information) != d.t[trailerInformation] || dm.Printable(o.Health) != d.t[trailerHealth] || !o.Time.Equal(d.stamp.Time) {
			v.problem("%s has another %s than its trailers", d.what, observedFile)
		}
		if !slices.Contains([]dm.Phase{dm.NotCreated, dm.Created, dm.Started}, o.Phase) {
			v.problem("%s has the phase %q, in which nothing settles", d.what, o.Phase)
		}
	}
}

// packagePeople checks who uploaded, withdrew, deployed and undeployed.
func (v *verifier) packagePeople(ctx context.Context) {
	v.foreign(repo.Main, repo.TagPrefix, repo.ArchivePrefix, repo.SupersededPrefix, repo.DeployedPrefix)
	uploads := map[plumbing.Hash]bool{} // commits
	for _, ref := range slices.Sorted(maps.Keys(v.heads)) {
		text, tagged := strings.CutPrefix(ref, repo.TagPrefix)
		earlier, superseded := strings.CutPrefix(ref, repo.SupersededPrefix)
		if superseded {
			text, _, _ = strings.Cut(earlier, "/")
		}
		if tagged || superseded {
			v.tag(ref, v.heads[ref], text, superseded, uploads)
		}
		if version, ok := strings.CutPrefix(ref, repo.DeployedPrefix); ok {
			v.decisions(v.chainOf(ctx, ref), version)
		}
	}
	v.versions(ctx)
	for _, c := range v.chainOf(ctx, repo.Main) {
		if !uploads[c.Hash] {
			v.problem("commit %s is on main, and no version has it", c.Hash)
		}
	}
}

// tag checks an upload's tag, or a withdrawal's and that of the upload in it.
func (v *verifier) tag(ref string, h plumbing.Hash, version string, mayWithdraw bool, uploads map[plumbing.Hash]bool) {
	t, err := v.objects.Tag(h)
	if err != nil {
		v.problem("%s: %v", ref, err)
		return
	}
	withdrawal := t.TargetType == plumbing.TagObject && mayWithdraw
	verb, name := dm.Publish, version
	if withdrawal {
		verb, name = dm.Withdraw, version+"-withdrawn"
	}
	d := v.told("tag "+h.String(), t.Message, verb)
	if v.signed(d, "tagger", t.Tagger, d.person()) {
		v.plain(d, h, &object.Tag{Name: t.Name, Tagger: d.person(), Message: t.Message, TargetType: t.TargetType, Target: t.Target})
	}
	if t.Name != name || d.t[trailerPackage] != v.r.Name+"-"+version {
		v.problem("%s at %s is called %s and says that it is of %s", d.what, ref, t.Name, d.t[trailerPackage])
	}
	if withdrawal {
		v.tag(ref, t.Target, version, false, uploads)
		return
	}
	c, err := v.objects.Commit(t.Target)
	if err != nil {
		v.problem("%s: %v", d.what, err)
		return
	}
	uploads[c.Hash] = true
	d.what = "commit " + c.Hash.String()
	v.commitBy(d, c, d.person())
	if c.Message != t.Message {
		v.problem("%s does not say what its tag says", d.what)
	}
}

// decisions checks the outcomes of deploys and undeploys of one version.
func (v *verifier) decisions(commits []*object.Commit, version string) {
	for _, c := range commits {
		d := v.told("commit "+c.Hash.String(), c.Message, dm.Deploy, dm.Undeploy)
		v.commitBy(d, c, d.person())
		if d.t[trailerPackage] != v.r.Name+"-"+version {
			v.problem("%s is of %s, and stands with those of %s", d.what, d.t[trailerPackage], version)
		}
		switch p := dm.Phase(d.t[trailerPhase]); {
		case p == dm.NotDeployed, p == dm.Deployed && d.stamp.Verb == dm.Deploy:
		default:
			v.problem("%s has the phase %q, in which no %s ends", d.what, p, d.stamp.Verb)
		}
	}
}
