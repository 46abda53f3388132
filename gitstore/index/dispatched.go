package index

import (
	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/gitstore/repo"
)

// Dispatched is what the dispatcher is told of all applications, and what it tells
// that is remembered in memory only.
type Dispatched struct {
	data  *repo.Folder
	index *Index
}

// NewDispatched reads nothing yet.
func NewDispatched(data *repo.Folder, index *Index) *Dispatched { return &Dispatched{data, index} }

// Pending implements dm.WorkStore.
func (d *Dispatched) Pending() []dm.ApplicationName { return d.index.Names((*Application).Working) }

// Leftovers implements dm.WorkStore.
func (d *Dispatched) Leftovers() []dm.ApplicationName { return d.index.Names((*Application).Left) }

// Standing implements dm.WorkStore.
func (d *Dispatched) Standing() []dm.ApplicationName {
	return d.index.Names(func(e *Application) bool {
		return e.Observed != nil && len(e.Observed.Records) > 0 && !e.Working() && !e.Left()
	})
}

// Settled implements dm.WorkStore.
func (d *Dispatched) Settled(app dm.ApplicationName) *dm.Observation {
	e := d.index.Application(app)
	if e == nil || e.Working() {
		return nil
	}
	return e.Observed
}

// Waiting implements dm.WorkStore.
func (d *Dispatched) Waiting(app dm.ApplicationName, at dm.Revision, why string) {
	release := d.data.Hold(repo.Application(app))
	defer release()
	e := d.index.Application(app)
	if e == nil || !e.Working() || at != "" && e.Main.String() != string(at) || e.Waiting == why {
		return
	}
	next := *e
	next.Waiting = why
	d.index.PutApp(app, &next)
}

// Show implements dm.WorkStore.
func (d *Dispatched) Show(app dm.ApplicationName, of, now *dm.Observation) {
	release := d.data.Hold(repo.Application(app))
	defer release()
	if e := d.index.Application(app); e != nil && e.Observed == of && of != nil {
		next := *e
		next.Shown = Shown{Of: of, Now: now}
		d.index.PutApp(app, &next)
	}
}
