package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// fakeRecord is a record in memory: per application the accepted changes and
// the outcomes.
type fakeRecord struct {
	mu    sync.Mutex
	apps  map[dm.ApplicationName]*fakeApp
	waits map[dm.ApplicationName]string
	shown map[dm.ApplicationName]*dm.Observation
	fail  func(method string, app dm.ApplicationName) error // nil means never
}

type fakeApp struct {
	changes  []dm.Work
	outcomes []dm.Observation
}

func (a *fakeApp) tip() *dm.Work { return &a.changes[len(a.changes)-1] }

func (a *fakeApp) observed() *dm.Observation {
	if len(a.outcomes) == 0 {
		return nil
	}
	o := a.outcomes[len(a.outcomes)-1]
	return &o
}

func (a *fakeApp) settled() bool {
	return len(a.outcomes) > 0 && a.observed().Desired == a.tip().Desired
}

// left is what the record calls so: the last change failed, and something stands.
func (a *fakeApp) left() bool {
	seen := a.observed()
	return seen != nil && seen.Desired == a.tip().Desired && (seen.Left || seen.Phase == dm.NotCreated && len(seen.Records) > 0)
}

func newFakeRecord() *fakeRecord {
	return &fakeRecord{apps: map[dm.ApplicationName]*fakeApp{}, waits: map[dm.ApplicationName]string{}, shown: map[dm.ApplicationName]*dm.Observation{}}
}

// accept makes a change durable, as the record's Create, Change and so on do.
// Components are "type/name".
func (o *fakeRecord) accept(app dm.ApplicationName, verb dm.Verb, state dm.WantedState, components ...string) dm.Revision {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.apps[app]
	if a == nil {
		a = &fakeApp{}
		o.apps[app] = a
	}
	w := dm.Work{
		Spec:       dm.Spec{Name: app, Owner: "ana", State: state},
		Change:     dm.Stamp{Verb: verb, User: "ana", RequestID: fmt.Sprintf("req-%d", len(a.changes)+1)},
		Desired:    dm.Revision(fmt.Sprintf("%040x", len(a.changes)+1)),
		Deployment: len(a.changes) + 1,
		Open:       fstest.MapFS{"jupyter/report/a.ipynb": {Data: []byte("{}")}},
	}
	if seen := a.observed(); components == nil && seen != nil { // start, stop and destroy keep the content in effect
		for _, earlier := range a.changes {
			if earlier.Desired == seen.Effective {
				w.Components = earlier.Components
			}
		}
	}
	for _, c := range components {
		t, n, _ := strings.Cut(c, "/")
		w.Components = append(w.Components, dm.Component{Type: dm.ComponentType(t), Name: dm.ComponentName(n)})
	}
	a.changes = append(a.changes, w)
	return w.Desired
}

func (o *fakeRecord) failure(method string, app dm.ApplicationName) error {
	if o.fail == nil {
		return nil
	}
	return o.fail(method, app)
}

func (o *fakeRecord) Pending() []dm.ApplicationName {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []dm.ApplicationName
	for _, app := range slices.Sorted(maps.Keys(o.apps)) {
		a := o.apps[app]
		if seen := a.observed(); seen == nil || seen.Desired != a.tip().Desired {
			list = append(list, app)
		}
	}
	return list
}

func (o *fakeRecord) Work(_ context.Context, app dm.ApplicationName) (dm.Work, bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.failure("Work", app); err != nil {
		return dm.Work{}, false, err
	}
	a := o.apps[app]
	if a == nil {
		return dm.Work{}, false, nil
	}
	w := *a.tip()
	w.Observed, w.Before = a.observed(), dm.NotCreated
	if w.Observed != nil {
		w.Before = w.Observed.Phase
	}
	w.TakeBack = w.Observed != nil && w.Observed.Desired == w.Desired
	for _, c := range slices.Backward(a.changes[:len(a.changes)-1]) {
		if w.Observed != nil && w.Observed.Desired == c.Desired {
			break
		}
		w.Overtaken = slices.Insert(w.Overtaken, 0, c)
	}
	return w, !w.TakeBack || a.left(), nil
}

func (o *fakeRecord) WorkAt(_ context.Context, app dm.ApplicationName, at dm.Revision) (dm.Work, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.failure("WorkAt", app); err != nil {
		return dm.Work{}, err
	}
	for _, w := range o.apps[app].changes {
		if w.Desired == at {
			return w, nil
		}
	}
	return dm.Work{}, dm.Errorf(dm.NotFound, "WorkAt", "no change %s", at)
}

func (o *fakeRecord) Observe(_ context.Context, app dm.ApplicationName, outcome dm.Observation) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.failure("Observe", app); err != nil {
		return err
	}
	a := o.apps[app]
	if a.tip().Desired != outcome.Desired {
		return dm.Errorf(dm.Stale, "Observe", "the application has moved on")
	}
	a.outcomes = append(slices.Clip(a.outcomes), outcome)
	delete(o.waits, app)
	delete(o.shown, app)
	return nil
}

func (o *fakeRecord) Standing() []dm.ApplicationName {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []dm.ApplicationName
	for _, app := range slices.Sorted(maps.Keys(o.apps)) {
		if a := o.apps[app]; a.settled() && !a.left() && len(a.observed().Records) > 0 {
			list = append(list, app)
		}
	}
	return list
}

func (o *fakeRecord) Settled(app dm.ApplicationName) *dm.Observation {
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.apps[app]
	if a == nil || !a.settled() {
		return nil
	}
	return &a.outcomes[len(a.outcomes)-1]
}

func (o *fakeRecord) Show(app dm.ApplicationName, of, now *dm.Observation) {
	if o.Settled(app) == of {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.shown[app] = now
	}
}

// reads is what a reader sees of how app does.
func (o *fakeRecord) reads(app dm.ApplicationName) *dm.Observation {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := o.shown[app]; now != nil {
		return now
	}
	return o.apps[app].observed()
}

func (o *fakeRecord) Leftovers() []dm.ApplicationName {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []dm.ApplicationName
	for _, app := range slices.Sorted(maps.Keys(o.apps)) {
		if o.apps[app].left() {
			list = append(list, app)
		}
	}
	return list
}

func (o *fakeRecord) Waiting(app dm.ApplicationName, _ dm.Revision, why string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waits[app] = why
}

func (o *fakeRecord) waiting(app dm.ApplicationName) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.waits[app]
}

// last returns the newest outcome, which must be that of the newest change.
func (o *fakeRecord) last(t *testing.T, app dm.ApplicationName) dm.Observation {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	a := o.apps[app]
	if seen := a.observed(); seen != nil && seen.Desired == a.tip().Desired {
		return *seen
	}
	t.Fatalf("%s: change %s has no outcome", app, a.tip().Desired)
	return dm.Observation{}
}

// fakePlugin is an engine in memory. It asserts that it is never asked about
// one application twice at a time.
type fakePlugin struct {
	kind dm.ComponentType
	// script, when set, is asked before anything is done. ops are "apply" and
	// "destroy". With an error and partial the work is done nevertheless.
	script func(ctx context.Context, op string, app dm.ApplicationName, nth int) (partial bool, err error)
	t      *testing.T
	log    *callLog

	mu      sync.Mutex
	calls   int
	stands  map[dm.ApplicationName]dm.ApplyRequest
	context []string // request ids seen
}

// callLog is the order of calls over all plugins, and who is at work.
type callLog struct {
	mu    sync.Mutex
	calls []string
	busy  map[dm.ApplicationName]bool
	now   int
	most  int
}

func (l *callLog) enter(t *testing.T, app dm.ApplicationName, call string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[app] {
		t.Errorf("%s: two passes at a time, second in %s", app, call)
	}
	l.busy[app] = true
	l.now++
	l.most = max(l.most, l.now)
	l.calls = append(l.calls, call)
}

func (l *callLog) leave(app dm.ApplicationName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, app)
	l.now--
}

// take returns the calls so far and forgets them.
func (l *callLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	return calls
}

func (p *fakePlugin) Type() dm.ComponentType                    { return p.kind }
func (p *fakePlugin) Validate(dm.PackageComponent) []dm.Finding { return nil }
func (p *fakePlugin) Check(dm.CheckedComponent) []dm.Finding    { return nil }

func (p *fakePlugin) ask(ctx context.Context, op string, app dm.ApplicationName) (bool, error) {
	p.mu.Lock()
	p.calls++
	nth, script := p.calls, p.script
	p.context = append(p.context, dm.RequestID(ctx))
	p.mu.Unlock()
	if script == nil {
		return false, nil
	}
	return script(ctx, op, app, nth)
}

func (p *fakePlugin) Apply(ctx context.Context, r dm.ApplyRequest) (dm.PluginRecord, error) {
	p.log.enter(p.t, r.Application, fmt.Sprintf("apply %s %s", p.kind, r.State))
	defer p.log.leave(r.Application)
	partial, err := p.ask(ctx, "apply", r.Application)
	if err != nil && !partial {
		return dm.PluginRecord{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stands[r.Application] = r
	record := dm.PluginRecord{Type: p.kind, Application: r.Application, Desired: r.Desired}
	for _, c := range r.Components {
		record.Components = append(record.Components, dm.ComponentRecord{Name: c.Name, JobName: dm.JobName(r.Application, c.Name)})
	}
	return record, err
}

func (p *fakePlugin) Destroy(ctx context.Context, record dm.PluginRecord) error {
	p.log.enter(p.t, record.Application, fmt.Sprintf("destroy %s", p.kind))
	defer p.log.leave(record.Application)
	if _, err := p.ask(ctx, "destroy", record.Application); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.stands, record.Application)
	return nil
}

func (p *fakePlugin) standing(app dm.ApplicationName) (dm.ApplyRequest, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.stands[app]
	return r, ok
}

// on makes the plugin do what script says from now on.
func (p *fakePlugin) on(script func(op string) (partial bool, err error)) {
	p.onCall(func(_ context.Context, op string, _ dm.ApplicationName, _ int) (bool, error) { return script(op) })
}

func (p *fakePlugin) onCall(script func(ctx context.Context, op string, app dm.ApplicationName, nth int) (bool, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls, p.script = 0, script
}

// bench is a dispatcher with two fake engines, inside a bubble of fake time.
type bench struct {
	*testing.T
	box     *fakeRecord
	log     *callLog
	jupyter *fakePlugin
	oozie   *fakePlugin
	d       *Dispatcher
	stop    func()
}

// withBench runs test with a working dispatcher. Time in it is synctest's.
func withBench(t *testing.T, configure func(*Config), test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, configure)
		b.run()
		test(b)
		b.stop()
	})
}

func newBench(t *testing.T, configure func(*Config)) *bench {
	t.Helper()
	log := &callLog{busy: map[dm.ApplicationName]bool{}}
	plugin := func(kind dm.ComponentType) *fakePlugin {
		return &fakePlugin{kind: kind, t: t, log: log, stands: map[dm.ApplicationName]dm.ApplyRequest{}}
	}
	b := &bench{T: t, box: newFakeRecord(), log: log, jupyter: plugin("jupyter"), oozie: plugin("oozie")}
	plugins := map[dm.ComponentType]dm.Plugin{"jupyter": b.jupyter, "oozie": b.oozie}
	cfg := Config{
		Record:  b.box,
		Plugins: func(kind dm.ComponentType) (dm.Plugin, bool) { p, ok := plugins[kind]; return p, ok },
	}
	if configure != nil {
		configure(&cfg)
	}
	var err error
	if b.d, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.d.Run(ctx) }()
	b.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Errorf("Run: %v", err)
		}
	})
	b.Cleanup(b.stop) // also where the test gives up early
	synctest.Wait()
}

// do accepts a change, wakes the dispatcher, lets an hour pass and returns the
// outcome.
func (b *bench) do(app dm.ApplicationName, verb dm.Verb, state dm.WantedState, components ...string) dm.Observation {
	b.Helper()
	b.box.accept(app, verb, state, components...)
	b.d.Wake(app)
	time.Sleep(time.Hour)
	synctest.Wait()
	return b.box.last(b.T, app)
}

// quiet is do before the real test: it must succeed and leaves no calls.
func (b *bench) quiet(app dm.ApplicationName, verb dm.Verb, state dm.WantedState, components ...string) {
	b.Helper()
	if got := b.do(app, verb, state, components...); got.Phase != state.Settled() || got.Information != "" {
		b.Fatalf("%s %s: got %s %q", verb, app, got.Phase, got.Information)
	}
	b.log.take()
}

func (b *bench) wantCalls(want ...string) {
	b.Helper()
	if got := b.log.take(); !slices.Equal(got, want) {
		b.Errorf("calls = %q, want %q", got, want)
	}
}

func wantOutcome(t *testing.T, got dm.Observation, phase dm.Phase, effective int, information string) {
	t.Helper()
	revision := dm.Revision("")
	if effective > 0 {
		revision = dm.Revision(fmt.Sprintf("%040x", effective))
	}
	if got.Phase != phase || got.Effective != revision || got.Information != information {
		t.Errorf("outcome = %s, effective %q, information %q;\nwant %s, effective %q, information %q",
			got.Phase, got.Effective, got.Information, phase, revision, information)
	}
}

func recordTypes(o dm.Observation) string {
	var types []string
	for _, r := range o.Records {
		types = append(types, cmp.Or(string(r.Type), "none"))
	}
	return strings.Join(types, " ")
}

var (
	errRefused = dm.Errorf(dm.Invalid, "engine", "the engine refuses")
	errDown    = dm.Errorf(dm.Unavailable, "engine", "the engine is down")
	errBare    = errors.New("nil map in line 7")
)
