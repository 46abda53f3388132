package gitstore_test

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
)

// asked stands for the engines: it remembers what it was asked, and answers what the
// test says.
type asked struct {
	mu      sync.Mutex
	works   []dm.Work
	files   []string // of the last, with their contents
	answer  []dm.Finding
	between func() // done while it is asked
}

func (a *asked) Probe(_ context.Context, w dm.Work) []dm.Finding {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.works, a.files = append(a.works, w), nil
	_ = fs.WalkDir(w.Open, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(w.Open, path)
		a.files = append(a.files, path+" "+string(content[:min(len(content), 9)]))
		return err
	})
	if a.between != nil {
		a.between()
	}
	return a.answer
}

func (a *asked) verbs() (list []dm.Verb) {
	for _, w := range a.works {
		list = append(list, w.Change.Verb)
	}
	return list
}

func asking(a *asked) option { return func(c *gitstore.Config) { c.Engines = a } }

// TestEnginesAreAsked about content before it is accepted, and about nothing else.
func TestEnginesAreAsked(t *testing.T) {
	t.Parallel()
	engines := &asked{}
	h := open(t, t.TempDir(), asking(engines))
	v1, v2 := h.deployed("ana", "flow-1.0.0", "one"), h.deployed("ana", "flow-1.1.0", "two")
	h.created("ana", "app", v1)
	w := engines.works[0]
	if w.Spec.Name != "app" || w.Spec.Owner != "ana" || w.Deployment != 1 || w.Before != dm.NotCreated || len(w.Components) != 1 {
		t.Errorf("asked about %+v, want the create of app", w)
	}
	want := []string{"jupyter/report/data/rows.csv a,b\r\n1,$5", `jupyter/report/properties.json {`}
	if len(engines.files) != 3 || engines.files[0] != want[0] || !strings.HasPrefix(engines.files[1], want[1]) {
		t.Errorf("its files are %q, want those that are delivered", engines.files)
	}
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Package: &v2}))
	h.settle("app")
	check(t, h.Rollback(ctx, as("ana"), "app", 1))
	h.settle("app")
	if w := engines.works[2]; w.Observed == nil || len(w.Observed.Records) != 1 || w.Deployment != 3 {
		t.Errorf("asked about %+v, want what stands now with the roll back", w)
	}
	engines.answer = []dm.Finding{{Type: "jupyter", Component: "report", Message: "the quota is used up"}, {Type: "jupyter", Message: "no team"}}
	before := h.snapshot()
	for name, err := range map[string]error{
		"create":   h.Create(ctx, as("ana"), dm.Spec{Name: "other", Package: v1}),
		"change":   h.Change(ctx, as("ana"), "app", dm.Edit{Package: &v2}),
		"rollback": h.Rollback(ctx, as("ana"), "app", 2),
	} {
		if wantKind(t, err, dm.Invalid, "the quota is used up"); !strings.Contains(dm.Public(err), "no team") {
			t.Errorf("%s: %v, want all findings", name, err)
		}
	}
	if h.snapshot() != before {
		t.Error("a refused change left something")
	}
	check(t, h.Start(ctx, as("ana"), "app"))
	h.settle("app")
	check(t, h.Stop(ctx, as("ana"), "app"))
	h.settle("app")
	check(t, h.Destroy(ctx, as("ana"), "app", false))
	h.settle("app")
	if got := engines.verbs(); !slices.Equal(got[:3], []dm.Verb{dm.Create, dm.Change, dm.Rollback}) || len(got) != 6 {
		t.Errorf("asked about %v, want never about a state", got)
	}
	h.sound()
}

// TestWhatChangesWhileEnginesAreAsked is seen: the lock is free meanwhile.
func TestWhatChangesWhileEnginesAreAsked(t *testing.T) {
	t.Parallel()
	engines := &asked{}
	h := open(t, t.TempDir(), asking(engines))
	v1, v2 := h.deployed("ana", "flow-1.0.0", "one"), h.deployed("ana", "flow-1.1.0", "two")
	engines.between = func() { check(t, h.UndeployPackage(ctx, as("ana"), "flow-1.1.0")) }
	wantKind(t, h.Create(ctx, as("ana"), dm.Spec{Name: "late", Package: v2}), dm.NotFound, "flow-1.1.0 is NOTDEPLOYED")
	engines.between = nil
	h.created("ana", "app", v1)
	engines.between = func() {
		check(t, h.Start(ctx, as("ana"), "app"))
		h.settle("app")
	}
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Overrides: dm.Overrides{"jupyter": {"report": {"topic": []byte(`"x"`)}}}}))
	if view := h.settle("app"); view.Phase != dm.Started || view.Deployment != 2 {
		t.Errorf("it is %s with deployment %d, want the change on top of the start", view.Phase, view.Deployment)
	}
	engines.between = func() { check(t, h.Destroy(ctx, as("ana"), "app", false)); h.settle("app") }
	wantKind(t, h.Change(ctx, as("ana"), "app", dm.Edit{Overrides: dm.Overrides{}}), dm.NotFound, "NOTCREATED")
	h.sound()
}

// TestPushesAreShownToEngines when they are judged.
func TestPushesAreShownToEngines(t *testing.T) {
	t.Parallel()
	engines := &asked{answer: []dm.Finding{{Message: "the quota is used up"}}}
	h := open(t, t.TempDir(), asking(engines))
	v1 := h.deployed("ana", "flow-1.0.0", "one")
	_, err := gitstore.Decide(h.Store, ctx, as("ana"), dm.Spec{Name: "app", Package: v1})
	wantKind(t, err, dm.Invalid, "the quota is used up")
	if got := engines.verbs(); !slices.Equal(got, []dm.Verb{dm.Create}) {
		t.Errorf("asked about %v", got)
	}
}

// TestTeam is decided by who creates, and stays.
func TestTeam(t *testing.T) {
	t.Parallel()
	team, dir := "class-7", t.TempDir()
	teams := func(c *gitstore.Config) {
		c.Team = func(actor dm.Actor) (string, error) {
			if actor.User == "bob" {
				return "", dm.Errorf(dm.Forbidden, "test", "you are in two teams")
			}
			return team, nil
		}
	}
	h := open(t, dir, teams)
	v1, v2 := h.deployed("ana", "flow-1.0.0", "one"), h.deployed("ana", "flow-1.1.0", "two")
	h.created("ana", "app", v1)
	wantKind(t, h.Create(ctx, as("bob"), dm.Spec{Name: "his", Package: v1}), dm.Forbidden, "you are in two teams")
	if file := h.git("applications/app.git", "show", "main:application.json"); !strings.Contains(file, `"team": "class-7"`) {
		t.Errorf("application.json is %s, want the team in it", file)
	}
	team = "class-8" // she has moved on
	check(t, h.Change(ctx, as("ana"), "app", dm.Edit{Package: &v2}))
	h.settle("app")
	h.stop()
	h = open(t, dir, teams)
	check(t, h.Rollback(ctx, as("ana"), "app", 1))
	if view := h.settle("app"); view.Spec.Team != "class-7" || view.Deployment != 3 {
		t.Errorf("the team is %q after a change, a restart and a roll back, want class-7", view.Spec.Team)
	}
	_, err := gitstore.Decide(h.Store, ctx, as("ana"), dm.Spec{Name: "app", Package: v2, Team: "class-8"})
	wantKind(t, err, dm.Invalid, `team is "class-7" and is immutable`)
	_, err = gitstore.Decide(h.Store, ctx, as("ana"), dm.Spec{Name: "app", Package: v2, Team: "class-7"})
	check(t, err)
	_, err = gitstore.Decide(h.Store, ctx, as("ana"), dm.Spec{Name: "new", Package: v2, Team: "class-7"})
	wantKind(t, err, dm.Invalid, fmt.Sprintf("what you create runs for the team %q", team))
	h.sound()
}
