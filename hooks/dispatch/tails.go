package dispatch

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// What a component wrote last goes with its pods. So its plugin is asked for it
// before they go, and the record keeps it with the outcome. That is for people, and
// holds up no change for long: who can't tell in time is passed over.

const (
	tailTime  = 3 * time.Second // for all components of one type
	tailLines = 5000            // that are asked for; Config.LogTail cuts what is too much
	mostTails = 16              // components of one type
)

// finalStates are the words of engines for work that has ended.
var finalStates = []string{
	"COMPLETED", "COMPLETED_WITH_FAILURES", "FINISHED_SUCCEEDED", "SUCCEEDED",
	"FAILED", "FINISHED_FAILED", "KILLED", "KILLED_WITH_FAILURES", "FINISHED_KILLED",
}

// ended tells whether a component whose state became now has just ended.
func ended(before, now string) bool {
	return before != now && slices.Contains(finalStates, now)
}

// tails are the last lines of the components of record for which of holds.
func (d *Dispatcher) tails(ctx context.Context, app dm.ApplicationName, record dm.PluginRecord, of func(dm.ComponentName) bool) []dm.KeptLog {
	plugin, _ := d.cfg.Plugins(record.Type)
	able, ok := plugin.(dm.LogStreamer)
	if !ok || d.cfg.LogTail <= 0 {
		return nil
	}
	var names []dm.ComponentName
	for _, c := range record.Components {
		if of(c.Name) && len(names) < mostTails {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	found, err := call(ctx, d, app, record.Type, tailTime, func(ctx context.Context) ([]dm.KeptLog, error) {
		logs := make([]dm.KeptLog, len(names))
		var asking sync.WaitGroup
		for i, name := range names {
			asking.Go(func() {
				a := safely(ctx, d, app, record.Type, func(ctx context.Context) ([]byte, error) {
					t := tail{most: d.cfg.LogTail}
					err := able.StreamLogs(ctx, &t, record, name, tailLines, false)
					return t.lines(), err
				})
				if a.err != nil && dm.KindOf(a.err) != dm.NotFound {
					d.cfg.Log.Warn("last lines of a component cannot be kept", "app", app, "type", record.Type, "component", name, "err", a.err)
				}
				logs[i] = dm.KeptLog{Type: record.Type, Component: name, Time: d.cfg.Clock(), Text: a.value}
			})
		}
		asking.Wait()
		return slices.DeleteFunc(logs, func(l dm.KeptLog) bool { return len(l.Text) == 0 }), nil
	})
	if err != nil && ctx.Err() == nil {
		d.cfg.Log.Warn("last lines of components cannot be kept", "app", app, "type", record.Type, "err", err)
	}
	return found
}

// tailsOfEnded are the last lines of the components that have ended between two
// outcomes of one change.
func (d *Dispatcher) tailsOfEnded(ctx context.Context, app dm.ApplicationName, of, now *dm.Observation) (logs []dm.KeptLog) {
	for i, record := range now.Records { // those of of, in their order
		before := of.Records[i].Components
		logs = append(logs, d.tails(ctx, app, record, func(name dm.ComponentName) bool {
			at := slices.IndexFunc(record.Components, func(c dm.ComponentRecord) bool { return c.Name == name })
			return ended(before[at].State, record.Components[at].State)
		})...)
	}
	return logs
}

// keepTails takes the last lines of what stands of one type, and is about to go or to
// be replaced, into the outcome of the change. What was taken at an earlier attempt is
// replaced by what came since.
func (p *pass) keepTails(ctx context.Context, t dm.ComponentType) {
	record, stands := p.job.standing[t]
	if !stands || !p.mayRun() {
		return
	}
	for _, log := range p.d.tails(ctx, p.app, record, func(dm.ComponentName) bool { return true }) {
		p.job.logs = slices.DeleteFunc(p.job.logs, func(l dm.KeptLog) bool { return l.Type == log.Type && l.Component == log.Component })
		p.job.logs = append(p.job.logs, log)
	}
	slices.SortFunc(p.job.logs, func(a, b dm.KeptLog) int {
		return cmp.Or(strings.Compare(string(a.Type), string(b.Type)), strings.Compare(string(a.Component), string(b.Component)))
	})
}

// mayRun tells whether something may run that this pass ends: what was started
// before, or what a start that failed or was overtaken has begun.
func (p *pass) mayRun() bool {
	return p.work.Before == dm.Started || p.job.failure != nil || p.work.TakeBack || len(p.work.Overtaken) > 0
}

// tail is a writer that holds the end of what is written.
type tail struct {
	most int
	text []byte
	cut  bool // something is not held
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if n > t.most {
		p, t.text, t.cut = p[n-t.most:], t.text[:0], true
	}
	if over := len(t.text) + len(p) - 2*t.most; over > 0 { // moved once in a while, not at each write
		t.text = append(t.text[:0], t.text[len(t.text)-t.most:]...)
		t.cut = true
	}
	t.text = append(t.text, p...)
	return n, nil
}

// lines are the whole lines of the end.
func (t *tail) lines() []byte {
	if over := len(t.text) - t.most; over > 0 {
		t.text, t.cut = t.text[over:], true
	}
	if t.cut {
		if i := bytes.IndexByte(t.text, '\n'); i >= 0 && i+1 < len(t.text) {
			t.text = t.text[i+1:]
		}
	}
	if len(t.text) > 0 && t.text[len(t.text)-1] != '\n' {
		t.text = append(slices.Clip(t.text), '\n')
	}
	return slices.Clone(t.text)
}
