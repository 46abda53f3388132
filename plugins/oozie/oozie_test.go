package oozie_test

import (
	"encoding/json"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/oozie"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugintest.Harness{
		New:        func(*testing.T) (dm.Plugin, func() []string) { return oozie.New(oozie.Config{SparkVersion: "2"}), nil },
		Files:      fstest.MapFS{"workflow.xml": {Data: []byte("<workflow-app/>")}, "lib/a.jar": {}},
		Properties: dm.Properties{"spark_version": json.RawMessage(`"2"`)},
		Mandatory:  []string{"missing file workflow.xml"},
		Refused: map[string]dm.Properties{
			"the component part asks for spark_version 1, but Oozie on this server runs Spark version 2": {"spark_version": json.RawMessage(`"1"`)},
			"asks for spark_version null": {"spark_version": json.RawMessage(`null`)},
		},
		NoEngine: true,
	})
}

func TestWorkflowIsMandatoryBesideACoordinator(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{"coordinator.xml": {}, "subflow/workflow.xml": {}}
	got := dm.JoinFindings(oozie.New(oozie.Config{}).Validate(dm.PackageComponent{Files: files}))
	if want := "missing file workflow.xml"; got != want {
		t.Errorf("findings = %q, want %q", got, want)
	}
}

func TestSparkVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, configured string
		asked            dm.Properties
		findings         int
	}{
		{"absent", "2", dm.Properties{}, 0},
		{"number", "2", dm.Properties{"spark_version": json.RawMessage(`2`)}, 0},
		{"differs", "1", dm.Properties{"spark_version": json.RawMessage(`"2"`)}, 1},
		{"nothing configured", "", dm.Properties{"spark_version": json.RawMessage(`"2"`)}, 0},
	} {
		p := oozie.New(oozie.Config{SparkVersion: c.configured})
		if got := p.Check(dm.CheckedComponent{Effective: c.asked}); len(got) != c.findings {
			t.Errorf("%s: findings = %v, want %d", c.name, got, c.findings)
		}
	}
}
