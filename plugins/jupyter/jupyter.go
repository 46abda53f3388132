package jupyter

import (
	"context"
	_ "embed" // for README.ipynb
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
)

const kind dm.ComponentType = "jupyter"

// Config is what the plugin needs.
type Config struct {
	Workspaces dm.Workspaces // required
}

// Plugin implements dm.Plugin for jupyter.
type Plugin struct {
	workspaces dm.Workspaces
}

var (
	_ dm.Plugin     = (*Plugin)(nil)
	_ dm.Summarizer = (*Plugin)(nil)
	_ dm.FileRuler  = (*Plugin)(nil)
	_ dm.Last       = (*Plugin)(nil)
	_ dm.Remarker   = (*Plugin)(nil)
	_ dm.Mover      = (*Plugin)(nil)
)

//go:embed README.ipynb
var readme string

// Readme is the notebook that every workspace holds at its top, also when
// nothing is deployed.
func Readme() []byte { return []byte(readme) }

// New makes the plugin.
func New(cfg Config) (*Plugin, error) {
	if cfg.Workspaces == nil {
		return nil, dm.Errorf(dm.Internal, "jupyter.New", "the jupyter plugin needs workspaces")
	}
	return &Plugin{cfg.Workspaces}, nil
}

// Type implements dm.Plugin.
func (*Plugin) Type() dm.ComponentType { return kind }

// FileRules implements dm.FileRuler.
func (*Plugin) FileRules() dm.FileRules {
	return dm.FileRules{Workspace: true, FillAll: true, Listed: true}
}

// AppliedLast implements dm.Last: users see a delivery at once.
func (*Plugin) AppliedLast() {}

// Validate wants at least one notebook, at any depth.
func (*Plugin) Validate(c dm.PackageComponent) []dm.Finding {
	err := fs.WalkDir(c.Files, ".", func(file string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && path.Ext(file) == ".ipynb" {
			return errFound
		}
		return err
	})
	if errors.Is(err, errFound) {
		return nil
	}
	return []dm.Finding{{Message: "missing ipynb file"}}
}

// errFound ends the walk at the first notebook.
var errFound = errors.New("found")

// Check has nothing to add: notebooks take any property.
func (*Plugin) Check(dm.CheckedComponent) []dm.Finding { return nil }

// Apply delivers the components to the audience and takes them back from those
// who are no longer in it.
func (p *Plugin) Apply(ctx context.Context, r dm.ApplyRequest) (dm.PluginRecord, error) {
	const op = "jupyter.Apply"
	record := recordOf(r)
	var before []dm.UserName
	if r.Previous != nil {
		before = r.Previous.Users
	}
	gone := slices.DeleteFunc(slices.Clone(before), func(u dm.UserName) bool { return slices.Contains(record.Users, u) })

	err := plugins.Interrupted(ctx, op)
	if err == nil && len(record.Users) > 0 {
		err = p.workspaces.Deliver(ctx, dm.Delivery{
			Application: r.Application, At: r.Desired, Type: kind, Users: record.Users, Folders: record.Folders,
		})
	}
	if err == nil && len(gone) > 0 {
		err = p.workspaces.Remove(ctx, r.Application, r.Desired, gone)
	}
	if err != nil {
		// Any of them may have the folder now, so whoever cleans up must be
		// told of all.
		record.Users = slices.Compact(slices.Sorted(slices.Values(slices.Concat(record.Users, gone))))
		return record, dm.Wrap(op, err)
	}
	return record, nil
}

// Destroy takes the application's folder back from everyone who has it.
func (p *Plugin) Destroy(ctx context.Context, record dm.PluginRecord) error {
	const op = "jupyter.Destroy"
	if err := plugins.Interrupted(ctx, op); err != nil {
		return err
	}
	if len(record.Users) == 0 {
		return nil
	}
	return dm.Wrap(op, p.workspaces.Remove(ctx, record.Application, record.Desired, record.Users))
}

// Summarize tells of each component what PNDA's console shows.
func (*Plugin) Summarize(ctx context.Context, record dm.PluginRecord, phase dm.Phase) ([]map[string]any, error) {
	if err := plugins.Interrupted(ctx, "jupyter.Summarize"); err != nil {
		return nil, err
	}
	status := "CREATED"
	if phase == dm.Started || phase == dm.Stopping {
		status = "RUNNING"
	}
	to := fmt.Sprintf("%d users", len(record.Users))
	if len(record.Users) == 1 {
		to = string(record.Users[0])
	}
	summaries := make([]map[string]any, 0, len(record.Components))
	for _, c := range record.Components {
		summaries = append(summaries, map[string]any{
			"aggregate_status": status,
			"componentType":    "Jupyter",
			"name":             c.JobName,
			"information":      fmt.Sprintf("%d files delivered to %s", c.Files, to),
		})
	}
	return summaries, nil
}

// Moved tells that the files of an application are one folder further up or
// down than before: people, and notebooks that open one another, look for them.
func (*Plugin) Moved(before, after dm.PluginRecord) string {
	_, was := before.Folders[""]
	name, is := after.Folders[""]
	switch {
	case len(before.Folders) == 0 || len(after.Folders) == 0 || was == is:
		return ""
	case is:
		return fmt.Sprintf("the files of %s are in the folder %s itself now, not in one of their own below it: it is the only jupyter component",
			name, after.Application)
	}
	return fmt.Sprintf("each of the %d jupyter components has a folder of its own in %s now: the files of %s are in %s/%s",
		len(after.Folders), after.Application, after.Components[0].Name, after.Application, after.Components[0].Name)
}

// recordOf describes what r asks for. Nobody has anything of an application
// without components.
func recordOf(r dm.ApplyRequest) dm.PluginRecord {
	record := dm.PluginRecord{Type: kind, Application: r.Application, Desired: r.Desired}
	for _, c := range r.Components {
		record.Components = append(record.Components, dm.ComponentRecord{
			Name: c.Name, JobName: dm.JobName(r.Application, c.Name), Files: len(c.Files),
		})
	}
	if len(r.Components) > 0 {
		record.Users, record.Folders = slices.Clone(r.Users), folders(r.Components)
	}
	return record
}

// folders decides where the components lie: the one of an application directly
// in the application's folder, each of several in a sub-folder of its own.
func folders(components []dm.Component) map[string]dm.ComponentName {
	if len(components) == 1 {
		return map[string]dm.ComponentName{"": components[0].Name}
	}
	f := make(map[string]dm.ComponentName, len(components))
	for _, c := range components {
		f[string(c.Name)] = c.Name
	}
	return f
}
