package spark

import (
	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
)

// Plugin implements dm.Plugin for sparkStreaming.
type Plugin struct{ plugins.Engineless }

var (
	_ dm.Plugin    = (*Plugin)(nil)
	_ dm.FileRuler = (*Plugin)(nil)
)

// New makes the plugin.
func New() *Plugin {
	return &Plugin{plugins.Engineless{Kind: "sparkStreaming", Engine: "Spark"}}
}

// FileRules implements dm.FileRuler.
func (*Plugin) FileRules() dm.FileRules {
	return dm.FileRules{Fill: []string{"application.properties", "log4j.properties"}, Listed: true}
}

// Validate checks the component's structure.
func (*Plugin) Validate(c dm.PackageComponent) []dm.Finding {
	findings := plugins.MissingFiles(c, "application.properties", "log4j.properties")
	if plugins.HasFile(c, "upstart.conf") {
		findings = append(findings, dm.Finding{Path: "upstart.conf", Message: "user-supplied upstart.conf is no longer supported, the server writes the service itself"})
	}
	return findings
}

// Check checks the component with its overrides.
func (*Plugin) Check(c dm.CheckedComponent) []dm.Finding {
	return append(plugins.CheckMain(c), plugins.CheckRespawn(c)...)
}
