package hooks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// EnginesConfig is what Engines needs.
type EnginesConfig struct {
	Plugins func(dm.ComponentType) (dm.Plugin, bool) // required; knows each spelling
	Timeout time.Duration                            // of one probe, which asks all at once; 0 means 5 s
	Log     *slog.Logger                             // nil means silent
}

// Engines asks the plugins that can tell (dm.Prober) whether their engines would
// take a change. Who can't tell in time, or at all, is passed over: the change is
// then accepted, and waits when it is carried out. It may be used by many goroutines.
type Engines struct {
	cfg EnginesConfig

	mu   sync.Mutex
	hung map[dm.ComponentType]<-chan struct{} // probes that go on after their time
}

var _ dm.Engines = (*Engines)(nil)

// NewEngines checks cfg.
func NewEngines(cfg EnginesConfig) (*Engines, error) {
	if cfg.Plugins == nil {
		return nil, errors.New("hooks: engines need plugins")
	}
	orDefault(&cfg.Timeout, 5*time.Second)
	if cfg.Timeout < 0 {
		return nil, errors.New("hooks: the time of a probe must not be negative")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Engines{cfg: cfg, hung: map[dm.ComponentType]<-chan struct{}{}}, nil
}

// probed is what one plugin answered.
type probed struct {
	findings []dm.Finding
	err      error
}

// Probe implements dm.Engines. Findings are in the order of the types.
func (e *Engines) Probe(ctx context.Context, w dm.Work) []dm.Finding {
	requests := requestsOf(w)
	limited, cancel := context.WithTimeout(ctx, e.cfg.Timeout)
	defer cancel()
	answers := make([]chan probed, len(requests))
	for i, r := range requests {
		answers[i] = e.ask(limited, r, w.Open)
	}
	var findings []dm.Finding
	for i, r := range requests {
		if answers[i] == nil {
			continue
		}
		var a probed
		select {
		case a = <-answers[i]:
		case <-limited.Done():
			select {
			case a = <-answers[i]: // both were there
			default:
				a.err = fmt.Errorf("it has not answered: %w", limited.Err())
			}
		}
		if a.err != nil && ctx.Err() == nil {
			e.cfg.Log.Warn("engine not asked, the change is accepted without it", "app", r.Application, "type", r.Components[0].Type,
				"request_id", dm.RequestID(ctx), "err", a.err)
		}
		for _, f := range a.findings {
			orDefault(&f.Type, r.Components[0].Type)
			findings = append(findings, f)
		}
	}
	return findings
}

// requestsOf are what Apply would be asked, by type; their files are filled in by
// ask.
func requestsOf(w dm.Work) (list []dm.ApplyRequest) {
	types := map[dm.ComponentType][]dm.Component{}
	for _, c := range w.Components {
		types[c.Type] = append(types[c.Type], c)
	}
	for _, t := range slices.Sorted(maps.Keys(types)) {
		r := dm.ApplyRequest{
			Application: w.Spec.Name, Owner: w.Spec.Owner, Team: w.Spec.Team, Desired: w.Desired, Deployment: w.Deployment,
			State: w.Spec.State, Components: types[t],
		}
		if w.Observed != nil {
			if at := slices.IndexFunc(w.Observed.Records, func(p dm.PluginRecord) bool { return p.Type == t }); at >= 0 {
				previous := w.Observed.Records[at]
				r.Previous = &previous
			}
		}
		list = append(list, r)
	}
	return list
}

// ask begins to ask the plugin of one type; nil when it can't tell. A probe that
// does not heed the end of its time is left alone, and its plugin is not asked again
// until it returns.
func (e *Engines) ask(ctx context.Context, r dm.ApplyRequest, open fs.FS) chan probed {
	t := r.Components[0].Type
	plugin, _ := e.cfg.Plugins(t)
	able, ok := plugin.(dm.Prober)
	if !ok {
		return nil
	}
	answer := make(chan probed, 1)
	files, err := fs.Sub(open, string(t))
	switch {
	case err != nil:
		answer <- probed{err: err}
		return answer
	case e.hangs(t):
		answer <- probed{err: errors.New("it has not returned yet from an earlier probe")}
		return answer
	}
	r.Files = files
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		answer <- e.safely(ctx, able, r)
	}()
	context.AfterFunc(ctx, func() { e.keepHung(t, ended) })
	return answer
}

func (e *Engines) safely(ctx context.Context, able dm.Prober, r dm.ApplyRequest) (a probed) {
	defer func() {
		if p := recover(); p != nil {
			e.cfg.Log.Error("plugin panicked", "app", r.Application, "type", r.Components[0].Type, "request_id", dm.RequestID(ctx),
				"panic", p, "stack", string(debug.Stack()))
			a = probed{err: fmt.Errorf("panic: %v", p)}
		}
	}()
	a.findings, a.err = able.Probe(ctx, r)
	return a
}

// keepHung remembers a probe whose time is over, unless it has ended.
func (e *Engines) keepHung(t dm.ComponentType, ended <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-ended:
	default:
		e.hung[t] = ended
	}
}

func (e *Engines) hangs(t dm.ComponentType) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	ended := e.hung[t]
	if ended == nil {
		return false
	}
	select {
	case <-ended:
		delete(e.hung, t)
		return false
	default:
		return true
	}
}
