package spark_test

import (
	"encoding/json"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
	"github.com/pndaproject/deployment-manager/plugins/spark"
)

func props(t *testing.T, text string) dm.Properties {
	t.Helper()
	var p dm.Properties
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func good() fstest.MapFS {
	return fstest.MapFS{
		"application.properties": {Data: []byte("a=1\n")},
		"log4j.properties":       {Data: []byte("log4j.rootLogger=INFO\n")},
		"app.jar":                {Data: []byte("PK\x03\x04")},
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugintest.Harness{
		New:        func(*testing.T) (dm.Plugin, func() []string) { return spark.WithoutCluster(), nil },
		Files:      good(),
		Properties: props(t, `{"main_jar": "app.jar", "main_class": "com.example.Main", "respawn_type": "on-failure"}`),
		Mandatory:  []string{"missing file application.properties", "missing file log4j.properties"},
		Refused: map[string]dm.Properties{
			"properties.json: missing main_jar with main_class, or main_py":   props(t, `{}`),
			"properties.json: missing main_class, which main_jar needs":       props(t, `{"main_jar": "app.jar", "main_class": ""}`),
			"properties.json: missing main_jar, which main_class needs":       props(t, `{"main_jar": "", "main_class": "com.example.Main"}`),
			"respawn_type must be one of always, no, on-success, on-failure,": props(t, `{"main_py": "app.py", "respawn_type": "sometimes"}`),
		},
		NoEngine: true,
	})
}

func TestValidateRefusesUpstart(t *testing.T) {
	t.Parallel()
	files := good()
	files["upstart.conf"] = &fstest.MapFile{}
	got := dm.JoinFindings(spark.WithoutCluster().Validate(dm.PackageComponent{Type: "sparkStreaming", Name: "count", Files: files}))
	want := "upstart.conf: user-supplied upstart.conf is no longer supported, the server writes the service itself"
	if got != want {
		t.Errorf("findings = %q, want %q", got, want)
	}
}

func TestApplyNamesWhatIsNotConfigured(t *testing.T) {
	t.Parallel()
	_, err := spark.WithoutCluster().Apply(t.Context(), dm.ApplyRequest{Components: []dm.Component{{Type: "sparkStreaming", Name: "count"}}})
	want := "sparkStreaming components cannot be run: this server has no Spark engine configured"
	if got := dm.Public(err); got != want {
		t.Errorf("error = %q, want %q", got, want)
	}
}
