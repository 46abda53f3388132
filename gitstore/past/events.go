package past

import (
	"cmp"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/form"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// events adds what happened under numbers above after, and perhaps more.
func (p *applicationPast) events(app dm.ApplicationName, objects *repo.Objects, after uint64, add func(dm.Event)) error {
	e := dm.Event{Kind: dm.ApplicationEvent, ID: string(app), Ref: repo.Main}
	for _, c := range p.changes {
		e.Old, e.New = e.New, c.Revision
		if c.Seq <= after {
			continue
		}
		e.Stamp, e.Owner = c.Stamp, c.owner
		var spec dm.Spec
		if c.Verb == dm.Change || c.Verb == dm.Rollback { // the others' states follow from the verb
			change, err := form.DecodeChange(objects, plumbing.NewHash(string(c.Revision)))
			if err != nil {
				return err
			}
			spec = change.Spec
		}
		e.State = dm.WorkingPhase(c.Verb, spec.State)
		add(e)
	}
	e = dm.Event{Kind: dm.ApplicationEvent, ID: string(app), Ref: repo.Observed}
	for i, o := range p.outcomes {
		// Several outcomes may have been recorded by one move of the ref.
		if place, ok := p.place[o.Desired]; ok && (i+1 == len(p.outcomes) || p.outcomes[i+1].seq != o.seq || o.seq == 0) {
			e.Old, e.New = e.New, repo.Revision(o.commit)
			e.Stamp, e.Owner = p.changes[place].Stamp, p.changes[place].owner
			e.State, e.Information, e.Time, e.Seq = o.Phase, cmp.Or(o.Health, o.Information), o.Time, o.seq
			e.Again = i > 0 && p.outcomes[i-1].Desired == o.Desired
			add(e)
		}
	}
	return nil
}

// events adds everything that happened to the package.
func (p *packagePast) events(add func(dm.Event)) {
	lines := make([]packageLine, 0, len(p.lines))
	for _, line := range p.lines {
		lines = append(lines, line)
	}
	slices.SortFunc(lines, func(a, b packageLine) int {
		return cmp.Or(cmp.Compare(a.change.Seq, b.change.Seq), a.change.Time.Compare(b.change.Time))
	})
	tags := map[dm.Version]dm.Revision{} // as they were when the line was written
	for _, line := range lines {
		c := line.change
		e := dm.Event{Kind: dm.PackageEvent, ID: c.Package.String(), Stamp: c.Stamp, Ref: repo.Tag(c.Package.Version), Old: tags[c.Package.Version]}
		switch {
		case c.Outcome != nil:
			e.Ref, e.Old, e.New = repo.Deployed(c.Package.Version), repo.Revision(line.below), c.Revision
			e.State, e.Information = c.Outcome.Phase, c.Outcome.Information
		case c.Verb == dm.Withdraw:
			e.State, tags[c.Package.Version] = dm.NotCreated, ""
		default:
			e.State, e.New = dm.Created, c.Revision
			tags[c.Package.Version] = c.Revision
		}
		add(e)
	}
}
