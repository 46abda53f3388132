package dispatch

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// shortages are what the kernel says when it has no more of something now.
var shortages = [...]error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EAGAIN, syscall.ENOSPC, syscall.EDQUOT, syscall.ENOBUFS,
}

// nextOf is dm.NextOf with one more rule: that this machine has run out of
// something says nothing about the change, and passes.
func nextOf(err error) (dm.Next, time.Time) {
	if slices.ContainsFunc(shortages[:], func(s error) bool { return errors.Is(err, s) }) {
		return dm.Wait, time.Time{}
	}
	return dm.NextOf(err)
}

// passing tells the errors that may pass by themselves.
func passing(err error) bool {
	next, _ := nextOf(err)
	return err != nil && next != dm.Stall
}

// The ends of what readers see of a change that waits.
const (
	untilItWorks = "until it works"
	forAWhile    = "for half an hour"
)

// waitingText is what readers see of a change that waits.
func waitingText(err error) string {
	next, at := nextOf(err)
	why, how := dm.Public(err), untilItWorks
	switch {
	case next == dm.Suspect:
		how = forAWhile
	case dm.KindOf(err) == dm.Internal:
		why = "the server is out of memory, disk space, files or processes"
	case !at.IsZero():
		how = "at " + at.UTC().Format(time.RFC3339)
	}
	return waiting(why, how)
}

func waiting(why, how string) string { return "Waiting: " + why + "; retrying " + how }

// tryAgain counts a failed attempt and tells whether another one is due. What
// passes by itself is no attempt that counts: it never settles a change.
func (p *pass) tryAgain(err error) (next, bool) {
	cfg := p.d.cfg
	what, at := nextOf(err)
	most := cfg.Scan
	switch what {
	case dm.Wait:
		p.job.waits++
	case dm.Suspect:
		p.job.attempts++
		p.job.waits, most = 0, cfg.Retry.Most
	}
	if what == dm.Stall || p.job.attempts >= cfg.Retry.Attempts {
		return next{}, false
	}
	cfg.Record.Waiting(p.app, p.work.Desired, waitingText(err))
	tries := p.job.attempts + p.job.waits
	n := next{more: true, after: max(cfg.Retry.pause(tries, most), at.Sub(cfg.Clock()))}
	p.count(resultRetry)
	cfg.Log.Warn("change will be tried again", "app", p.app, "action", p.work.Change.Verb,
		"request_id", p.work.Change.RequestID, "attempt", tries, "after", n.after, "err", err)
	return n, true
}

// recall adds to what stands all that the changes which this one overtook were
// to make: one that waited may have been carried out in part, and only a server
// that has ended since knows how far.
func (p *pass) recall() {
	if p.job.recalled {
		return
	}
	for _, w := range p.work.Overtaken {
		for _, record := range p.planned(w) {
			if made, ok := p.job.standing[record.Type]; ok {
				record = merge(record, made)
			}
			p.job.standing[record.Type] = record
		}
	}
	p.job.recalled = true
}

// planned is what would stand if w had been carried out whole, by type.
func (p *pass) planned(w dm.Work) (list []dm.PluginRecord) {
	for t, components := range byType(w.Components) {
		record := dm.PluginRecord{Type: t, Application: p.app, Desired: p.work.Desired}
		for _, c := range components {
			record.Components = append(record.Components, dm.ComponentRecord{Name: c.Name, JobName: dm.JobName(p.app, c.Name)})
		}
		list = append(list, record)
	}
	slices.SortFunc(list, func(a, b dm.PluginRecord) int { return strings.Compare(string(a.Type), string(b.Type)) })
	return list
}

// The ends of a failure's text that tell of what it left.
const (
	notTakenBack   = "; it could not be taken back"
	takenBackLater = "; what it left was taken back later"
)

// clearLeft takes back what a change that failed earlier left, and corrects its
// outcome. What can't be taken back now stays for the next start.
func (p *pass) clearLeft(ctx context.Context) next {
	err := p.takeBack(ctx)
	switch {
	case ctx.Err() != nil:
		return next{}
	case err != nil:
		if n, again := p.tryAgain(err); again {
			return n
		}
		p.d.cfg.Log.Error("leftovers of a failed change cannot be removed", "app", p.app, "err", err)
		return next{}
	}
	p.d.cfg.Step(stepUndone)
	o := *p.work.Observed
	o.Left, o.Records, o.Logs, o.Time = false, p.job.standing.records(), p.job.logs, p.d.cfg.Clock()
	text, _, _ := strings.Cut(o.Information, notTakenBack)
	o.Information = strings.TrimSuffix(text, takenBackLater) + takenBackLater
	return p.observe(ctx, o)
}
