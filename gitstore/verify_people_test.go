package gitstore_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// forger works on the bare repositories with plain git, as somebody does who
// has got at the disk.
type forger struct {
	t   *testing.T
	dir string // of the repository
}

func (f forger) git(in string, args ...string) string {
	f.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "safe.directory=*", "--git-dir", f.dir}, args...)...)
	cmd.Env = isolated(f.t.TempDir(), "GIT_AUTHOR_NAME=eve", "GIT_AUTHOR_EMAIL=eve@pnda", "GIT_COMMITTER_NAME=eve", "GIT_COMMITTER_EMAIL=eve@pnda")
	cmd.Stdin = strings.NewReader(in)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		f.t.Fatalf("git %s: %v %s", strings.Join(args, " "), err, errs.String())
	}
	return strings.TrimSpace(string(out))
}

// point makes ref name an object.
func (f forger) point(ref, to string) { f.git("", "update-ref", ref, to) }

// archive is the ref of the upload that a tag, or a withdrawal's, is of.
func (f forger) archive(tag string) string {
	f.t.Helper()
	_, rest, found := strings.Cut(f.git("", "log", "-1", "--format=%B", tag), "DM-Archive: ")
	if !found {
		f.t.Fatalf("%s names no archive", tag)
	}
	return "refs/archives/" + rest[:40]
}

// last is the last trailer of a commit.
func (f forger) last(commit string) string {
	message := f.git("", "log", "-1", "--format=%B", commit)
	return message[strings.LastIndexByte(message, '\n')+1:]
}

// beginning writes the commit before an application that a push made.
func (f forger) beginning() string {
	f.git("", "hash-object", "-w", "-t", "tree", "--stdin")
	const server = "deployment-manager <deployment-manager@pnda> 0 +0000"
	return f.git("tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor "+server+"\ncommitter "+server+"\n\nThe record begins\n",
		"hash-object", "-w", "-t", "commit", "--stdin")
}

// rewrite puts a changed copy of what ref names in its place.
func (f forger) rewrite(ref string, replace ...string) {
	f.t.Helper()
	kind := f.git("", "cat-file", "-t", ref)
	raw := f.git("", "cat-file", kind, ref) + "\n"
	forged := strings.NewReplacer(replace...).Replace(raw)
	if forged == raw {
		f.t.Fatalf("nothing to replace by %q in\n%s", replace, raw)
	}
	f.point(ref, f.git(forged, "hash-object", "-w", "-t", kind, "--literally", "--stdin"))
}

// spec puts a changed application.json into the tree of main's tip.
func (f forger) spec(replace ...string) {
	f.t.Helper()
	blob := f.git("", "rev-parse", "main:application.json")
	forged := f.git(strings.NewReplacer(replace...).Replace(f.git("", "cat-file", "blob", blob)), "hash-object", "-w", "--stdin")
	tree := f.git(strings.ReplaceAll(f.git("", "ls-tree", "main"), blob, forged)+"\n", "mktree")
	f.rewrite("refs/heads/main", "tree "+f.git("", "rev-parse", "main^{tree}"), "tree "+tree)
}

// genuine is a record with everything in it; ana's start of app is not carried
// out yet.
func genuine(t *testing.T) string {
	t.Helper()
	h := open(t, t.TempDir())
	v := h.deployed("ana", "flow-1.0.0", "one")
	h.publish("ana", "flow-1.1.0.tar.gz", notebook("flow-1.1.0", "two"))
	check(t, h.Withdraw(ctx, as("ana"), file(t, "flow-1.1.0.tar.gz")))
	check(t, h.UndeployPackage(ctx, as("ana"), "flow-1.0.0"))
	check(t, h.DeployPackage(ctx, as("ana"), "flow-1.0.0"))
	check(t, h.Create(ctx, as("ana"), dm.Spec{Name: "app", Package: v}))
	h.settle("app")
	why := as("root")
	why.Reason, why.Impersonator = "because: of it", "console"
	check(t, h.Change(ctx, why, "app", dm.Edit{Overrides: dm.Overrides{"jupyter": {"report": {"limit": []byte("7")}}}}))
	h.settle("app")
	h.asks("ana")
	h.stop()
	h = openStill(t, h.dir)
	check(t, h.Start(ctx, as("ana"), "app"))
	h.sound()
	h.stop()
	return h.dir
}

// TestForgeriesAreFound changes a genuine record with plain git, each time in
// one way, and wants to hear of it.
func TestForgeriesAreFound(t *testing.T) {
	t.Parallel()
	record := genuine(t)
	const (
		app, flow  = "applications/app.git", "packages/flow.git"
		main       = "refs/heads/main"
		ana        = "ana <ana@pnda>"
		eve        = "eve <eve@pnda>"
		tagged     = "refs/tags/1.0.0"
		withdrawn  = "refs/superseded/1.1.0/1"
		decided    = "refs/deployed/1.0.0"
		observed   = "refs/observed/head"
		theServers = "committer deployment-manager <deployment-manager@pnda>"
	)
	some := func(ref string, replace ...string) func(forger) { return func(f forger) { f.rewrite(ref, replace...) } }
	for _, c := range []struct {
		name, repository string
		forge            func(forger)
		want             string
	}{
		{"another author", app, some(main, "author "+ana, "author "+eve), "has the author eve <eve@pnda>, its trailers say ana <ana@pnda>"},
		{"another address", app, some(main, "author "+ana, "author ana <eve@pnda>"), "has the author ana <eve@pnda>"},
		{"another user", app, some(main, "DM-User: ana", "DM-User: eve"), "has the author ana <ana@pnda>, its trailers say eve <eve@pnda>"},
		{"another committer", app, some(main, theServers, "committer "+eve), "has the committer eve"},
		{"another zone", app, some(main, " +0000\ncommitter", " +0200\ncommitter"), "has the author's time"},
		{"another time", app, some(main, "DM-Time: 20", "DM-Time: 19"), "has the committer's time"},
		{"a time of another form", app, some(main, "Z\nDM-Seq", "+00:00\nDM-Seq"), "which is not one that the server writes"},
		{"an earlier number", app, some(main, "DM-Seq: 1", "DM-Seq: "), "the one before it is"},
		{"no number", app, some(observed, "DM-Seq: ", "DM-Sequence: "), "is event 0, the one before it is"},
		{"a number twice", flow, func(f forger) {
			f.rewrite(decided, "DM-Seq: "+f.git("", "log", "-1", "--format=%(trailers:key=DM-Seq,valueonly,separator=)", decided), "DM-Seq: "+f.git("", "log", "-1", "--format=%(trailers:key=DM-Seq,valueonly,separator=)", decided+"^"))
		}, "the one before it is"},
		{"no user", app, some(main, "DM-User: ana\n", ""), "has a bad DM-User"},
		{"no way of knowing", app, some(main, "DM-Auth: test\n", ""), "does not say how its user was known"},
		{"no door", app, some(main, "DM-Via: test\n", ""), "does not say how its user was known and by which door"},
		{"no action", app, some(main, "DM-Action: start\n", ""), `has the action ""`},
		{"an unknown action", app, some(main, "DM-Action: start", "DM-Action: paint"), `has the action "paint"`},
		{"an action of packages", app, some(main, "DM-Action: start", "DM-Action: publish"), `has the action "publish"`},
		{"two users", app, some(main, "DM-User: ana", "DM-User: eve\nDM-User: ana"), "has the trailer DM-User twice"},
		{"a bad service", app, some(main, "DM-Time", "DM-Impersonator: /\nDM-Time"), "has a bad DM-Impersonator"},
		{"a bad reason", app, some(main, "DM-Time", "DM-Reason: a\tb\nDM-Time"), "has a bad DM-Reason"},
		{"another package", app, some(main, "DM-Package: flow-1.0.0", "DM-Package: flow-9.0.0"), "its trailers say flow-9.0.0"},
		{"a header of git's", app, some(main, " +0000\n\nStart", " +0000\nencoding latin1\n\nStart"), "holds lines that the server does not write"},
		{"a number without a deployment", app, some(main, "DM-Deployment: 2", "DM-Deployment: 3"), "is of deployment 3, a start keeps 2"},
		{"a deployment without a number", app, some(main, "DM-Action: start", "DM-Action: change", "DM-Deployment: 2\n", ""), "has no number of a deployment"},
		{"a gap in the numbers", app, some(main, "DM-Action: start", "DM-Action: change", "DM-Deployment: 2", "DM-Deployment: 7"), "is deployment 7, the next one is 3"},
		{"a merge", app, func(f forger) { f.rewrite(main, "author ", "parent "+f.git("", "rev-parse", observed)+"\nauthor ") }, "has 2 parents"},
		{"a push of nothing", app, some(main, "DM-Package", "DM-Pushed: "+strings.Repeat("1", 40)+"\nDM-Package"), "is not its second parent"},
		{"history as a push", app, func(f forger) {
			f.rewrite(main, "DM-Package", "DM-Pushed: "+f.git("", "rev-parse", "main^")+"\nDM-Package")
		}, "is not its second parent"},
		{"a stolen application", app, func(f forger) { f.spec(`"owner": "ana"`, `"owner": "eve"`) }, "gives the application to eve, its owner is ana"},
		{"a commit of plain git", app, func(f forger) {
			f.point(main, f.git("", "commit-tree", "-p", main, "-m", f.git("", "log", "-1", "--format=%B", main), "main^{tree}"))
		}, "has the author eve"},
		{"an amended change", app, func(f forger) {
			f.point(main, "main^")
			f.rewrite(main, "DM-Reason: because: of it\n", "")
			f.point("refs/deployments/2", main)
		}, "which is not on main"},
		{"a moved number", app, func(f forger) { f.point("refs/deployments/1", main) }, "refs/deployments/1 is not a deployment on main"},
		{"a number too many", app, func(f forger) { f.point("refs/deployments/3", main) }, "refs/deployments/3 is not a deployment on main"},
		{"a foreign branch", app, func(f forger) { f.point("refs/heads/evil", main) }, "refs/heads/evil is no ref of the record"},
		{"a replaced object", app, func(f forger) { f.point("refs/replace/"+f.git("", "rev-parse", "main^"), main) }, "is no ref of the record"},
		{"an outcome by somebody", app, some(observed, "author deployment-manager <deployment-manager@pnda>", "author "+eve), "has the author eve"},
		{"an outcome of another user's", app, some(observed, "DM-User: root", "DM-User: eve"), "does not name who made the change"},
		{"an outcome of no change", app, func(f forger) {
			f.rewrite(observed, "DM-Desired: "+f.git("", "rev-parse", "main^"), "DM-Desired: "+strings.Repeat("2", 40))
		}, "which is not on main"},
		{"another outcome", app, some(observed, "DM-Phase: CREATED", "DM-Phase: STARTED"), "has another observed.json than its trailers"},

		{"no outcome at all", app, func(f forger) { f.git("", "update-ref", "-d", observed) }, "has no outcome, and another change followed it"},
		{"a lost outcome", app, func(f forger) { f.point(observed, observed+"^") }, "has no outcome, and another change followed it"},

		{"another tagger", flow, some(tagged, "tagger "+ana, "tagger "+eve), "has the tagger eve"},
		{"another uploader", flow, some(tagged, "DM-User: ana", "DM-User: eve"), "does not say what its tag says"},
		{"a tag of another name", flow, some(tagged, "tag 1.0.0", "tag 1.0.1"), "is called 1.0.1"},
		{"a withdrawal by another", flow, some(withdrawn, "tagger "+ana, "tagger "+eve), "has the tagger eve"},
		{"a withdrawal of another version", flow, some(withdrawn, "DM-Package: flow-1.1.0", "DM-Package: flow-1.0.0"), "says that it is of flow-1.0.0"},
		{"a deploy by another", flow, some(decided, "author "+ana, "author "+eve), "has the author eve"},
		{"a stolen package", flow, some(decided, "DM-User: ana", "DM-User: eve"), "its trailers say eve"},
		{"an outcome of packages", flow, some(decided, "DM-Phase: DEPLOYED", "DM-Phase: CREATED"), `has the phase "CREATED", in which no deploy ends`},
		{"a deploy of another version", flow, some(decided, "DM-Package: flow-1.0.0", "DM-Package: flow-1.1.0"), "is of flow-1.1.0, and stands with those of 1.0.0"},
		{"an upload of nobody's", flow, func(f forger) { f.point(main, f.git("", "commit-tree", "-p", main, "-m", "mine", "main^{tree}")) }, "is on main, and no version has it"},
		{"a lost archive", flow, func(f forger) { f.git("", "update-ref", "-d", f.archive(tagged)) }, "the ref of the archive of flow-1.0.0.tar.gz is missing"},
		{"a lost archive of a withdrawn version", flow, func(f forger) { f.git("", "update-ref", "-d", f.archive(withdrawn)) }, "the ref of the archive of flow-1.1.0.tar.gz is missing"},
		{"another archive of a withdrawn version", flow, func(f forger) { f.point(f.archive(withdrawn), f.archive(tagged)) }, "refs/archives/"},
		{"an archive that nobody uploaded", flow, func(f forger) { f.point("refs/archives/"+strings.Repeat("3", 40), f.archive(tagged)) }, "names another blob"},
		{"a foreign ref", flow, func(f forger) { f.point("refs/notes/commits", main) }, "refs/notes/commits is no ref of the record"},

		{"none", app, func(forger) {}, ""},
		{"none, but a push", app, func(f forger) {
			pushed := f.git("", "commit-tree", "-m", "I claim to be root", "main^{tree}")
			f.rewrite(main, "author ", "parent "+pushed+"\nauthor ", f.last(main), f.last(main)+"\nDM-Pushed: "+pushed)
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			check(t, os.CopyFS(dir, os.DirFS(record)))
			c.forge(forger{t, filepath.Join(dir, c.repository)})
			check(t, os.Remove(filepath.Join(dir, "known-refs"))) // or it would tell before all else
			h := openStill(t, dir)
			var found []string
			check(t, h.Verify(ctx, func(p string) { found = append(found, p) }))
			all := strings.Join(found, "\n")
			if c.want == "" && all != "" || !strings.Contains(all, c.want) {
				t.Errorf("verify found:\n%s\nwant: %s", all, c.want)
			}
		})
	}
}

// TestForgedWorkspaceIsMadeAgain changes a genuine workspace with plain git. The next
// start puts it aside, and its user gets the chain that the record makes.
func TestForgedWorkspaceIsMadeAgain(t *testing.T) {
	t.Parallel()
	record := genuine(t)
	for name, ref := range map[string]string{"another author": repo.Main, "another branch": "refs/heads/apps/app"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			check(t, os.CopyFS(dir, os.DirFS(record)))
			f := forger{t, filepath.Join(dir, "users/ana.git")}
			was := f.git("", "rev-parse", repo.Main, "refs/heads/apps/app")
			f.rewrite(ref, "author root <root@pnda>", "author eve <eve@pnda>")
			h := openStill(t, dir)
			if got := h.git("users/ana.git", "rev-parse", repo.Main, "refs/heads/apps/app"); ref == repo.Main && got != was {
				t.Errorf("ana gets\n%s\nwant\n%s", got, was)
			}
			if ref != repo.Main {
				h.wantFound("the record makes it")
			}
		})
	}
}
