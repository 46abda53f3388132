package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// trouble makes everything fail at random until it is over. All failures pass
// by themselves or refuse, as an engine may; a time-out of the process is what
// TestStopLeavesTheChangeForTheNextRun is about.
type trouble struct {
	mu   sync.Mutex
	rand *rand.Rand
	over bool
}

func (tr *trouble) strike(chance int, errs ...error) error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.over || tr.rand.IntN(100) >= chance {
		return nil
	}
	return errs[tr.rand.IntN(len(errs))]
}

func (tr *trouble) end() {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.over = true
}

// legal are the verbs that the record accepts in a phase, with the state each
// leads to.
func legal(phase dm.Phase) map[dm.Verb]dm.WantedState {
	switch phase {
	case dm.Created:
		return map[dm.Verb]dm.WantedState{dm.Change: dm.WantCreated, dm.Start: dm.WantStarted, dm.Destroy: dm.WantDestroyed}
	case dm.Started:
		return map[dm.Verb]dm.WantedState{dm.Change: dm.WantStarted, dm.Stop: dm.WantCreated, dm.Destroy: dm.WantDestroyed}
	}
	return map[dm.Verb]dm.WantedState{dm.Create: dm.WantCreated}
}

// TestRandomFailures lets people change applications while engines and record
// fail at random. In the end, when the trouble is over, each outcome must be
// that of the newest change, and what the engines hold must be what the
// outcome claims: nothing lost, nothing left over.
func TestRandomFailures(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			withBench(t, func(cfg *Config) { cfg.Workers = 2 }, func(b *bench) { playAtRandom(b, seed) })
		})
	}
}

func playAtRandom(b *bench, seed uint64) {
	tr := &trouble{rand: rand.New(rand.NewPCG(seed, 7))}
	b.box.fail = func(method string, _ dm.ApplicationName) error {
		if method == "Observe" {
			return tr.strike(20, errDown, dm.Errorf(dm.Stale, method, "lost a race"))
		}
		return tr.strike(10, errDown)
	}
	for _, p := range []*fakePlugin{b.jupyter, b.oozie} {
		p.onCall(func(_ context.Context, op string, _ dm.ApplicationName, _ int) (bool, error) {
			if op == "destroy" {
				return false, tr.strike(20, errDown, errBare)
			}
			return tr.strike(1, errDown) != nil, tr.strike(35, errDown, errRefused, errBare)
		})
	}
	apps := []dm.ApplicationName{"a", "b", "c", "d"}
	for range 12 {
		for _, app := range apps {
			changeAtRandom(b, tr, app)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
	}
	tr.end()
	for _, app := range apps { // one more change each heals what could not be taken back
		changeAtRandom(b, tr, app)
	}
	time.Sleep(2 * time.Hour)
	synctest.Wait()
	for _, app := range apps {
		checkApplication(b, app)
	}
}

// changeAtRandom makes a legal change of app.
func changeAtRandom(b *bench, tr *trouble, app dm.ApplicationName) {
	phase := dm.NotCreated
	b.box.mu.Lock()
	if a := b.box.apps[app]; a != nil {
		phase = a.observed().Phase
	}
	b.box.mu.Unlock()
	tr.mu.Lock()
	verbs := legal(phase)
	names := make([]dm.Verb, 0, len(verbs))
	for v := range verbs {
		names = append(names, v)
	}
	slices.Sort(names)
	verb := names[tr.rand.IntN(len(names))]
	var components []string
	if verb == dm.Create || verb == dm.Change {
		components = [][]string{{"jupyter/report"}, {"oozie/nightly"}, {"jupyter/report", "oozie/nightly"}}[tr.rand.IntN(3)]
	}
	wake := tr.rand.IntN(2) == 0 // otherwise the scan must find it
	tr.mu.Unlock()
	b.box.accept(app, verb, verbs[verb], components...)
	if wake {
		b.d.Wake(app)
	}
}

// checkApplication compares the engines with the last outcome of app.
func checkApplication(b *bench, app dm.ApplicationName) {
	b.Helper()
	got := b.box.last(b.T, app)
	want := map[dm.ComponentType]bool{}
	if got.Effective != "" {
		w, err := b.box.WorkAt(context.Background(), app, got.Effective)
		if err != nil {
			b.Fatal(err)
		}
		for t := range byType(w.Components) {
			want[t] = true
		}
	}
	for _, p := range []*fakePlugin{b.jupyter, b.oozie} {
		r, stands := p.standing(app)
		if stands != want[p.kind] {
			b.Errorf("%s: %s stands: %t, want %t (outcome %+v)", app, p.kind, stands, want[p.kind], got)
		}
		if stands && r.State.Settled() != got.Phase {
			b.Errorf("%s: %s is %s, want %s", app, p.kind, r.State, got.Phase)
		}
		if recorded := slices.ContainsFunc(got.Records, func(r dm.PluginRecord) bool { return r.Type == p.kind }); recorded != stands {
			b.Errorf("%s: %s recorded: %t, stands: %t", app, p.kind, recorded, stands)
		}
	}
	if (got.Effective == "") != (got.Phase == dm.NotCreated) {
		b.Errorf("%s: phase %s with effective %q", app, got.Phase, got.Effective)
	}
}
