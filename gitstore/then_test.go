package gitstore_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore"
)

// clock is moved by the test only; maintenance looks at it too.
type clock struct {
	mu   sync.Mutex
	time time.Time
}

func newClock() *clock { return &clock{time: time.Date(2026, 1, 2, 3, 4, 5, 999_999_990, time.UTC)} }

func (c *clock) now() time.Time { return c.tick(0) }

func (c *clock) tick(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.time = c.time.Add(d)
	return c.time
}

// manual is a house whose changes the test carries out itself, at times that it
// chooses.
func manual(t *testing.T, dir string, c *clock) *house {
	t.Helper()
	h, _ := build(t, dir, func(cfg *gitstore.Config) { cfg.Clock = c.now })
	h.closeWith(func() {})
	return h
}

func all(dm.ApplicationName, dm.UserName) bool { return true }

// timeline is the model: what was in effect of each application from when on.
type timeline map[dm.ApplicationName][]moment

type moment struct {
	from time.Time
	then *dm.Then // nil when nothing was
}

func (l timeline) at(at time.Time, apps ...dm.ApplicationName) []dm.Then {
	list := []dm.Then{}
	for _, app := range apps {
		var now *dm.Then
		for _, m := range l[app] {
			if !m.from.After(at) {
				now = m.then
			}
		}
		if now != nil {
			list = append(list, *now)
		}
	}
	return list
}

// walk makes random changes with random outcomes, and notes in the model what
// each should have brought about.
type walk struct {
	*house
	clock  *clock
	random *rand.Rand
	model  timeline
	refs   []dm.PackageRef
	edges  []time.Time
}

// step changes app by one of the verbs that its phase allows.
func (w *walk) step(app dm.ApplicationName) {
	w.t.Helper()
	view, there, err := w.Application(ctx, app)
	check(w.t, err)
	w.clock.tick(time.Duration(1 + w.random.IntN(3)))
	ref := w.refs[w.random.IntN(len(w.refs))]
	user := []dm.UserName{"ana", "bob"}[w.random.IntN(2)]
	switch {
	case !there || view.Phase == dm.NotCreated:
		err = w.Create(ctx, as(user), dm.Spec{Name: app, Package: ref})
	default:
		err = []func() error{
			func() error { return w.Change(ctx, as("root"), app, dm.Edit{Package: &ref}) },
			func() error { return w.Rollback(ctx, as("root"), app, view.Deployment) },
			func() error { return w.Destroy(ctx, as("root"), app, false) },
			func() error {
				if view.Phase == dm.Started {
					return w.Stop(ctx, as("root"), app)
				}
				return w.Start(ctx, as("root"), app)
			},
		}[w.random.IntN(4)]()
	}
	check(w.t, err)
	w.edges = append(w.edges, w.clock.now())
	w.carryOut(app)
}

// carryOut ends the change, three times out of four well.
func (w *walk) carryOut(app dm.ApplicationName) {
	w.t.Helper()
	work, ok, err := w.Work(ctx, app)
	if check(w.t, err); !ok {
		w.t.Fatalf("%s has nothing to do", app)
	}
	o := dm.Observation{Desired: work.Desired, Effective: work.Desired, Phase: work.Spec.State.Settled(), Time: w.clock.tick(time.Duration(1 + w.random.IntN(3)))}
	before := w.model.at(o.Time, app)
	now := &dm.Then{
		Application: app, Owner: work.Spec.Owner, Phase: o.Phase, Package: work.Spec.Package, Deployment: work.Deployment, Revision: work.Desired, Since: o.Time,
	}
	switch failed := w.random.IntN(4) == 0; {
	case failed && len(before) == 0:
		o.Effective, o.Phase, o.Information, now = "", dm.NotCreated, "failed", nil
	case failed:
		o.Effective, o.Phase, o.Information, now = before[0].Revision, before[0].Phase, "failed", &before[0]
	case work.Change.Verb == dm.Destroy:
		o.Effective, now = "", nil
	}
	check(w.t, w.Observe(ctx, app, o))
	w.model[app] = append(w.model[app], moment{o.Time, now})
	w.edges = append(w.edges, o.Time)
}

// TestAt holds the answers against the model at, before and after every
// instant at which something happened: while the walk goes on, at its end, and
// after a restart.
func TestAt(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			c := newClock()
			h := manual(t, t.TempDir(), c)
			w := &walk{house: h, clock: c, random: rand.New(rand.NewPCG(seed, 0)), model: timeline{}}
			w.refs = []dm.PackageRef{h.deployed("ana", "flow-1.0.0", "one"), h.deployed("ana", "flow-1.1.0", "two")}
			w.edges = []time.Time{c.now()}
			apps := []dm.ApplicationName{"app-a", "app-b"}
			compare := func(h *house, when string, at time.Time) {
				t.Helper()
				got, err := h.At(ctx, at, all)
				check(t, err)
				if want := w.model.at(at, apps...); !reflect.DeepEqual(got, want) {
					t.Fatalf("%s, at %s:\n%+v\nwant:\n%+v", when, at.Format(time.RFC3339Nano), got, want)
				}
			}
			for range 16 {
				w.step(apps[w.random.IntN(2)])
				compare(h, "on the way", w.edges[w.random.IntN(len(w.edges))])
			}
			h.stop()
			again := manual(t, h.dir, c)
			for _, edge := range w.edges {
				for _, at := range []time.Time{edge.Add(-1), edge, edge.Add(1)} {
					compare(again, "after a restart", at)
				}
			}
			for range 3 {
				w.house = again
				w.step(apps[w.random.IntN(2)])
			}
			for _, edge := range w.edges {
				compare(again, "at the end", edge)
			}
			again.sound()
		})
	}
}

// TestAtAsksWhoMayRead asks before anything is read, and again for another
// owner.
func TestAtAsksWhoMayRead(t *testing.T) {
	t.Parallel()
	c := newClock()
	h := manual(t, t.TempDir(), c)
	ref := h.deployed("ana", "flow-1.0.0", "one")
	w := &walk{house: h, clock: c, model: timeline{}}
	settle := func() {
		t.Helper()
		work, _, err := h.Work(ctx, "app")
		check(t, err)
		o := dm.Observation{Desired: work.Desired, Effective: work.Desired, Phase: work.Spec.State.Settled(), Time: w.clock.tick(time.Second)}
		if work.Change.Verb == dm.Destroy {
			o.Effective = ""
		}
		check(t, h.Observe(ctx, "app", o))
	}
	check(t, h.Create(ctx, as("ana"), dm.Spec{Name: "app", Package: ref}))
	settle()
	first := c.now()
	check(t, h.Destroy(ctx, as("ana"), "app", false))
	settle()
	gone := c.now()
	check(t, h.Create(ctx, as("bob"), dm.Spec{Name: "app", Package: ref}))
	settle()
	for _, row := range []struct {
		name  string
		at    time.Time
		who   dm.UserName // "" may read all
		owner dm.UserName // of what is told; "" for nothing
	}{
		{"anybody, in the first life", first, "", "ana"},
		{"anybody, in between", gone, "", ""},
		{"anybody, now", c.now(), "", "bob"},
		{"the present owner, in the first life", first, "bob", ""},
		{"the first owner, in the first life", first, "ana", ""},
		{"the present owner, now", c.now(), "bob", "bob"},
		{"the first owner, now", c.now(), "ana", ""},
		{"before all", first.Add(-time.Hour), "", ""},
		{"in future", c.now().Add(time.Hour), "", "bob"},
	} {
		got, err := h.At(ctx, row.at, func(_ dm.ApplicationName, owner dm.UserName) bool { return row.who == "" || owner == row.who })
		check(t, err)
		told := dm.UserName("")
		if len(got) == 1 {
			told = got[0].Owner
		}
		if len(got) > 1 || told != row.owner {
			t.Errorf("%s: %+v, want that of %q", row.name, got, row.owner)
		}
	}
}
