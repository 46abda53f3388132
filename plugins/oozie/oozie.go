package oozie

import (
	"fmt"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
)

// Config is what the plugin needs.
type Config struct {
	// SparkVersion is oozie_spark_version of the configuration, "1" or "2".
	// With "" any spark_version is taken.
	SparkVersion string
}

// Plugin implements dm.Plugin for oozie.
type Plugin struct {
	plugins.Engineless
	sparkVersion string
}

var _ dm.Plugin = (*Plugin)(nil)

// New makes the plugin.
func New(cfg Config) *Plugin {
	return &Plugin{plugins.Engineless{Kind: "oozie", Engine: "Oozie"}, cfg.SparkVersion}
}

// Validate checks the component's structure. A coordinator needs its workflow
// as well.
func (*Plugin) Validate(c dm.PackageComponent) []dm.Finding {
	return plugins.MissingFiles(c, "workflow.xml")
}

// Check refuses a Spark version that this server's Oozie does not run.
func (p *Plugin) Check(c dm.CheckedComponent) []dm.Finding {
	findings := p.CheckSecrets(c)
	raw, set := c.Effective["spark_version"]
	asked := plugins.Text(raw)
	if !set || asked == "" || p.sparkVersion == "" || asked == p.sparkVersion {
		return findings
	}
	return append(findings, dm.Finding{Path: "properties.json", Message: fmt.Sprintf(
		"the component %s asks for spark_version %.50s, but Oozie on this server runs Spark version %s", c.Name, asked, p.sparkVersion)})
}
