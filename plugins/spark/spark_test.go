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

// TestExamplesOfPNDA holds packages like those that PNDA published to being taken as
// they are.
func TestExamplesOfPNDA(t *testing.T) {
	t.Parallel()
	for name, properties := range map[string]string{
		"spark-streaming": `{"main_jar": "app.jar", "main_class": "com.cisco.pnda.examples.KafkaPipeline", "log_level": "INFO", "batch_size_seconds": "2",
			"processing_parallelism": "1", "checkpoint_path": "", "input_topic": "avro.log.localtest", "consume_from_beginning": "true", "spark_submit_args": ""}`,
		"spark-streaming-python": `{"main_py": "job.py", "py_files": "dataplatform-raw.avsc,avro-1.8.1-py2.7.egg", "log_level": "INFO",
			"spark_submit_args": "--conf spark.yarn.executor.memoryOverhead=500 --jars hdfs:///pnda/deployment/app_packages/spark-streaming-kafka-assembly_2.10-1.6.1.jar"}`,
		"spark2-streaming-python": `{"main_py": "job.py", "spark_version": "2", "py_files": "dataplatform-raw.avsc,avro-1.8.1-py2.7.egg"}`,
		"opentsdb":                `{"main_jar": "app.jar", "main_class": "com.cisco.pnda.StatReaderApp", "tla_order": 3, "spark_version": 1, "respawn_timeout_sec": 2}`,
	} {
		files := good()
		for _, path := range []string{"job.py", "dataplatform-raw.avsc", "avro-1.8.1-py2.7.egg", "hbase.json", "opentsdb.json"} {
			files[path] = &fstest.MapFile{}
		}
		c := dm.PackageComponent{Type: "sparkStreaming", Name: "count", Properties: props(t, properties), Files: files}
		p := spark.WithoutCluster()
		got := append(p.Validate(c), p.Check(dm.CheckedComponent{PackageComponent: c, Effective: c.Properties})...)
		if len(got) > 0 {
			t.Errorf("%s: %s", name, dm.JoinFindings(got))
		}
	}
}
