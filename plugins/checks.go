package plugins

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// What more than one plugin needs. Findings made here name the path; the
// planner adds type and component.

// MissingFiles finds the files that are not directly in the component.
func MissingFiles(c dm.PackageComponent, names ...string) []dm.Finding {
	var findings []dm.Finding
	for _, name := range names {
		if !HasFile(c, name) {
			findings = append(findings, dm.Finding{Message: "missing file " + name})
		}
	}
	return findings
}

// HasFile tells whether the component has a file of that name at its top.
func HasFile(c dm.PackageComponent, name string) bool {
	info, err := fs.Stat(c.Files, name)
	return err == nil && !info.IsDir()
}

// CheckMain finds what a cluster job lacks to be started: main_jar with
// main_class, or main_py.
func CheckMain(c dm.CheckedComponent) []dm.Finding {
	jar, class, py := property(c, "main_jar"), property(c, "main_class"), property(c, "main_py")
	fault := ""
	switch {
	case py != "" || jar != "" && class != "":
		return nil
	case jar != "":
		fault = "missing main_class, which main_jar needs"
	case class != "":
		fault = "missing main_jar, which main_class needs"
	default:
		fault = "missing main_jar with main_class, or main_py"
	}
	return []dm.Finding{{Path: propertiesFile, Message: fault}}
}

// CheckChoice finds a property that is set to something else than the words
// allowed.
func CheckChoice(c dm.CheckedComponent, key string, allowed ...string) []dm.Finding {
	raw, set := c.Effective[key]
	if !set || slices.Contains(allowed, Text(raw)) {
		return nil
	}
	return []dm.Finding{{Path: propertiesFile, Message: fmt.Sprintf("%s must be one of %s", key, strings.Join(allowed, ", "))}}
}

// CheckRespawn finds a respawn_type that systemd does not know.
func CheckRespawn(c dm.CheckedComponent) []dm.Finding {
	return CheckChoice(c, "respawn_type", "always", "no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort")
}

// property is a text property; any other value counts as absent.
func property(c dm.CheckedComponent, key string) string {
	if raw := c.Effective[key]; len(raw) > 0 && raw[0] == '"' {
		return Text(raw)
	}
	return ""
}

// Engineless is the running half of a plugin whose components this server can
// check but not run. Embed it.
type Engineless struct {
	Kind   dm.ComponentType
	Engine string // what would run them, for people: "Spark"
}

// Type implements dm.Plugin.
func (e Engineless) Type() dm.ComponentType { return e.Kind }

// CheckSecrets refuses references to secrets, which only pods can be given.
func (e Engineless) CheckSecrets(c dm.CheckedComponent) []dm.Finding {
	return NoSecretRefs(c, fmt.Sprintf("a %s component can't be given a secret of the cluster: this server has no %s engine whose pods would get it", e.Kind, e.Engine))
}

// Apply refuses every component with a sentence that names the type and what
// is not configured. No components need no engine.
func (e Engineless) Apply(ctx context.Context, r dm.ApplyRequest) (dm.PluginRecord, error) {
	op := string(e.Kind) + ".Apply"
	if err := Interrupted(ctx, op); err != nil {
		return dm.PluginRecord{}, err
	}
	if len(r.Components) > 0 {
		return dm.PluginRecord{}, dm.Errorf(dm.Invalid, op,
			"%s components cannot be run: this server has no %s engine configured", e.Kind, e.Engine)
	}
	return dm.PluginRecord{Type: e.Kind, Application: r.Application, Desired: r.Desired}, nil
}

// Destroy has nothing to remove, since nothing is ever made.
func (e Engineless) Destroy(ctx context.Context, _ dm.PluginRecord) error {
	return Interrupted(ctx, string(e.Kind)+".Destroy")
}

// Interrupted is the error of a plugin whose context has ended; the dispatcher
// tries such work again.
func Interrupted(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return dm.Errorf(dm.Unavailable, op, "the work was interrupted").Because(err)
	}
	return nil
}
