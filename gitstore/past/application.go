package past

import (
	"context"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// applicationPast is the history of one application, oldest first: what was
// asked for, and what came of it.
type applicationPast struct {
	changes     []changeLine
	place       map[dm.Revision]int // of a change in changes
	deployments map[int]int         // number of a deployment → its place in changes
	newest      int                 // the highest of these numbers
	outcomes    []outcomeLine
	ended       map[dm.Revision]int // change → place of its outcome in outcomes
	size        int
}

// changeLine is one commit of main.
type changeLine struct {
	dm.PastChange             // without its Outcome
	owner         dm.UserName // of the application from this change on
}

// outcomeLine is one commit of refs/observed/head, without the plugins' records,
// which name every user that was reached.
type outcomeLine struct {
	commit plumbing.Hash
	seq    uint64 // of the event
	dm.Observation
}

// outcomeSize estimates the memory of an outcome without its information.
const outcomeSize = 320

// pageLimit is the number of entries that a page asks for.
func pageLimit(op string, limit int) (int, error) {
	switch {
	case limit == 0:
		return dm.DefaultPage, nil
	case limit < 0 || limit > dm.MaxPage:
		return 0, dm.Errorf(dm.Invalid, op, "limit must be from 1 to %d, not %d", dm.MaxPage, limit)
	}
	return limit, nil
}

func noChange(op string, before dm.Revision, of string) error {
	return dm.Errorf(dm.Invalid, op, "%q is not a change of %s", string(before), of).
		WithHint("use the value of next from the previous page")
}

// page cuts a page out of the history.
func (p *applicationPast) page(op string, app dm.ApplicationName, page dm.Page) (list dm.ChangePage, err error) {
	limit, err := pageLimit(op, page.Limit)
	if err != nil {
		return list, err
	}
	end := len(p.changes)
	if page.Before != "" {
		at, ok := p.place[page.Before]
		if !ok {
			return list, noChange(op, page.Before, string(app))
		}
		end = at
	}
	begin := max(0, end-limit)
	for i := end - 1; i >= begin; i-- {
		list.Changes = append(list.Changes, p.change(i))
	}
	if begin > 0 {
		list.Next = p.changes[begin].Revision
	}
	return list, nil
}

// change returns the change at a place, with its outcome.
func (p *applicationPast) change(place int) dm.PastChange {
	c := p.changes[place].PastChange
	if at, ok := p.ended[c.Revision]; ok {
		o := p.outcomes[at]
		c.Outcome = &dm.Outcome{Phase: o.Phase, Succeeded: o.succeeded(c.Verb), Information: o.Information, Time: o.Time}
	}
	return c
}

// succeeded tells whether the change did what it should. After a destroy
// nothing is in effect, and one that failed says why.
func (o outcomeLine) succeeded(verb dm.Verb) bool {
	if verb == dm.Destroy {
		return o.Effective == "" && o.Phase == dm.NotCreated && o.Information == ""
	}
	return o.Effective == o.Desired
}

// knows tells whether both tips were read. A reader that looked at the index
// earlier than another may come with tips that have others behind them.
func (p *applicationPast) knows(main, observed plumbing.Hash) bool {
	_, known := p.place[dm.Revision(main.String())]
	return known && p.observed(observed)
}

// observed tells whether the outcome at tip was read, or whether there is none.
func (p *applicationPast) observed(tip plumbing.Hash) bool {
	for _, o := range slices.Backward(p.outcomes) {
		if o.commit == tip {
			return true
		}
	}
	return tip.IsZero()
}

// extend reads the commits of both chains that are not known yet.
func (p *applicationPast) extend(ctx context.Context, objects *repo.Objects, main, observed plumbing.Hash) error {
	if _, known := p.place[dm.Revision(main.String())]; !known {
		last := plumbing.ZeroHash
		if n := len(p.changes); n > 0 {
			last = plumbing.NewHash(string(p.changes[n-1].Revision))
		}
		fresh, reached, err := form.Chain(ctx, objects, main, last)
		if err != nil {
			return err
		}
		if !reached {
			*p = applicationPast{}
		}
		p.addChanges(fresh)
	}
	return p.extendOutcomes(ctx, objects, observed)
}

// addChanges appends commits of main.
func (p *applicationPast) addChanges(commits []*object.Commit) {
	if p.place == nil {
		p.place, p.deployments, p.ended = map[dm.Revision]int{}, map[int]int{}, map[dm.Revision]int{}
	}
	var owner dm.UserName
	if n := len(p.changes); n > 0 {
		owner = p.changes[n-1].owner
	}
	for _, c := range commits {
		change := form.ParseChange(c)
		line := changeLine{PastChange: dm.PastChange{
			Revision: repo.Revision(c.Hash), Stamp: change.Stamp, Package: change.Spec.Package, Deployment: change.Made(), Pushed: repo.Revision(change.Pushed),
		}}
		if line.Verb == dm.Create {
			owner = line.User
		}
		line.owner = owner
		if line.Deployment > 0 {
			p.deployments[line.Deployment] = len(p.changes)
			p.newest = max(p.newest, line.Deployment)
		}
		p.place[line.Revision] = len(p.changes)
		p.changes = append(p.changes, line)
		p.size += lineSize(change.Reason, change.Information)
	}
}

// extendOutcomes reads the outcomes that are not known yet.
func (p *applicationPast) extendOutcomes(ctx context.Context, objects *repo.Objects, tip plumbing.Hash) error {
	if p.observed(tip) {
		return nil
	}
	known := plumbing.ZeroHash
	if n := len(p.outcomes); n > 0 {
		known = p.outcomes[n-1].commit
	}
	fresh, reached, err := form.Chain(ctx, objects, tip, known)
	if err != nil {
		return err
	}
	if !reached {
		p.outcomes = nil
		clear(p.ended)
	}
	for _, c := range fresh {
		o, err := readOutcome(objects, c.Hash)
		if err != nil {
			return err
		}
		if o.Health == "" {
			p.ended[o.Desired] = len(p.outcomes)
		}
		p.outcomes = append(p.outcomes, o)
		p.size += outcomeSize + len(o.Information)
	}
	return nil
}

// readOutcome reads one outcome.
func readOutcome(objects *repo.Objects, h plumbing.Hash) (outcomeLine, error) {
	o, err := form.DecodeOutcome(objects, h)
	o.Observation.Records, o.Observation.Time = nil, o.Observation.Time.UTC()
	return outcomeLine{h, o.Seq, o.Observation}, err
}

// since is the first deployment from which on the application was the owner's: 1
// when it never was another's.
func (p *applicationPast) since(owner dm.UserName) int {
	since := 1
	for _, c := range p.changes {
		switch {
		case c.owner != owner:
			since = p.newest + 1 // unless a deployment of the owner's follows
		case since > p.newest && c.Deployment > 0:
			since = c.Deployment
		}
	}
	return since
}
