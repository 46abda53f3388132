package jupyter

import (
	"context"
	_ "embed" // for README.ipynb
	"errors"
	"fmt"
	"io/fs"
	"path"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
)

const kind dm.ComponentType = "jupyter"

// Plugin implements dm.Plugin for jupyter.
type Plugin struct {
	deliveries dm.Deliveries
}

var (
	_ dm.Plugin     = (*Plugin)(nil)
	_ dm.Summarizer = (*Plugin)(nil)
	_ dm.FileRuler  = (*Plugin)(nil)
	_ dm.Remarker   = (*Plugin)(nil)
	_ dm.Mover      = (*Plugin)(nil)
)

//go:embed README.ipynb
var readme string

// Readme is the notebook that every workspace holds at its top, also when
// nothing is deployed.
func Readme() []byte { return []byte(readme) }

// New makes the plugin. deliveries tells who fetched what; nil is for nobody.
func New(deliveries dm.Deliveries) *Plugin { return &Plugin{deliveries} }

// Type implements dm.Plugin.
func (*Plugin) Type() dm.ComponentType { return kind }

// FileRules implements dm.FileRuler.
func (*Plugin) FileRules() dm.FileRules {
	return dm.FileRules{Workspace: true, FillAll: true, Listed: true}
}

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

// Check refuses references to secrets; else notebooks take any property.
func (*Plugin) Check(c dm.CheckedComponent) []dm.Finding {
	return plugins.NoSecretRefs(c, "a notebook can't be given a secret of the cluster: its files are what its users read; let it ask them, or read it from their environment")
}

// Apply records what is delivered, which is all there is to do: who asks for a
// workspace gets it from the moment at which the outcome is recorded.
func (p *Plugin) Apply(ctx context.Context, r dm.ApplyRequest) (dm.PluginRecord, error) {
	record := dm.PluginRecord{Type: kind, Application: r.Application, Desired: r.Desired}
	if err := plugins.Interrupted(ctx, "jupyter.Apply"); err != nil {
		return record, err
	}
	for _, c := range r.Components {
		record.Components = append(record.Components, dm.ComponentRecord{
			Name: c.Name, JobName: dm.JobName(r.Application, c.Name), Files: len(c.Files),
		})
	}
	if len(r.Components) > 0 {
		record.Folders = folders(r.Components)
	}
	return record, nil
}

// Destroy has nothing to take back: who asks gets nothing from the moment at which
// the outcome is recorded.
func (p *Plugin) Destroy(ctx context.Context, _ dm.PluginRecord) error {
	return plugins.Interrupted(ctx, "jupyter.Destroy")
}

// Summarize tells of each component what PNDA's console shows.
func (p *Plugin) Summarize(ctx context.Context, record dm.PluginRecord, phase dm.Phase) ([]map[string]any, error) {
	if err := plugins.Interrupted(ctx, "jupyter.Summarize"); err != nil {
		return nil, err
	}
	status := "CREATED"
	if phase == dm.Started || phase == dm.Stopping {
		status = "RUNNING"
	}
	fetched := p.fetched(record.Application)
	summaries := make([]map[string]any, 0, len(record.Components))
	for _, c := range record.Components {
		summaries = append(summaries, map[string]any{
			"aggregate_status": status,
			"componentType":    "Jupyter",
			"name":             c.JobName,
			"information":      fmt.Sprintf("%d files, %s", c.Files, fetched),
		})
	}
	return summaries, nil
}

// fetched tells how many users have come for what is delivered.
func (p *Plugin) fetched(app dm.ApplicationName) string {
	if p.deliveries == nil {
		return "delivered"
	}
	receivers, err := p.deliveries.Receivers(app)
	if err != nil {
		return "delivered, and who has fetched them cannot be told now"
	}
	n := 0
	for _, f := range receivers {
		if f.Current {
			n++
		}
	}
	if n == 1 {
		return "delivered, fetched by 1 user"
	}
	return fmt.Sprintf("delivered, fetched by %d users", n)
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
