package dispatch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// What a plugin made lives on after its change was carried out. How it does is
// asked by the same workers, so that nothing is asked about an application that is
// being changed, but behind all changes and by half of the workers at most: an
// engine that answers slowly holds up nobody.

// lookTime is how long a plugin may take to tell how an application does.
const lookTime = 10 * time.Second

// A state that comes and goes is recorded less and less often.
const (
	shortestQuiet = time.Minute
	longestQuiet  = time.Hour
)

// watched is what is remembered of an application that stands.
type watched struct {
	restless int  // changes of state that were recorded one soon after the other
	deaf     bool // its plugin could not tell when it was asked last
}

// forget drops what is remembered of how app did before a change.
func (d *Dispatcher) forget(app dm.ApplicationName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.watched, app)
}

func (d *Dispatcher) observer(t dm.ComponentType) (dm.Observer, bool) {
	plugin, _ := d.cfg.Plugins(t)
	able, ok := plugin.(dm.Observer)
	return able, ok
}

// tells reports whether a plugin can tell how what o names does.
func (d *Dispatcher) tells(o *dm.Observation) bool {
	return slices.ContainsFunc(o.Records, func(r dm.PluginRecord) bool { _, ok := d.observer(r.Type); return ok })
}

// lookAtAll queues every application that a plugin can tell about.
func (d *Dispatcher) lookAtAll() {
	for _, app := range d.cfg.Record.Standing() {
		if of := d.cfg.Record.Settled(app); of != nil && d.tells(of) {
			d.mu.Lock()
			d.enqueueLook(app)
			d.mu.Unlock()
		}
	}
}

// enqueueLook needs mu. Whoever has work anyway is looked at after it.
func (d *Dispatcher) enqueueLook(app dm.ApplicationName) {
	if d.apps[app] == nil {
		d.apps[app] = &entry{look: true}
		d.looks = append(d.looks, app)
		d.ready.Signal()
	}
}

// notice implements the callback of dm.Watcher. What is noticed within a short
// time is heeded once.
func (d *Dispatcher) notice(app dm.ApplicationName) {
	d.mu.Lock()
	d.noticed[app] = true
	d.mu.Unlock()
	select {
	case d.heard <- struct{}{}:
	default:
	}
}

// heed looks at what was noticed and tells whether some of it has to wait. A change
// that waits for something is tried at once; one that failed in a way that nobody
// foresaw keeps its pauses.
func (d *Dispatcher) heed() (later bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for app := range d.noticed {
		switch e := d.apps[app]; {
		case e == nil:
			d.enqueueLook(app)
		case e.running:
			continue
		case e.job.waits > 0:
			d.enqueue(app)
		}
		delete(d.noticed, app)
	}
	return len(d.noticed) > 0
}

// watch lets the plugin of t notice things until ctx ends.
func (d *Dispatcher) watch(ctx context.Context, t dm.ComponentType, w dm.Watcher) {
	for failed := 1; ctx.Err() == nil; failed++ {
		began := d.cfg.Clock()
		a, _ := bounded(ctx, d, "", t, func(ctx context.Context) (struct{}, error) { return struct{}{}, w.Watch(ctx, d.notice) })
		if ctx.Err() != nil {
			return
		}
		if d.cfg.Clock().Sub(began) > d.cfg.Retry.Most {
			failed = 1
		}
		pause := d.cfg.Retry.pause(failed, d.cfg.Retry.Most)
		d.cfg.Log.Warn("plugin stopped watching and is started again", "type", t, "after", pause, "err", a.err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// look asks how what stands of app does, shows it to readers, and records it when
// a component does otherwise than the record says.
func (d *Dispatcher) look(ctx context.Context, app dm.ApplicationName) {
	of := d.cfg.Record.Settled(app)
	if of == nil {
		return
	}
	d.mu.Lock()
	w := d.watched[app]
	d.mu.Unlock()
	now := *of
	now.Records = slices.Clone(of.Records)
	var asked, deaf bool
	var changes []string
	for i := range now.Records {
		r := &now.Records[i]
		able, ok := d.observer(r.Type)
		if !ok {
			continue
		}
		asked = true
		health, err := call(ctx, d, app, r.Type, lookTime, func(ctx context.Context) ([]dm.Health, error) {
			return able.Observe(ctx, of.Records[i])
		})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			deaf = true
			if !w.deaf {
				d.cfg.Log.Warn("status of an application unavailable", "app", app, "type", r.Type, "err", err)
			}
		}
		r.Components = slices.Clone(r.Components)
		changes = append(changes, told(r, health, err)...)
	}
	if !asked {
		return
	}
	if w.deaf && !deaf {
		d.cfg.Log.Info("status of an application available again", "app", app)
	}
	w.deaf = deaf
	if len(changes) > 0 && d.quiet(of, w) {
		now.Logs = d.tailsOfEnded(ctx, app, of, &now)
		w = d.transition(ctx, app, of, now, strings.Join(changes, "; "), w)
	} else {
		d.cfg.Record.Show(app, of, &now)
	}
	d.mu.Lock()
	d.watched[app] = w
	d.mu.Unlock()
}

// told takes what a plugin told into r and says which components changed their
// state, or are as they are wanted no more or again. What can't be told leaves the states as they are.
func told(r *dm.PluginRecord, health []dm.Health, err error) (changes []string) {
	for i := range r.Components {
		c := &r.Components[i]
		if err != nil {
			c.Information = "status unavailable: " + dm.Public(err)
			continue
		}
		var h dm.Health
		at := slices.IndexFunc(health, func(h dm.Health) bool { return h.Component == c.Name })
		if at >= 0 {
			h = health[at]
		}
		c.Information = dm.Printable(fmt.Sprintf("%.1000s", h.Information))
		if state := dm.Printable(fmt.Sprintf("%.100s", h.State)); state != c.State {
			c.State = state
			changes = append(changes, fmt.Sprintf("%s/%s is %s", r.Type, c.Name, cmp.Or(state, "missing")))
		}
		if change := toldDriftOf(r.Type, c, h.Drift); change != "" && at >= 0 {
			changes = append(changes, change)
		}
	}
	return changes
}

// quiet tells whether a change of state may be recorded: the first after an outcome
// at once, others when the one before has stood for long enough.
func (d *Dispatcher) quiet(of *dm.Observation, w watched) bool {
	return of.Health == "" || d.cfg.Clock().Sub(of.Time) >= min(shortestQuiet<<min(w.restless, 10), longestQuiet)
}

// transition records now, in which changes is what is other than in of.
func (d *Dispatcher) transition(ctx context.Context, app dm.ApplicationName, of *dm.Observation, now dm.Observation, changes string, w watched) watched {
	if now.Time = d.cfg.Clock(); of.Health != "" && now.Time.Sub(of.Time) < 2*longestQuiet {
		w.restless++
	} else {
		w.restless = 0
	}
	now.Health = changes
	switch err := d.cfg.Record.Observe(ctx, app, now); {
	case err == nil:
		d.cfg.Log.Info("components changed their state", "app", app, "health", changes)
	case dm.KindOf(err) != dm.Stale: // else a change came, and its outcome tells
		now.Logs = nil
		d.cfg.Record.Show(app, of, &now)
		d.cfg.Log.Warn("health cannot be recorded", "app", app, "err", err)
	}
	return w
}
