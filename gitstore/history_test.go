package gitstore_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
)

// story writes a history as one line for each change, newest first.
func story(changes []dm.PastChange) string {
	lines := make([]string, len(changes))
	for i, c := range changes {
		outcome := "none"
		if c.Outcome != nil {
			outcome = fmt.Sprintf("%s %t", c.Outcome.Phase, c.Outcome.Succeeded)
		}
		lines[i] = fmt.Sprintf("%s %s %d by %s: %s", c.Verb, c.Package, c.Deployment, c.User, outcome)
	}
	return strings.Join(lines, "\n")
}

func wantStory(t *testing.T, got []dm.PastChange, want ...string) {
	t.Helper()
	if got := story(got); got != strings.Join(want, "\n") {
		t.Errorf("history:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

// past returns the whole history of an application.
func (h *house) past(app dm.ApplicationName) []dm.PastChange {
	h.t.Helper()
	page, err := h.ApplicationHistory(ctx, app, dm.Page{Limit: dm.MaxPage})
	check(h.t, err)
	if page.Next != "" {
		h.t.Fatalf("%s has more than %d changes", app, dm.MaxPage)
	}
	return page.Changes
}

// faulty deploys a package of which no engine runs one component.
func (h *house) faulty(user dm.UserName, id string) dm.PackageRef {
	h.t.Helper()
	h.publish(user, id+".tgz", sparkAndNotebook(id))
	check(h.t, h.DeployPackage(ctx, as(user), id))
	ref, err := dm.ParsePackageRef(id)
	check(h.t, err)
	return ref
}

// TestApplicationHistory reads after every step, so that each reading extends
// what the one before it left, and once more after a restart.
func TestApplicationHistory(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1, bad := h.deployed("ana", "flow-1.0.0", "one"), h.faulty("ana", "flow-2.0.0")
	_, err := h.ApplicationHistory(ctx, "app", dm.Page{})
	wantKind(t, err, dm.NotFound, "no application app, now or in the past")

	h.created("ana", "app", v1)
	wantStory(t, h.past("app"), "create flow-1.0.0 1 by ana: CREATED true")
	why := as("root")
	why.Reason, why.Impersonator, why.Via = "the class needs it", "console", "api"
	check(t, h.Change(dm.WithRequestID(ctx, "r-17"), why, "app", dm.Edit{Package: &bad}))
	h.settle("app")
	for _, do := range []func() error{
		func() error { return h.Start(ctx, as("ana"), "app") },
		func() error { return h.Rollback(ctx, as("ana"), "app", 1) },
		func() error { return h.Destroy(ctx, as("ana"), "app", false) },
		func() error { return h.Create(ctx, as("bob"), dm.Spec{Name: "app", Package: v1}) },
	} {
		h.past("app")
		check(t, do())
		h.settle("app")
	}
	want := []string{
		"create flow-1.0.0 4 by bob: CREATED true",
		"destroy flow-1.0.0 0 by ana: NOTCREATED true",
		"rollback flow-1.0.0 3 by ana: STARTED true",
		"start flow-1.0.0 0 by ana: STARTED true",
		"change flow-2.0.0 2 by root: CREATED false",
		"create flow-1.0.0 1 by ana: CREATED true",
	}
	all := h.past("app")
	wantStory(t, all, want...)
	c := all[4]
	if c.Reason != "the class needs it" || c.Impersonator != "console" || c.Via != "api" || c.Auth != "test" || c.RequestID != "r-17" ||
		!strings.Contains(c.Outcome.Information, "sparkStreaming") || c.Outcome.Time.Before(c.Time) {
		t.Errorf("the change is %+v with the outcome %+v", c, c.Outcome)
	}
	if got := h.git("applications/app.git", "rev-parse", "refs/deployments/2"); got != string(c.Revision) {
		t.Errorf("deployment 2 is %s, the history says %s", got, c.Revision)
	}
	h.stop()
	h = open(t, h.dir)
	again, err := json.Marshal(h.past("app"))
	check(t, err)
	if before, _ := json.Marshal(all); string(again) != string(before) {
		t.Errorf("after a restart:\n%s\nbefore:\n%s", again, before)
	}
	h.sound()
}

// TestPendingChange has no outcome until it has one.
func TestPendingChange(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	h.stop()
	h = openStill(t, h.dir)
	check(t, h.Start(ctx, as("ana"), "app"))
	wantStory(t, h.past("app"), "start flow-1.0.0 0 by ana: none", "create flow-1.0.0 1 by ana: CREATED true")
	h.stop()
	h = open(t, h.dir)
	h.settle("app")
	wantStory(t, h.past("app"), "start flow-1.0.0 0 by ana: STARTED true", "create flow-1.0.0 1 by ana: CREATED true")
}

// TestFailedDestroy is told from one that succeeded, though nothing is in
// effect after either.
func TestFailedDestroy(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	bad := h.faulty("ana", "flow-2.0.0")
	check(t, h.Create(ctx, as("ana"), dm.Spec{Name: "app", Package: bad}))
	h.settle("app")
	h.stop()
	h = openStill(t, h.dir)
	for _, o := range []struct{ information, want string }{
		{"Error deleting app", "destroy flow-2.0.0 0 by ana: NOTCREATED false"},
		{"", "destroy flow-2.0.0 0 by ana: NOTCREATED true"},
	} {
		check(t, h.Destroy(ctx, as("ana"), "app", true))
		view, _, err := h.Application(ctx, "app")
		check(t, err)
		check(t, h.Observe(ctx, "app", dm.Observation{Desired: view.Desired, Phase: dm.NotCreated, Information: o.information}))
		wantStory(t, h.past("app")[:1], o.want)
	}
	wantStory(t, h.past("app")[2:], "create flow-2.0.0 1 by ana: NOTCREATED false")
}

// TestHistoryPassesByWhatWasPushed has commits that claim to be changes below a
// create and a start that pushes proposed.
func TestHistoryPassesByWhatWasPushed(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ref := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "old", ref)
	h.stop()
	h = openStill(t, h.dir)
	check(t, h.Create(ctx, as("ana"), dm.Spec{Name: "new", Package: ref}))
	check(t, h.Start(ctx, as("ana"), "old"))
	h.stop()
	claims := "Destroy app\n\nDM-Action: destroy\nDM-User: root\nDM-Deployment: 9\n"
	pushed := map[dm.ApplicationName]string{}
	for _, app := range []dm.ApplicationName{"old", "new"} {
		f := forger{t, filepath.Join(h.dir, "applications", string(app)+".git")}
		pushed[app] = f.git(claims, "commit-tree", "-F", "-", "main^{tree}")
		parents := "parent " + pushed[app] + "\n"
		if app == "new" {
			parents = "parent " + f.beginning() + "\n" + parents
		}
		f.rewrite("refs/heads/main", "author ", parents+"author ", f.last("main"), f.last("main")+"\nDM-Pushed: "+pushed[app])
		if app == "new" {
			f.point("refs/deployments/1", "main")
		}
	}
	check(t, os.Remove(filepath.Join(h.dir, "known-refs")))
	h = openStill(t, h.dir)
	wantStory(t, h.past("new"), "create flow-1.0.0 1 by ana: none")
	wantStory(t, h.past("old"), "start flow-1.0.0 0 by ana: none", "create flow-1.0.0 1 by ana: CREATED true")
	for app, commit := range pushed {
		if got := h.past(app)[0].Pushed; string(got) != commit {
			t.Errorf("%s: pushed is %q, want %s", app, got, commit)
		}
	}
	h.sound()
}

func TestPages(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	v1 := h.deployed("ana", "flow-1.0.0", "one")
	h.created("ana", "app", v1)
	h.created("ana", "other", v1)
	for i := range 3 {
		check(t, []func() error{
			func() error { return h.Start(ctx, as("ana"), "app") },
			func() error { return h.Stop(ctx, as("ana"), "app") },
		}[i%2]())
		h.settle("app")
	}
	h.deployed("ana", "flow-1.1.0", "two")
	byPage := map[string]func(dm.Page) (dm.ChangePage, error){
		"app":  func(p dm.Page) (dm.ChangePage, error) { return h.ApplicationHistory(ctx, "app", p) },
		"flow": func(p dm.Page) (dm.ChangePage, error) { return h.PackageHistory(ctx, "flow", p) },
	}
	foreign := h.past("other")[0].Revision
	for name, read := range byPage {
		whole, err := read(dm.Page{})
		check(t, err)
		if len(whole.Changes) != 4 || whole.Next != "" {
			t.Fatalf("%s: %d changes, next %q", name, len(whole.Changes), whole.Next)
		}
		for limit := 1; limit <= 5; limit++ {
			var got []dm.PastChange
			for page := (dm.Page{Limit: limit}); ; {
				part, err := read(page)
				check(t, err)
				got = append(got, part.Changes...)
				if page.Before = part.Next; part.Next == "" {
					break
				}
			}
			if story(got) != story(whole.Changes) {
				t.Errorf("%s by pages of %d:\n%s", name, limit, story(got))
			}
		}
		for _, bad := range []dm.Page{{Limit: -1}, {Limit: dm.MaxPage + 1}} {
			_, err := read(bad)
			wantKind(t, err, dm.Invalid, "limit must be from 1 to 500")
		}
		for _, before := range []dm.Revision{foreign, "x", "0000000000000000000000000000000000000000"} {
			_, err := read(dm.Page{Before: before})
			wantKind(t, err, dm.Invalid, "is not a change of "+name)
		}
	}
}

// TestHistoryWhileItGrows has readers beside a writer: nobody may see a change
// twice, a gap, or an order that is not that of the commits.
func TestHistoryWhileItGrows(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for longest := 0; ; {
				page, err := h.ApplicationHistory(ctx, "app", dm.Page{})
				if err != nil {
					t.Error(err)
					return
				}
				if len(page.Changes) < longest {
					t.Errorf("the history shrank from %d to %d", longest, len(page.Changes))
				}
				longest = len(page.Changes)
				for i, c := range page.Changes {
					if want := longest - i - 1; want == 0 != (c.Verb == dm.Create) || i > 0 && c.Outcome == nil {
						t.Errorf("%d changes: change %d is %+v", longest, i, c)
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for i := range 8 {
		check(t, []func() error{
			func() error { return h.Start(ctx, as("ana"), "app") },
			func() error { return h.Stop(ctx, as("ana"), "app") },
		}[i%2]())
		h.settle("app")
	}
	close(done)
	readers.Wait()
	if got := len(h.past("app")); got != 9 {
		t.Errorf("%d changes, want 9", got)
	}
}

// TestHistoryIsReadOnce takes the objects away after the first questions.
func TestHistoryIsReadOnce(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	created := h.past("app")[0].Outcome.Time
	check(t, h.Destroy(ctx, as("ana"), "app", false))
	h.settle("app")
	ask := func() string {
		t.Helper()
		uploads, err := h.PackageHistory(ctx, "flow", dm.Page{})
		check(t, err)
		then, err := h.At(ctx, created, all)
		check(t, err)
		return fmt.Sprintf("%s\n%s\n%+v", story(h.past("app")), story(uploads.Changes), then)
	}
	first := ask()
	for _, repository := range []string{"applications/app.git", "packages/flow.git"} {
		objects := filepath.Join(h.dir, repository, "objects")
		check(t, os.Rename(objects, objects+"-away"))
		defer func() { check(t, os.Rename(objects+"-away", objects)) }()
	}
	if again := ask(); again != first {
		t.Errorf("without the objects:\n%s\nwith them:\n%s", again, first)
	}
}

// TestPackageHistory replaces, withdraws and publishes a version again.
func TestPackageHistory(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), replacing)
	_, err := h.PackageHistory(ctx, "flow", dm.Page{})
	wantKind(t, err, dm.NotFound, "no package flow, now or in the past")
	past := func() []dm.PastChange {
		t.Helper()
		page, err := h.PackageHistory(ctx, "flow", dm.Page{})
		check(t, err)
		return page.Changes
	}
	check(t, h.DeployPackage(ctx, as("bob"), "flow-1.0.0"))
	wantStory(t, past(), "deploy flow-1.0.0 0 by bob: NOTDEPLOYED false")
	h.deployed("ana", "flow-1.0.0", "one")
	past()
	h.publish("bob", "flow-1.0.0.tar.gz", notebook("flow-1.0.0", "other"))
	past()
	check(t, h.Withdraw(ctx, as("ana"), file(t, "flow-1.0.0.tar.gz")))
	past()
	check(t, h.UndeployPackage(ctx, as("ana"), "flow-1.0.0"))
	past()
	h.publish("ana", "flow-1.0.0.tar.gz", notebook("flow-1.0.0", "other"))
	h.publish("ana", "flow-1.1.0.tar.gz", notebook("flow-1.1.0", "more"))
	want := []string{
		"publish flow-1.1.0 0 by ana: none",
		"publish flow-1.0.0 0 by ana: none",
		"undeploy flow-1.0.0 0 by ana: NOTDEPLOYED true",
		"withdraw flow-1.0.0 0 by ana: none",
		"publish flow-1.0.0 0 by bob: none",
		"deploy flow-1.0.0 0 by ana: DEPLOYED true",
		"publish flow-1.0.0 0 by ana: none",
		"deploy flow-1.0.0 0 by bob: NOTDEPLOYED false",
	}
	wantStory(t, past(), want...)
	if tag := h.git("packages/flow.git", "rev-parse", "refs/tags/1.1.0"); tag != string(past()[0].Revision) {
		t.Errorf("the newest upload is %s, its tag %s", past()[0].Revision, tag)
	}
	h.stop()
	h = open(t, h.dir)
	wantStory(t, past(), want...)
	h.sound()
}

// TestWithdrawalThatNeverWas has the names that a server leaves which is killed
// between the two refs of a withdrawal.
func TestWithdrawalThatNeverWas(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.publish("ana", "flow-1.0.0.tar.gz", notebook("flow-1.0.0", "one"))
	const repository = "packages/flow.git"
	tag := h.git(repository, "rev-parse", "refs/tags/1.0.0")
	check(t, h.Withdraw(ctx, as("bob"), file(t, "flow-1.0.0.tar.gz")))
	h.stop()
	h.git(repository, "update-ref", "refs/tags/1.0.0", tag)
	h = open(t, h.dir)
	page, err := h.PackageHistory(ctx, "flow", dm.Page{})
	check(t, err)
	wantStory(t, page.Changes, "publish flow-1.0.0 0 by ana: none")
	check(t, h.Withdraw(ctx, as("ana"), file(t, "flow-1.0.0.tar.gz")))
	page, err = h.PackageHistory(ctx, "flow", dm.Page{})
	check(t, err)
	wantStory(t, page.Changes, "withdraw flow-1.0.0 0 by ana: none", "publish flow-1.0.0 0 by ana: none")
}

// TestHistoryOfDamaged has a repository that is set aside.
func TestHistoryOfDamaged(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.created("ana", "app", h.deployed("ana", "flow-1.0.0", "one"))
	h.stop()
	for _, repository := range []string{"applications/app.git", "packages/flow.git"} {
		write(t, h.dir+"/"+repository+"/refs/heads/main", strings.Repeat("0", 39)+"1\n")
		write(t, h.dir+"/"+repository+"/refs/tags/1.0.0", strings.Repeat("0", 39)+"1\n")
	}
	h = open(t, h.dir)
	_, err := h.ApplicationHistory(ctx, "app", dm.Page{})
	wantKind(t, err, dm.Unavailable, "damaged and out of service")
	_, err = h.ApplicationDiff(ctx, "app", 0, 0)
	wantKind(t, err, dm.Unavailable, "damaged and out of service")
	_, err = h.PackageHistory(ctx, "flow", dm.Page{})
	wantKind(t, err, dm.Unavailable, "damaged and out of service")
}
