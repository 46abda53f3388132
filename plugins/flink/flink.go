package flink

import (
	"slices"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
)

// Plugin implements dm.Plugin for flink.
type Plugin struct{ plugins.Engineless }

var (
	_ dm.Plugin    = (*Plugin)(nil)
	_ dm.FileRuler = (*Plugin)(nil)
	_ dm.Aliaser   = (*Plugin)(nil)
)

// New makes the plugin.
func New() *Plugin {
	return &Plugin{plugins.Engineless{Kind: "flink", Engine: "Flink"}}
}

// Aliases implements dm.Aliaser: flinkStreaming is the word of PNDA's guide.
func (*Plugin) Aliases() []dm.ComponentType { return []dm.ComponentType{"flinkStreaming"} }

// FileRules implements dm.FileRuler.
func (*Plugin) FileRules() dm.FileRules {
	return dm.FileRules{Fill: []string{"application.properties"}, Listed: true}
}

// Validate checks the component's structure.
func (*Plugin) Validate(c dm.PackageComponent) []dm.Finding {
	return plugins.MissingFiles(c, "application.properties")
}

// Check checks the component with its overrides.
func (p *Plugin) Check(c dm.CheckedComponent) []dm.Finding {
	return slices.Concat(
		plugins.CheckMain(c),
		plugins.CheckChoice(c, "flink_job_type", "streaming", "batch"),
		plugins.CheckRespawn(c),
		p.CheckSecrets(c))
}
