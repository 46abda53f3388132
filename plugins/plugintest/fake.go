package plugintest

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	dm "github.com/pndaproject/deployment-manager"
)

// FakeEngine is a plugin over an engine in memory whose jobs live on after Apply.
// It takes the part of Spark, Flink or Oozie in the tests of those who call
// plugins, and passes the contract itself.
type FakeEngine struct {
	kind dm.ComponentType

	mu      sync.Mutex
	jobs    map[dm.ApplicationName]map[dm.ComponentName]dm.Health
	fault   error // of Apply and Destroy
	deaf    error // of Observe
	asked   int   // times that Observe was called
	changed chan dm.ApplicationName
}

var (
	_ dm.Plugin      = (*FakeEngine)(nil)
	_ dm.Observer    = (*FakeEngine)(nil)
	_ dm.Watcher     = (*FakeEngine)(nil)
	_ dm.LogStreamer = (*FakeEngine)(nil)
)

// NewFakeEngine makes a plugin for the type.
func NewFakeEngine(kind dm.ComponentType) *FakeEngine {
	return &FakeEngine{kind: kind, jobs: map[dm.ApplicationName]map[dm.ComponentName]dm.Health{}, changed: make(chan dm.ApplicationName, 16)}
}

// Becomes puts the job of a component into a state and, when tell is set, lets the
// plugin notice it.
func (e *FakeEngine) Becomes(app dm.ApplicationName, component dm.ComponentName, state string, tell bool) {
	e.mu.Lock()
	e.jobs[app][component] = dm.Health{Component: component, State: state, Information: "the job is " + strings.ToLower(state)}
	e.mu.Unlock()
	if tell {
		e.Tell(app)
	}
}

// Drifts lets somebody else change what the job of a component was made of, nil for
// nobody any more. The next Apply heals it.
func (e *FakeEngine) Drifts(app dm.ApplicationName, component dm.ComponentName, drift []dm.Drift) {
	e.mu.Lock()
	job := e.jobs[app][component]
	job.Drift = drift
	e.jobs[app][component] = job
	e.mu.Unlock()
	e.Tell(app)
}

// Tell lets the plugin notice something about app.
func (e *FakeEngine) Tell(app dm.ApplicationName) { e.changed <- app }

// Fail makes Apply and Destroy fail with err from now on, nil for no more.
func (e *FakeEngine) Fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fault = err
}

// Deafen makes Observe fail with err from now on, nil for no more.
func (e *FakeEngine) Deafen(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.deaf = err
}

// Asked tells how often Observe was called.
func (e *FakeEngine) Asked() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.asked
}

// Standing lists the jobs, each as "<application>/<component> <state>", in byte
// order.
func (e *FakeEngine) Standing() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []string
	for app, jobs := range e.jobs {
		for name, job := range jobs {
			list = append(list, fmt.Sprintf("%s/%s %s", app, name, job.State))
		}
	}
	slices.Sort(list)
	return list
}

// Type implements dm.Plugin.
func (e *FakeEngine) Type() dm.ComponentType { return e.kind }

// Validate wants a file job.txt.
func (e *FakeEngine) Validate(c dm.PackageComponent) []dm.Finding {
	if _, err := fs.Stat(c.Files, "job.txt"); err != nil {
		return []dm.Finding{{Message: "missing file job.txt"}}
	}
	return nil
}

// Check takes every property.
func (e *FakeEngine) Check(dm.CheckedComponent) []dm.Finding { return nil }

// Apply submits what is to run and suspends what is not; it waits for neither.
func (e *FakeEngine) Apply(ctx context.Context, r dm.ApplyRequest) (dm.PluginRecord, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	record := dm.PluginRecord{Type: e.kind, Application: r.Application, Desired: r.Desired}
	if err := e.refuses(ctx, e.fault); err != nil {
		return record, err
	}
	was, jobs := e.jobs[r.Application], map[dm.ComponentName]dm.Health{}
	for _, c := range r.Components {
		state := "SUSPENDED"
		if r.State == dm.WantStarted {
			state = "SUBMITTED"
		}
		if job, there := was[c.Name]; there && (job.State == "SUSPENDED") == (state == "SUSPENDED") {
			state = job.State // it goes on
		}
		jobs[c.Name] = dm.Health{Component: c.Name, State: state}
		record.Components = append(record.Components, dm.ComponentRecord{
			Name: c.Name, JobName: dm.JobName(r.Application, c.Name), Files: len(c.Files),
		})
	}
	if e.jobs[r.Application] = jobs; len(jobs) == 0 {
		delete(e.jobs, r.Application)
	}
	return record, nil
}

// Destroy removes the application's jobs.
func (e *FakeEngine) Destroy(ctx context.Context, record dm.PluginRecord) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.refuses(ctx, e.fault); err != nil {
		return err
	}
	for _, c := range record.Components {
		delete(e.jobs[record.Application], c.Name)
	}
	if len(e.jobs[record.Application]) == 0 {
		delete(e.jobs, record.Application)
	}
	return nil
}

// Observe implements dm.Observer.
func (e *FakeEngine) Observe(ctx context.Context, record dm.PluginRecord) ([]dm.Health, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked++
	if err := e.refuses(ctx, e.deaf); err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Values(e.jobs[record.Application]), func(a, b dm.Health) int {
		return strings.Compare(string(a.Component), string(b.Component))
	}), nil
}

// Watch implements dm.Watcher.
func (e *FakeEngine) Watch(ctx context.Context, notice func(dm.ApplicationName)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case app := <-e.changed:
			notice(app)
		}
	}
}

// StreamLogs implements dm.LogStreamer.
func (e *FakeEngine) StreamLogs(ctx context.Context, w io.Writer, record dm.PluginRecord, component dm.ComponentName, _ int, follow bool) error {
	e.mu.Lock()
	job, runs := e.jobs[record.Application][component]
	e.mu.Unlock()
	if !runs {
		return dm.Errorf(dm.NotFound, "fake.StreamLogs", "no job of %s runs", component)
	}
	_, err := fmt.Fprintf(w, "%s\n", job.State)
	if follow && err == nil {
		<-ctx.Done()
	}
	return err
}

// refuses is the error of a call that does nothing.
func (e *FakeEngine) refuses(ctx context.Context, fault error) error {
	if err := ctx.Err(); err != nil {
		return dm.Errorf(dm.Unavailable, "fake", "the work was interrupted").Because(err)
	}
	return fault
}
