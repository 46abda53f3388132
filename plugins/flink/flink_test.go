package flink_test

import (
	"encoding/json"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/flink"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	text := func(s string) json.RawMessage { return json.RawMessage(`"` + s + `"`) }
	plugintest.Run(t, plugintest.Harness{
		New:        func(*testing.T) (dm.Plugin, func() []string) { return flink.New(), nil },
		Files:      fstest.MapFS{"application.properties": {Data: []byte("a=1\n")}, "job.py": {}},
		Properties: dm.Properties{"main_py": text("job.py"), "flink_job_type": text("batch"), "respawn_type": text("no")},
		Mandatory:  []string{"missing file application.properties"},
		Refused: map[string]dm.Properties{
			"properties.json: missing main_jar with main_class, or main_py": {},
			"flink_job_type must be one of streaming, batch":                {"main_py": text("job.py"), "flink_job_type": text("sometimes")},
			"respawn_type must be one of always, no,":                       {"main_py": text("job.py"), "respawn_type": json.RawMessage("true")},
		},
		NoEngine: true,
	})
}

func TestCheckTellsEverything(t *testing.T) {
	t.Parallel()
	got := flink.New().Check(dm.CheckedComponent{Effective: dm.Properties{
		"flink_job_type": json.RawMessage(`"x"`), "respawn_type": json.RawMessage(`"y"`),
	}})
	if len(got) != 3 {
		t.Errorf("findings = %v, want three", got)
	}
}
