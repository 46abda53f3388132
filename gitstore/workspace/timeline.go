package workspace

import (
	"cmp"
	"slices"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/index"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// step is what users get of an application from one outcome on, until the next.
type step struct {
	form.Delivery
	seq      uint64                   // of the outcome
	audience []dm.Subject             // those who get it
	parts    map[string]plumbing.Hash // sub-folder → tree; none: nobody has anything of the application
}

// reaches tells whether a user in the groups gets the step.
func (s *step) reaches(u dm.UserName, groups []string) bool {
	return len(s.parts) > 0 && dm.Reaches(s.audience, u, groups)
}

// timelines are the steps of the applications, as far back as somebody asked.
type timelines struct {
	mu sync.Mutex
	of map[dm.ApplicationName]*timeline
}

// timeline is what was read of refs/observed/head of one application. It is immutable.
type timeline struct {
	tip   plumbing.Hash // up to which outcome
	whole bool          // steps begin with the first outcome
	steps []*step       // oldest first
}

// since tells whether the timeline says what was in effect at seq, and all that came since.
func (t *timeline) since(seq uint64) bool {
	return t.whole || len(t.steps) > 0 && t.steps[0].seq <= seq
}

// at is the step that is in effect at seq, nil when there is none.
func (t *timeline) at(seq uint64) *step {
	n, _ := slices.BinarySearchFunc(t.steps, seq, func(s *step, seq uint64) int {
		if s.seq <= seq {
			return -1
		}
		return 1
	})
	if n == 0 {
		return nil
	}
	return t.steps[n-1]
}

// between are the steps above after and up to seq.
func (t *timeline) between(after, seq uint64) (list []*step) {
	for _, s := range t.steps {
		if after < s.seq && s.seq <= seq {
			list = append(list, s)
		}
	}
	return list
}

// timeline reads what an application delivers, from what was in effect at seq on.
func (ws *Workspaces) timeline(app dm.ApplicationName, e *index.Application, seq uint64) (*timeline, error) {
	ws.timelines.mu.Lock()
	defer ws.timelines.mu.Unlock()
	had := ws.timelines.of[app]
	if had != nil && had.tip == e.ObservedTip && had.since(seq) {
		return had, nil
	}
	if had == nil || !had.since(seq) {
		had = &timeline{}
	}
	objects := repo.Open(ws.Data.Path(repo.Application(app)))
	next := &timeline{tip: e.ObservedTip}
	var outcomes []form.Outcome // newest first
	h := e.ObservedTip
	for !h.IsZero() && h != had.tip {
		o, err := form.DecodeOutcome(objects, h)
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, o)
		// Only an outcome that put its own change into effect says the whole of a step.
		if h = o.Before; o.Seq <= seq && o.Observation.Effective != "" && o.Observation.Effective == o.Observation.Desired {
			break
		}
	}
	if h == had.tip && !h.IsZero() {
		next.whole, next.steps = had.whole, slices.Clone(had.steps)
	} else {
		next.whole = h.IsZero()
	}
	for _, o := range slices.Backward(outcomes) {
		if err := next.add(objects, app, o); err != nil {
			return nil, err
		}
	}
	ws.timelines.of[app] = next
	return next, nil
}

// add appends the step of an outcome, unless what was in effect stays so.
func (t *timeline) add(objects *repo.Objects, app dm.ApplicationName, o form.Outcome) error {
	effective := cmp.Or(o.Observation.Effective, o.Observation.Desired)
	if n := len(t.steps); n > 0 && (t.steps[n-1].Change.String() == string(effective) || o.Observation.Effective == "" && len(t.steps[n-1].parts) == 0) {
		return nil
	}
	change, err := form.DecodeChange(objects, plumbing.NewHash(string(effective)))
	if err != nil {
		return err
	}
	s := &step{Delivery: form.DeliveryOf(app, change), seq: o.Seq, audience: change.Spec.Receivers(), parts: map[string]plumbing.Hash{}}
	for _, r := range index.Placed(o.Observation).Records {
		for sub, component := range r.Folders {
			if o.Observation.Effective == "" {
				break
			}
			e, err := objects.Entry(change.Tree, form.ComponentsTree+"/"+string(r.Type)+"/"+string(component))
			if err != nil {
				return err
			}
			s.parts[sub] = e.Hash
		}
	}
	t.steps = append(t.steps, s)
	return nil
}
