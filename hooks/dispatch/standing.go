package dispatch

import (
	"cmp"
	"context"
	"io/fs"
	"maps"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
)

// standing is what the plugins have made for one application, as far as is
// known, by component type.
type standing map[dm.ComponentType]dm.PluginRecord

// records returns what stands by type in byte order.
func (s standing) records() []dm.PluginRecord {
	var list []dm.PluginRecord
	for _, t := range slices.Sorted(maps.Keys(s)) {
		list = append(list, s[t])
	}
	return list
}

// merge joins two records of one type: all components, those of newer where both
// have one. Where files go is what newer says.
func merge(older, newer dm.PluginRecord) dm.PluginRecord {
	components := slices.Clone(newer.Components)
	for _, c := range older.Components {
		if !slices.ContainsFunc(components, func(n dm.ComponentRecord) bool { return n.Name == c.Name }) {
			components = append(components, c)
		}
	}
	newer.Components = components
	if newer.Folders == nil {
		newer.Folders = older.Folders
	}
	return newer
}

// carryOut does what the change asks for.
func (p *pass) carryOut(ctx context.Context) error {
	p.recall()
	switch p.work.Change.Verb {
	case dm.Create, dm.Change, dm.Rollback, dm.Start, dm.Stop:
		return p.bring(ctx, p.work, p.work.Spec.State)
	case dm.Destroy:
		return p.destroy(ctx, slices.Collect(maps.Keys(p.job.standing)))
	}
	return dm.Errorf(dm.Invalid, "dispatch", "unknown action %q", p.work.Change.Verb)
}

// takeBack undoes a change that was given up: after it, what was in effect
// before stands again. A half destroyed application stays as it is, because a
// second destroy finishes it; one of which only what a failed create left is
// there is finished at the next start.
func (p *pass) takeBack(ctx context.Context) error {
	switch verb := p.work.Change.Verb; {
	case verb == dm.Destroy && !p.work.TakeBack:
		return nil
	case verb == dm.Create || p.effective() == "":
		return p.destroyCreated(ctx)
	}
	earlier, err := p.d.cfg.Record.WorkAt(ctx, p.app, p.effective())
	if err != nil {
		return err
	}
	state := dm.WantCreated
	if p.work.Before == dm.Started {
		state = dm.WantStarted
	}
	return p.bring(ctx, earlier, state)
}

// bring makes the application what w says: each type in order, then the types
// that are no longer there are removed.
func (p *pass) bring(ctx context.Context, w dm.Work, state dm.WantedState) error {
	types := byType(w.Components)
	order := slices.Sorted(maps.Keys(types))
	for _, t := range order { // before anything is made
		if _, err := p.plugin(t); err != nil {
			return err
		}
	}
	for _, t := range order {
		r := dm.ApplyRequest{
			Application: p.app, Owner: w.Spec.Owner, Team: w.Spec.Team, Desired: w.Desired, Deployment: w.Deployment, State: state, Components: types[t],
		}
		if err := p.apply(ctx, t, r, w.Open); err != nil {
			return err
		}
		p.d.cfg.Step(stepTypeApplied)
	}
	var gone []dm.ComponentType
	for t := range p.job.standing {
		if _, wanted := types[t]; !wanted {
			gone = append(gone, t)
		}
	}
	return p.destroy(ctx, gone)
}

func byType(components []dm.Component) map[dm.ComponentType][]dm.Component {
	types := map[dm.ComponentType][]dm.Component{}
	for _, c := range components {
		types[c.Type] = append(types[c.Type], c)
	}
	return types
}

func (p *pass) plugin(t dm.ComponentType) (dm.Plugin, error) {
	plugin, ok := p.d.cfg.Plugins(t)
	if !ok {
		return nil, dm.Errorf(dm.Invalid, "dispatch", "no plugin is registered for the component type %q", t)
	}
	return plugin, nil
}

// apply hands one component type to its plugin and keeps the record, also the
// one that comes beside an error.
func (p *pass) apply(ctx context.Context, t dm.ComponentType, r dm.ApplyRequest, tree fs.FS) error {
	plugin, err := p.plugin(t)
	if err != nil {
		return err
	}
	if r.Files, err = fs.Sub(tree, string(t)); err != nil {
		return dm.Wrap("dispatch", err)
	}
	before, stood := p.job.standing[t]
	if stood {
		previous := before
		r.Previous = &previous
	}
	p.keepTails(ctx, t)
	record, err := call(ctx, p.d, p.app, t, p.d.cfg.Timeout, func(ctx context.Context) (dm.PluginRecord, error) { return plugin.Apply(ctx, r) })
	if err != nil && len(record.Components) == 0 {
		return err // nothing was made that was not there before
	}
	record.Type, record.Application, record.Desired = t, p.app, r.Desired
	if err == nil { // whatever was changed by others is as it is wanted
		record.Components = slices.Clone(record.Components)
		for i := range record.Components {
			record.Components[i].Drift = nil
		}
	}
	if err != nil && stood {
		record = merge(before, record)
	}
	p.job.standing[t] = record
	return err
}

// destroy removes what stands of the given types. It goes on past failures, so
// that one engine that is down does not keep the others' work alive, and
// returns the first. What is missing already counts as removed.
func (p *pass) destroy(ctx context.Context, types []dm.ComponentType) error {
	slices.Sort(types)
	var first error
	for _, t := range types {
		p.keepTails(ctx, t)
		err := p.destroyRecord(ctx, p.job.standing[t])
		if err == nil {
			delete(p.job.standing, t)
			p.d.cfg.Step(stepTypeApplied)
		} else if first == nil {
			first = err
		}
	}
	return first
}

func (p *pass) destroyRecord(ctx context.Context, record dm.PluginRecord) error {
	plugin, err := p.plugin(record.Type)
	if err != nil {
		return err
	}
	record.Desired = p.work.Desired
	_, err = call(ctx, p.d, p.app, record.Type, p.d.cfg.Timeout, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, plugin.Destroy(ctx, record)
	})
	if dm.KindOf(err) == dm.NotFound {
		return nil
	}
	return err
}

// destroyCreated leaves nothing of a create. It also removes what no record
// tells of: a crash after Apply and before the observation leaves such pieces,
// so each planned type is destroyed as if it had been made whole.
func (p *pass) destroyCreated(ctx context.Context) error {
	known := slices.Collect(maps.Keys(p.job.standing))
	var first error
	for _, record := range p.planned(p.work) {
		if made, ok := p.job.standing[record.Type]; ok {
			p.job.standing[record.Type] = merge(record, made)
		} else if err := p.destroyRecord(ctx, record); passing(err) {
			p.job.standing[record.Type] = record // it may be there, and whoever looks next must be told
			first = cmp.Or(first, err)
		} // any other kind says that there was nothing to remove
	}
	return cmp.Or(p.destroy(ctx, known), first)
}
