package gitstore_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// chainOf is what follows from the record in a workspace: main and the branches.
func chainOf(t testing.TB, dir string) repo.Refs {
	t.Helper()
	refs, err := repo.ReadRefs(dir)
	check(t, err)
	delete(refs, repo.Brought)
	return refs
}

// wantForward fails unless the commit from is in the history of to.
func wantForward(t testing.TB, dir, from, to string) {
	t.Helper()
	if base := git(t, dir, "merge-base", from, to); base != from {
		t.Errorf("%s: main went from %s to %s, which does not follow it", dir, from, to)
	}
}

// wantFolders fails unless main in dir shows these names beside the README.
func wantFolders(t testing.TB, dir string, want ...string) {
	t.Helper()
	got := slices.DeleteFunc(strings.Fields(git(t, dir, "ls-tree", "--name-only", "main")), func(name string) bool { return name == "README.ipynb" })
	if !slices.Equal(got, want) {
		t.Errorf("%s has %q, want %q", dir, got, want)
	}
}

// wantText fails unless the notebook of an application in dir has the text.
func wantText(t testing.TB, dir, app, want string) {
	t.Helper()
	if got := git(t, dir, "show", "main:"+app+"/report.ipynb"); !strings.Contains(got, want) {
		t.Errorf("%s has %q in %s, want %q", dir, got, app, want)
	}
}

// changed changes an application as its owner and waits for it.
func (h *house) changed(user dm.UserName, app dm.ApplicationName, e dm.Edit) {
	h.t.Helper()
	check(h.t, h.Change(ctx, as(user), app, e))
	if view := h.settle(app); view.Phase != dm.Created && view.Phase != dm.Started {
		h.t.Fatalf("%s is %s: %s", app, view.Phase, view.Information)
	}
}

// delivered creates an application of the teacher's for an audience; nobody asks.
func (h *house) delivered(app dm.ApplicationName, ref dm.PackageRef, audience ...dm.Subject) {
	h.t.Helper()
	check(h.t, h.Create(ctx, as("teacher"), dm.Spec{Name: app, Package: ref, Audience: audience}))
	if view := h.settle(app); view.Phase != dm.Created {
		h.t.Fatalf("%s is %s: %s", app, view.Phase, view.Information)
	}
}

func signedIn(groups ...string) dm.Reader {
	return dm.Reader{Groups: groups, Proved: true, Known: true}
}

// TestWhoComesLate: who asks for the first time gets what is in effect, with one commit
// for each application, and no byte of what was before.
func TestWhoComesLate(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1, v2, v3 := h.deployed("teacher", "flow-1.0.0", "first"), h.deployed("teacher", "flow-1.1.0", "second"), h.deployed("teacher", "flow-1.2.0", "third")
	h.delivered("class", v1, "group:class")
	h.delivered("all", v1, dm.Everyone)
	h.delivered("gone", v1, dm.Everyone)
	for _, v := range []dm.PackageRef{v2, v3} {
		for _, app := range []dm.ApplicationName{"class", "all", "gone"} {
			h.changed("teacher", app, dm.Edit{Package: &v})
		}
	}
	check(t, h.Destroy(ctx, as("teacher"), "gone", false))
	h.settle("gone")
	for u, apps := range map[dm.UserName][]string{"ana": {"all", "class"}, "cyd": {"all"}} {
		dir := h.asks(u)
		wantFolders(t, dir, apps...)
		if got, want := git(t, dir, "rev-list", "--count", "main"), fmt.Sprint(1+len(apps)); got != want {
			t.Errorf("main of %s has %s commits, want %s", u, got, want)
		}
		for _, app := range apps {
			if got := git(t, dir, "rev-list", "--count", "apps/"+app); got != "1" {
				t.Errorf("the branch %s of %s has %s commits, want 1", app, u, got)
			}
			wantText(t, dir, app, "third flows for teacher")
		}
		// Not only what refs lead to: no object at all.
		if all := git(t, dir, "cat-file", "--batch-all-objects", "--batch"); strings.Contains(all, "first") || strings.Contains(all, "second") || !strings.Contains(all, "third") {
			t.Errorf("%s got objects of earlier deployments", u)
		}
	}
	h.sound()
}

// TestGroupsComeAndGo: who joins a group gets what is in effect for it and nothing of
// before, who leaves it loses the folder, and history goes on all the same.
func TestGroupsComeAndGo(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1, v2 := h.deployed("teacher", "flow-1.0.0", "first"), h.deployed("teacher", "flow-1.1.0", "second")
	h.delivered("all", v1, dm.Everyone)
	h.delivered("lab", v1, "group:lab")
	dir := h.bring("cyd", signedIn())
	wantFolders(t, dir, "all")
	mains := []string{git(t, dir, "rev-parse", "main")}
	h.changed("teacher", "lab", dm.Edit{Package: &v2})
	for _, step := range []struct {
		who  dm.Reader
		want []string
	}{
		{signedIn("lab"), []string{"all", "lab"}},
		{signedIn("lab", "other"), []string{"all", "lab"}},
		{dm.Reader{Known: true}, []string{"all", "lab"}}, // by name alone: the sign-in still counts
		{signedIn(), []string{"all"}},
		{dm.Reader{Known: true, Groups: []string{"lab"}}, []string{"all", "lab"}},
		{signedIn("other"), []string{"all"}},
	} {
		wantFolders(t, h.bring("cyd", step.who), step.want...)
		mains = append(mains, git(t, dir, "rev-parse", "main"))
	}
	for i := range mains[1:] {
		wantForward(t, dir, mains[i], mains[i+1])
	}
	if all := git(t, dir, "cat-file", "--batch-all-objects", "--batch"); !strings.Contains(all, "second flows") || strings.Count(all, "first flows") != 1 {
		t.Error("who joined got an object of before") // the one is that of the other application
	}
	h.sound()
}

// TestAskWhileAChangeIsUnderWay: who asks gets what is in effect, also of an application
// that is being changed, and loses nothing of it from their history.
func TestAskWhileAChangeIsUnderWay(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := []dm.PackageRef{h.deployed("teacher", "flow-1.0.0", "one"), h.deployed("teacher", "flow-1.1.0", "two"), h.deployed("teacher", "flow-1.2.0", "three")}
	h.delivered("app", v[0], "group:class")
	h.delivered("other", v[0], "group:class")
	wantText(t, h.asks("ana"), "app", "one flows")
	h.changed("teacher", "app", dm.Edit{Package: &v[1]})
	end := h.short()
	check(t, h.Change(ctx, as("teacher"), "app", dm.Edit{Package: &v[2]}))
	h.waiting("app")
	wantText(t, h.asks("ana"), "app", "two flows")
	end()
	h.settle("app")
	wantText(t, h.asks("ana"), "app", "three flows")
	if got := git(t, h.asks("ana"), "rev-list", "--count", "apps/app"); got != "3" {
		t.Errorf("the branch of ana has %s commits, want one for each change", got)
	}
	h.sound()
}

// TestNameAloneTakesNothing: of what a sign-in told, who asks by name takes nothing, also
// when the sign-in told no more than was known before it.
func TestNameAloneTakesNothing(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.delivered("lab", h.deployed("teacher", "flow-1.0.0", "one"), "group:lab")
	wantFolders(t, h.bring("cyd", dm.Reader{Known: true, Groups: []string{"lab"}}), "lab")
	wantFolders(t, h.bring("cyd", signedIn("lab")), "lab")
	wantFolders(t, h.bring("cyd", dm.Reader{Known: true}), "lab") // the list of the group is another now
	h.sound()
}

// TestLeaverGetsNothing: who was told to be in a group no more gets nothing that came for
// it since, also when they had nothing of the group at that time.
func TestLeaverGetsNothing(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("teacher", "flow-1.0.0", "one")
	h.delivered("own", v, "user:cyd")
	wantFolders(t, h.bring("cyd", signedIn("lab")), "own")
	wantFolders(t, h.bring("cyd", signedIn()), "own")
	h.delivered("lab", v, "group:lab")
	wantFolders(t, h.bring("cyd", dm.Reader{Known: true}), "own")
	h.sound()
}

// TestNameThatNobodyNamed: anybody can ask for any name. One that is neither of a user
// nor in an audience gets the blank workspace and takes no room, as who has nothing.
func TestNameThatNobodyNamed(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v := h.deployed("teacher", "flow-1.0.0", "one")
	blank := filepath.Join(h.dir, "blank.git")
	tip := git(t, blank, "rev-parse", "main")
	h.delivered("class", v, "group:class")
	if dir := h.bring("cyd", signedIn()); dir != blank {
		t.Errorf("cyd is answered by %s", dir)
	}
	h.delivered("all", v, dm.Everyone)
	h.delivered("once", v, "user:yan")
	check(t, h.Destroy(ctx, as("teacher"), "once", false))
	h.settle("once")
	for _, u := range []dm.UserName{"zoe", "yan", "zoe"} {
		if dir := h.bring(u, dm.Reader{Groups: []string{"class"}}); dir != blank {
			t.Errorf("%s is answered by %s", u, dir)
		}
	}
	h.wantWorkspaces()
	h.changed("teacher", "class", dm.Edit{Audience: []dm.Subject{"user:zoe"}})
	dir := h.bring("zoe", dm.Reader{})
	wantFolders(t, dir, "all", "class")
	wantForward(t, dir, tip, git(t, dir, "rev-parse", "main")) // a clone of the blank one goes on
	wantFolders(t, h.bring("yan", dm.Reader{Known: true}), "all")
	h.wantWorkspaces("yan.git", "zoe.git")
	h.sound()
}

// TestWorkspaceThatCanNotBeBroughtUp: what is in the way of one workspace is its user's
// 503 and nobody else's, and the next who asks tries again.
func TestWorkspaceThatCanNotBeBroughtUp(t *testing.T) {
	t.Parallel()
	for name, place := range map[string]string{"one": "users/ana.git", "refs": "users/ana.git/refs", "all": "users"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			v1, v2 := h.deployed("teacher", "flow-1.0.0", "one"), h.deployed("teacher", "flow-1.1.0", "two")
			h.delivered("app", v1, "user:ana", "user:bob")
			mains := map[dm.UserName]plumbing.Hash{}
			for _, u := range []dm.UserName{"ana", "bob"} {
				mains[u] = chainOf(t, h.asks(u))[repo.Main]
			}
			path := filepath.Join(h.dir, place)
			check(t, os.Rename(path, path+".away"))
			write(t, path, "")
			if _, main, err := h.Workspaces().Bring(ctx, "bob", reader("bob")); err != nil || main != mains["bob"] {
				t.Errorf("bob, who needs nothing, gets %s, %v", main, err)
			}
			h.changed("teacher", "app", dm.Edit{Package: &v2})
			for range 2 {
				_, _, err := h.Workspaces().Bring(ctx, "ana", reader("ana"))
				wantKind(t, err, dm.Unavailable, "the workspace of ana cannot be brought up to date at the moment")
			}
			if name != "all" {
				h.asks("bob")
			}
			if view, ok, err := h.Application(ctx, "app"); err != nil || !ok || view.Phase != dm.Created || strings.HasPrefix(view.Information, "Error") {
				t.Errorf("the application is %+v, %v", view, err)
			}
			check(t, os.Remove(path))
			check(t, os.Rename(path+".away", path))
			for u, main := range mains {
				dir := h.asks(u)
				wantForward(t, dir, main.String(), git(t, dir, "rev-parse", "main"))
				wantText(t, dir, "app", "two flows")
			}
			h.inService("after all")
			h.sound()
		})
	}
}

// TestWorkspacesThatAreAway has no folder of workspaces, as a disk that went away leaves.
// Nobody gets another workspace than theirs for it, whatever they are known as, and also
// not when nothing lies in it any more.
func TestWorkspacesThatAreAway(t *testing.T) {
	t.Parallel()
	for name, who := range map[string]dm.Reader{"signed in": reader("ana"), "by name": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			h.delivered("app", h.deployed("teacher", "flow-1.0.0", "one"), "user:ana")
			main := git(t, h.asks("ana"), "rev-parse", "main")
			check(t, h.Destroy(ctx, as("teacher"), "app", false))
			h.settle("app")
			folder := filepath.Join(h.dir, "users")
			check(t, os.Rename(folder, folder+".away"))
			if _, got, err := h.Workspaces().Bring(ctx, "ana", who); dm.KindOf(err) != dm.Unavailable {
				t.Errorf("ana gets %s, %v; she had %s", got, err, main)
			}
			check(t, os.Rename(folder+".away", folder))
			dir := h.bring("ana", who)
			wantFolders(t, dir)
			wantForward(t, dir, main, git(t, dir, "rev-parse", "main"))
			h.sound()
		})
	}
}

// out opens the house again with an application out of service: its main says nonsense
// until mend is called.
func (h *house) out(app dm.ApplicationName) (_ *house, mend func()) {
	h.t.Helper()
	path := filepath.Join(h.dir, "applications", string(app)+".git", "refs/heads/main")
	main := h.git("applications/"+string(app)+".git", "rev-parse", "main")
	h.stop()
	write(h.t.(*testing.T), path, "nonsense")
	next := open(h.t, h.dir)
	return next, func() {
		next.t.Helper()
		check(next.t, os.WriteFile(path, []byte(main+"\n"), 0o640))
		if left := next.Service().Repair(ctx).Left; len(left) != 0 {
			next.t.Fatalf("out of service are %v", left)
		}
	}
}

// TestApplicationOutOfService keeps nobody from what others deliver. What it delivered
// stays, and what it delivers since it is back comes.
func TestApplicationOutOfService(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1, v2 := h.deployed("teacher", "flow-1.0.0", "one"), h.deployed("teacher", "flow-1.1.0", "two")
	h.delivered("app", v1, "group:class")
	h.delivered("other", v1, "group:class")
	mains := []string{git(t, h.asks("ana"), "rev-parse", "main")}
	text := func(u dm.UserName, want map[string]string) {
		t.Helper()
		dir := h.asks(u)
		wantFolders(t, dir, slices.Sorted(maps.Keys(want))...)
		for app, version := range want {
			wantText(t, dir, app, version+" flows")
		}
		if u == "ana" {
			mains = append(mains, git(t, dir, "rev-parse", "main"))
		}
	}
	h, mend := h.out("app")
	text("ana", map[string]string{"app": "one", "other": "one"})
	h.changed("teacher", "other", dm.Edit{Package: &v2})
	text("ana", map[string]string{"app": "one", "other": "two"})
	text("bob", map[string]string{"other": "two"}) // who asks for the first time now
	mend()
	text("bob", map[string]string{"app": "one", "other": "two"})
	h.changed("teacher", "app", dm.Edit{Package: &v2})
	text("ana", map[string]string{"app": "two", "other": "two"})
	text("bob", map[string]string{"app": "two", "other": "two"})
	for i := range mains[1:] {
		wantForward(t, h.asks("ana"), mains[i], mains[i+1])
	}
	h.sound()
}

// TestBackAndDestroyed destroys an application that was out of service when its user
// asked, and fails to create it again. Which change took the folder away is the same
// however much of the past is in memory.
func TestBackAndDestroyed(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1, v2, unfit := h.deployed("teacher", "flow-1.0.0", "one"), h.deployed("teacher", "flow-1.1.0", "two"), h.unfit("word-1.0.0")
	h.delivered("app", v1, "user:ana")
	h.delivered("other", v1, "user:ana")
	h.asks("ana")
	h, mend := h.out("app")
	h.changed("teacher", "other", dm.Edit{Package: &v2})
	wantFolders(t, h.asks("ana"), "app", "other")
	mend()
	check(t, h.Destroy(ctx, as("teacher"), "app", false))
	h.settle("app")
	h.failed("app", h.Create(ctx, as("teacher"), dm.Spec{Name: "app", Package: unfit, Audience: []dm.Subject{"user:ana"}}))
	dir := h.asks("ana")
	wantFolders(t, dir, "other")
	if got := git(t, dir, "log", "-1", "--format=%s %(trailers:key=DM-Action,valueonly,separator=)", "apps/app"); got != "Remove app destroy" {
		t.Errorf("the folder went with %q", got)
	}
	h.sound()
}

// line is a packet of git's protocol.
func line(text string) string { return fmt.Sprintf("%04x%s", 4+len(text), text) }

// fetches asks for the refs of a workspace as git does, and then for a commit, "" for the
// one that main is at.
func (h *house) fetches(u dm.UserName, want string) {
	h.t.Helper()
	r := dm.Repository{Kind: dm.WorkspaceRepository, Name: string(u)}
	send := func(request string) string {
		var out bytes.Buffer
		check(h.t, h.UploadPack(ctx, r, dm.UploadRound{Protocol: "version=2", Reader: reader(u), In: strings.NewReader(request), Out: &out}))
		return out.String()
	}
	refs := send(line("command=ls-refs\n") + "0001" + "0000")
	if strings.Contains(refs, "refs/brought") {
		h.t.Errorf("the refs are %q, and one is the server's own", refs)
	}
	if want == "" {
		before, _, ok := strings.Cut(refs, " refs/heads/main\n")
		if !ok || len(before) < 40 {
			h.t.Fatalf("the refs are %q", refs)
		}
		want = before[len(before)-40:]
	}
	if answer := send(line("command=fetch") + "0001" + line("want "+want+"\n") + line("done\n") + "0000"); !strings.HasPrefix(answer, line("packfile\n")) {
		h.t.Fatalf("the fetch is answered with %.80q", answer)
	}
}

// TestReceivers: what somebody fetched last of an application is told with its number and
// time, whether it is what is delivered now, and the same after a start.
func TestReceivers(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1, v2 := h.deployed("teacher", "flow-1.0.0", "one"), h.deployed("teacher", "flow-1.1.0", "two")
	receivers := func(app dm.ApplicationName, want map[dm.UserName]dm.Fetch) {
		t.Helper()
		if all, err := h.Receivers(app); err != nil || !maps.Equal(all, want) {
			t.Errorf("of %s: %v, %v; want %v", app, all, err, want)
		}
	}
	h.delivered("class", v1, "group:class")
	h.delivered("own", v1, "user:bob")
	begin := time.Now()
	receivers("class", map[dm.UserName]dm.Fetch{})
	old := git(t, h.asks("ana"), "rev-parse", "main")
	h.asks("bob")
	h.asks("cyd")
	receivers("class", map[dm.UserName]dm.Fetch{"ana": {}, "bob": {}})
	h.fetches("ana", "")
	all, err := h.Receivers("class")
	first := all["ana"]
	if err != nil || first.Deployment != 1 || !first.Current || first.Time.Before(begin) || first.Time.After(time.Now()) {
		t.Errorf("after a fetch: %+v", first)
	}
	receivers("class", map[dm.UserName]dm.Fetch{"ana": first, "bob": {}})
	receivers("own", map[dm.UserName]dm.Fetch{"bob": {}})

	h.changed("teacher", "class", dm.Edit{Package: &v2})
	first.Current = false // which nobody has
	receivers("class", map[dm.UserName]dm.Fetch{"ana": first, "bob": {}})
	h.fetches("ana", old) // as who began before main went on, and has not what is new
	receivers("class", map[dm.UserName]dm.Fetch{"ana": first, "bob": {}})
	wait := func(at time.Time) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
			got := git(t, filepath.Join(h.dir, "users/ana.git"), "log", "-1", "--format=%(trailers:key=DM-Fetched-Time,valueonly,separator=)", repo.Brought)
			if got == at.Format(time.RFC3339Nano) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("the fetch at %s is not recorded, the one at %q is", at, got)
			}
		}
	}
	wait(first.Time)
	h.stop()
	h = open(t, h.dir)
	receivers("class", map[dm.UserName]dm.Fetch{"ana": first, "bob": {}})
	h.fetches("ana", "")
	all, err = h.Receivers("class")
	second := all["ana"]
	if err != nil || second.Deployment != 2 || !second.Current || !second.Time.After(first.Time) {
		t.Errorf("after the next fetch: %+v", second)
	}
	wait(second.Time)
	h.changed("teacher", "class", dm.Edit{Audience: []dm.Subject{"user:cyd"}})
	h.asks("cyd")
	receivers("class", map[dm.UserName]dm.Fetch{"cyd": {}})
	h.sound()
}

// TestFetchIsNewsOnce: which applications are others than at the fetch before is the same
// after a start, and a change that failed makes none of them another.
func TestFetchIsNewsOnce(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1, v2, unfit := h.deployed("teacher", "flow-1.0.0", "one"), h.deployed("teacher", "flow-1.1.0", "two"), h.unfit("word-1.0.0")
	h.delivered("class", v1, "group:class")
	h.delivered("own", v1, "user:ana")
	news := func(want ...dm.ApplicationName) {
		t.Helper()
		var apps []dm.ApplicationName
		for _, n := range h.Workspaces().Fetched("ana", chainOf(t, h.asks("ana"))[repo.Main]) {
			apps = append(apps, n.Application)
		}
		if !slices.Equal(apps, want) {
			t.Errorf("a fetch brings %q, want %q", apps, want)
		}
	}
	news("class", "own")
	news()
	for _, v := range []*dm.PackageRef{&v2, &v1} {
		h.failed("class", h.Change(ctx, as("teacher"), "class", dm.Edit{Package: &unfit}))
		h.changed("teacher", "own", dm.Edit{Package: v})
		h.asks("ana")
		if v == &v1 {
			h.stop()
			h = open(t, h.dir)
		}
		news("own")
	}
}
