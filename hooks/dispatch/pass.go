package dispatch

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// The named points of a pass, in their order. A crash at any of them is made
// good by the next start.
const (
	stepTaken         = "dispatch-taken"          // the change is known, nothing is done
	stepTypeApplied   = "dispatch-type-applied"   // one component type is done, others may not be
	stepApplied       = "dispatch-applied"        // all is done
	stepUndone        = "dispatch-undone"         // a failed change is taken back
	stepBeforeObserve = "dispatch-before-observe" // the outcome is known, not recorded
	stepObserved      = "dispatch-observed"       // the outcome is recorded
)

// Steps names the points at which Config.Step is called.
func Steps() []string {
	return []string{stepTaken, stepTypeApplied, stepApplied, stepUndone, stepBeforeObserve, stepObserved}
}

// job is what is remembered of an application between the passes over it.
// Losing it in a crash costs attempts, not correctness.
type job struct {
	desired    dm.Revision
	attempts   int          // failed ones of what is being tried: carrying out, or taking back
	waits      int          // attempts that a shortage ended, one after the other
	recalled   bool         // standing holds what overtaken changes may have left
	failure    error        // why the change was given up; then only taking back is left
	unrecorded int          // failed observations
	unread     int          // failed looks at the record
	standing   standing     // what the plugins made; nil means what the observation says
	logs       []dm.KeptLog // of what this change ended
}

// begin makes j the job of work. A newer change starts counting afresh, but
// what stands is what the passes before it left.
func (j *job) begin(work dm.Work) {
	if j.desired != work.Desired {
		*j = job{desired: work.Desired, standing: j.standing, logs: j.logs}
	}
	j.unread = 0
	if j.standing == nil {
		j.standing = standing{}
		if work.Observed != nil {
			for _, r := range work.Observed.Records {
				j.standing[r.Type] = r
			}
		}
	}
}

// The results of a pass, as its metric names them.
const (
	resultSuccess    = "success"
	resultFailure    = "failure"
	resultRetry      = "retry"
	resultStale      = "stale"
	resultUnrecorded = "unrecorded"
)

// pass looks at app once and carries out what is pending.
func (d *Dispatcher) pass(ctx context.Context, app dm.ApplicationName, j *job) (n next) {
	defer func() {
		if r := recover(); r != nil {
			d.cfg.Log.Error("dispatch panicked", "app", app, "panic", r, "stack", string(debug.Stack()))
			j.unread++
			d.cfg.Record.Waiting(app, "", waiting("unexpected failure of the server", untilItWorks))
			n = next{more: true, after: d.cfg.Retry.pause(j.unread, d.cfg.Scan)}
		}
	}()
	work, ok, err := d.cfg.Record.Work(ctx, app)
	switch {
	case ctx.Err() != nil:
		return next{}
	case err != nil:
		if j.unread++; j.unread == 1 {
			d.cfg.Log.Warn("pending change cannot be read", "app", app, "err", err)
		}
		d.cfg.Record.Waiting(app, "", waitingText(err))
		return next{more: true, after: d.cfg.Retry.pause(j.unread, d.cfg.Scan)}
	case !ok:
		d.look(ctx, app)
		return next{}
	}
	j.begin(work)
	p := &pass{d: d, app: app, work: work, job: j, started: d.cfg.Clock()}
	return p.run(dm.WithRequestID(ctx, work.Change.RequestID))
}

// pass is one go at one change.
type pass struct {
	d       *Dispatcher
	app     dm.ApplicationName
	work    dm.Work
	job     *job
	started time.Time
}

// run carries the change out, or takes it back, and records the outcome.
func (p *pass) run(ctx context.Context) next {
	if p.work.TakeBack {
		return p.clearLeft(ctx)
	}
	p.d.cfg.Step(stepTaken)
	if p.job.failure == nil {
		if err := p.carryOut(ctx); err != nil {
			if ctx.Err() != nil {
				return next{}
			}
			if n, again := p.tryAgain(err); again {
				return n
			}
			p.job.failure, p.job.attempts, p.job.waits = err, 0, 0
		} else {
			p.d.cfg.Step(stepApplied)
		}
	}
	var undoing error
	if p.job.failure != nil {
		if undoing = p.takeBack(ctx); undoing != nil {
			if ctx.Err() != nil {
				return next{}
			}
			if n, again := p.tryAgain(undoing); again {
				return n
			}
		}
		p.d.cfg.Step(stepUndone)
	}
	if ctx.Err() != nil {
		return next{}
	}
	return p.observe(ctx, p.outcome(undoing))
}

// outcome is what is recorded. undoing is why the failed change could not be
// taken back, if it could not.
func (p *pass) outcome(undoing error) dm.Observation {
	o := dm.Observation{
		Desired: p.work.Desired, Effective: p.effective(),
		Phase: p.work.Spec.State.Settled(), Records: p.job.standing.records(), Time: p.d.cfg.Clock(), Logs: p.job.logs,
	}
	verb := p.work.Change.Verb
	if p.job.failure != nil {
		o.Phase, o.Left = p.work.Before, undoing != nil
		if verb == dm.Create || verb != dm.Destroy && o.Effective == "" {
			o.Phase, o.Effective = dm.NotCreated, "" // takeBack has left nothing
		}
		o.Information = failureText(p.app, verb, p.job.failure, undoing)
		return o
	}
	if verb == dm.Destroy {
		o.Effective = ""
		return o
	}
	o.Effective, o.Information = p.work.Desired, strings.Join(slices.Concat(p.moved(o.Records), p.healed(o.Records), p.work.Notes), "; ")
	return o
}

// moved are the notes of plugins whose files stand elsewhere than before.
func (p *pass) moved(now []dm.PluginRecord) []string {
	if p.work.Observed == nil {
		return nil
	}
	var notes []string
	for _, after := range now {
		plugin, _ := p.d.cfg.Plugins(after.Type)
		mover, ok := plugin.(dm.Mover)
		if !ok {
			continue
		}
		for _, before := range p.work.Observed.Records {
			if before.Type != after.Type {
				continue
			}
			if note := mover.Moved(before, after); note != "" {
				notes = append(notes, note)
			}
		}
	}
	return notes
}

// effective is the change that is in effect before this one.
func (p *pass) effective() dm.Revision {
	if p.work.Observed == nil {
		return ""
	}
	return p.work.Observed.Effective
}

// observe records the outcome. It does so without end while the record cannot
// be written, because an outcome that is not recorded is not known to anyone.
func (p *pass) observe(ctx context.Context, o dm.Observation) next {
	cfg := p.d.cfg
	cfg.Step(stepBeforeObserve)
	err := cfg.Record.Observe(ctx, p.app, o)
	if err == nil {
		cfg.Step(stepObserved)
		p.settled(o)
		*p.job = job{}
		p.d.forget(p.app)
		return next{look: !o.Left && p.d.tells(&o)}
	}
	if ctx.Err() != nil {
		return next{}
	}
	p.job.unrecorded++
	if dm.KindOf(err) == dm.Stale {
		p.count(resultStale)
		if p.job.unrecorded == 1 {
			return next{more: true}
		}
	} else {
		p.count(resultUnrecorded)
	}
	n := next{more: true, after: cfg.Retry.pause(p.job.unrecorded, cfg.Scan)}
	cfg.Record.Waiting(p.app, p.work.Desired, waitingText(err))
	cfg.Log.Warn("outcome cannot be recorded", "app", p.app, "action", p.work.Change.Verb,
		"request_id", p.work.Change.RequestID, "after", n.after, "err", err)
	return n
}

// settled tells the log and the metrics about an outcome.
func (p *pass) settled(o dm.Observation) {
	args := []any{"app", p.app, "action", p.work.Change.Verb, "phase", o.Phase,
		"request_id", p.work.Change.RequestID, "duration", p.d.cfg.Clock().Sub(p.started)}
	if p.job.failure != nil {
		p.count(resultFailure)
		p.d.cfg.Log.Warn("change failed", append(args, "err", p.job.failure)...)
		return
	}
	p.count(resultSuccess)
	p.d.cfg.Log.Info("change carried out", args...)
}

func (p *pass) count(result string) {
	action := string(p.work.Change.Verb)
	switch p.work.Change.Verb {
	case dm.Create, dm.Change, dm.Rollback, dm.Start, dm.Stop, dm.Destroy:
	default:
		action = "other" // labels come from a closed set only
	}
	p.d.metrics.outcomes.WithLabelValues(action, result).Inc()
	p.d.metrics.duration.WithLabelValues(action).Observe(p.d.cfg.Clock().Sub(p.started).Seconds())
}

// failureText tells how a change failed, and that it could not be taken back.
func failureText(app dm.ApplicationName, verb dm.Verb, failure, undoing error) string {
	text := dm.FailureText(verb, string(app), failure)
	if undoing != nil {
		text += fmt.Sprintf(notTakenBack+`, details: "%s"`, dm.Public(undoing))
	}
	return text
}
