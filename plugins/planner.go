package plugins

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
)

// Config is what a Planner needs.
type Config struct {
	Registry    *Registry         // required
	Environment map[string]string // the server's environment section; secrets in it are left out
	Filled      int64             // bytes that all filled files of one application may have; 0 means DefaultFilled
}

// DefaultFilled is a hundred times what the largest of PNDA's packages has.
const DefaultFilled = 64 << 20

func (c Config) filled() int {
	if c.Filled <= 0 {
		return DefaultFilled
	}
	return int(c.Filled)
}

// Planner implements dm.Planner.
type Planner struct {
	registry    *Registry
	environment map[string]string
	limits      limits
}

var _ dm.Planner = (*Planner)(nil)

// NewPlanner makes a Planner.
func NewPlanner(cfg Config) (*Planner, error) {
	if cfg.Registry == nil {
		return nil, dm.Errorf(dm.Internal, "plugins.NewPlanner", "the planner needs a registry")
	}
	return &Planner{cfg.Registry, withoutSecrets(cfg.Environment), limits{file: cfg.filled(), plan: cfg.filled()}}, nil
}

// Validate checks the structure of a package at deploy, see dm.Planner.
func (p *Planner) Validate(ref dm.PackageRef, top string, files fs.FS) (dm.Validation, error) {
	const op = "plugins.Validate"
	if top == "" {
		finding, err := withoutTop(files)
		return dm.Validation{Findings: []dm.Finding{finding}}, dm.Wrap(op, err)
	}
	s, err := p.survey(files)
	if err != nil {
		return dm.Validation{}, dm.Wrap(op, err)
	}
	v := dm.Validation{Findings: s.findings, Notes: s.remarks()}
	if top != ref.String() {
		message := fmt.Sprintf("the package directory %q must be named like the package id, %q", top, ref)
		v.Findings = slices.Insert(v.Findings, 0, dm.Finding{Message: message})
	}
	if len(v.Findings) == 0 {
		v.Defaults = defaultsOf(s.components)
	}
	return v, nil
}

// withoutTop tells what is wrong with a package that has no single outer
// directory.
func withoutTop(files fs.FS) (dm.Finding, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return dm.Finding{}, err
	}
	if len(entries) == 0 {
		return dm.Finding{Message: "the archive is empty: no package directory was found"}, nil
	}
	message := fmt.Sprintf("a single top-level directory is required, found %d entries: %s", len(entries), listed(entries))
	if len(entries) == 1 {
		message = fmt.Sprintf("a single top-level directory is required, found only the file %q", entries[0].Name())
	}
	return dm.Finding{Message: message}, nil
}

// Plan checks spec against the package and fills every component, see
// dm.Planner. The plan is empty when there are findings. Types of the planned
// components are canonical, whatever the package calls them.
func (p *Planner) Plan(ref dm.PackageRef, spec dm.Spec, files fs.FS, reserve dm.Reserve) (dm.Plan, []dm.Finding, error) {
	op := "plugins.Plan " + ref.String()
	survey, err := p.survey(files)
	if err != nil {
		return dm.Plan{}, nil, dm.Wrap(op, err)
	}
	if len(survey.findings) > 0 {
		return dm.Plan{}, survey.findings, nil
	}
	components, findings := survey.components, specTooLarge(spec)
	fill := p.newPlanning(spec)
	for _, c := range components {
		effective := p.registry.override(c, spec.Overrides)
		plugin, _ := p.registry.Get(c.Type) // survey found it
		checked := dm.CheckedComponent{PackageComponent: c, Effective: maps.Clone(effective), Environment: maps.Clone(p.environment)}
		findings = append(findings, placed(c, append(checkSecretRefs(effective), plugin.Check(checked)...))...)
		_, faults, err := fill.component(c, effective) // counts only
		if err != nil {
			return dm.Plan{}, nil, dm.Wrap(op, err)
		}
		findings = append(findings, placed(c, faults)...)
	}
	if len(findings) > 0 {
		return dm.Plan{}, findings, nil
	}
	if reserve != nil {
		if err := reserve(fill.count.cost(spec, components)); err != nil {
			return dm.Plan{}, nil, err
		}
	}
	plan := dm.Plan{Defaults: defaultsOf(components), Notes: p.registry.ignored(spec.Overrides, components)}
	plan.Notes = append(plan.Notes, published(plan.Defaults)...)
	fill.building = true
	for _, c := range components {
		planned, faults, err := fill.component(c, p.registry.override(c, spec.Overrides))
		if err != nil {
			return dm.Plan{}, nil, dm.Wrap(op, err)
		}
		findings = append(findings, placed(c, faults)...)
		plan.Components = append(plan.Components, planned)
	}
	if len(findings) > 0 { // the package changed while it was read
		return dm.Plan{}, findings, nil
	}
	plan.Notes = slices.Concat(plan.Notes, survey.remarks(), fill.remarks())
	return plan, nil, nil
}

func defaultsOf(components []dm.PackageComponent) dm.Defaults {
	d := dm.Defaults{}
	for _, c := range components {
		if d[c.Type] == nil {
			d[c.Type] = map[dm.ComponentName]dm.Properties{}
		}
		d[c.Type][c.Name] = c.Properties
	}
	return d
}

// override replaces the properties of c key by key. Where the overrides hold
// the component under two spellings of its type, the package's one wins.
func (r *Registry) override(c dm.PackageComponent, overrides dm.Overrides) dm.Properties {
	effective := maps.Clone(c.Properties)
	for _, t := range slices.Sorted(maps.Keys(overrides)) {
		if t != c.Type && r.Canonical(t) == r.Canonical(c.Type) {
			maps.Copy(effective, overrides[t][c.Name])
		}
	}
	maps.Copy(effective, overrides[c.Type][c.Name])
	return effective
}

// ignored notes the overrides that no component of the package takes.
func (r *Registry) ignored(overrides dm.Overrides, components []dm.PackageComponent) []string {
	var notes []string
	for _, t := range slices.Sorted(maps.Keys(overrides)) {
		for _, name := range slices.Sorted(maps.Keys(overrides[t])) {
			if !slices.ContainsFunc(components, func(c dm.PackageComponent) bool {
				return c.Name == name && r.Canonical(c.Type) == r.Canonical(t)
			}) {
				notes = append(notes, fmt.Sprintf("ignored overrides for %s/%s: the package has no such component", t, name))
			}
		}
	}
	return notes
}

// published notes the secrets that the package itself holds. They are filled as
// every other property, because its author has shown them to everybody who may
// read the package; but the author may not know.
func published(defaults dm.Defaults) []string {
	set := dm.Overrides{}
	for t, components := range defaults {
		set[t] = map[dm.ComponentName]dm.Properties{}
		for name, properties := range components {
			set[t][name] = maps.Clone(properties)
			maps.DeleteFunc(set[t][name], func(_ string, raw json.RawMessage) bool { return string(raw) == `""` || string(raw) == "null" })
		}
	}
	_, secrets := set.WithoutSecrets()
	if len(secrets) == 0 {
		return nil
	}
	return []string{"everybody who may read the package sees its secrets: " + some(secrets)}
}

// byPath orders files by path in byte order.
func byPath(a, b dm.File) int { return cmp.Compare(a.Path, b.Path) }
