package chart_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/v2/util"
	"sigs.k8s.io/yaml"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/chart"
)

// What the chart says again of other files of the project must be the same.

// project is the project's folder.
const project = "../../.."

func contentOf(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// valuesSchema is what this test reads of values.schema.json.
type valuesSchema struct {
	Properties map[string]valuesSchema
}

func readSchema(t *testing.T) valuesSchema {
	t.Helper()
	var s valuesSchema
	if err := json.Unmarshal([]byte(contentOf(t, filepath.Join(chart.Source, "values.schema.json"))), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// The chart's script is a link to the one, and a packaged chart has the file.
func TestSyncScript(t *testing.T) {
	t.Parallel()
	source := filepath.Join(project, "plugins/jupyter/sync/sync.sh")
	if link, err := filepath.EvalSymlinks(filepath.Join(chart.Source, "files/sync.sh")); err != nil || link != source {
		t.Errorf("files/sync.sh is %s, %v; want a link to %s", link, err, source)
	}
	archive, err := util.Save(loadChart(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{chart.Source, archive} {
		loaded, err := chart.Load(from)
		if err != nil {
			t.Fatal(err)
		}
		made, err := chart.Render(t.Context(), release, loaded, nil)
		if err != nil {
			t.Fatal(err)
		}
		if at(t, objects(t, made.Manifest)["ConfigMap/deployment-manager-sync"], "data.sync~sh") != contentOf(t, source) {
			t.Errorf("%s: the ConfigMap's sync.sh is not %s", from, source)
		}
	}
}

var optionLine = regexp.MustCompile("(?m)^\\| `([a-z_.]+)` \\| `--")

// config takes every option that the server has: the chart's own, which it
// refuses with a sentence, and those that a person may set.
func TestOptions(t *testing.T) {
	t.Parallel()
	options := map[string]bool{}
	for _, match := range optionLine.FindAllStringSubmatch(contentOf(t, filepath.Join(project, "docs/configuration.md")), -1) {
		options[match[1]] = true
	}
	if len(options) < 30 {
		t.Fatalf("the page names %d options, want the table of all", len(options))
	}
	known := map[string]bool{}
	for key, value := range readSchema(t).Properties["config"].Properties {
		if len(value.Properties) == 0 {
			known[key] = true
		}
		for inner := range value.Properties {
			known[key+"."+inner] = true
		}
	}
	// The chart refuses these sections as a whole.
	for _, section := range []string{"listen", "tls", "hub", "kubernetes"} {
		delete(known, section)
		maps.DeleteFunc(options, func(option string, _ bool) bool { return strings.HasPrefix(option, section+".") })
	}
	if got, want := slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(options)); !slices.Equal(got, want) {
		t.Errorf("values.schema.json knows in config\n%v\nand the server has\n%v", got, want)
	}
}

// A value that has no default is not on the page that people read.
func TestValuesPage(t *testing.T) {
	t.Parallel()
	var page map[string]any
	if err := yaml.Unmarshal([]byte(contentOf(t, filepath.Join(chart.Source, "values.yaml"))), &page); err != nil {
		t.Fatal(err)
	}
	// global and enabled are of a chart around this one; the rest may be left out and has no default.
	compareValues(t, "", readSchema(t), page, []string{"global", "enabled", "config", "resources.claims", "startupProbe.initialDelaySeconds",
		"readinessProbe.initialDelaySeconds", "livenessProbe.initialDelaySeconds"})
}

// compareValues looks for each property of the schema on the page. The other
// direction is the schema's own work: it refuses what it does not know.
func compareValues(t *testing.T, prefix string, s valuesSchema, page map[string]any, without []string) {
	t.Helper()
	for key, value := range s.Properties {
		path := prefix + key
		if slices.Contains(without, path) {
			continue
		}
		found, ok := page[key]
		if !ok {
			t.Errorf("%s is in values.schema.json and not in values.yaml", path)
			continue
		}
		if inner, is := found.(map[string]any); is {
			compareValues(t, path+".", value, inner, without)
		}
	}
}
