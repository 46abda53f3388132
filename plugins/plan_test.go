package plugins_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
)

const emptyNotebook = `{"cells": []}`

// plan plans and fails the test on findings.
func plan(t *testing.T, s dm.Spec, files fs.FS) dm.Plan {
	t.Helper()
	p, findings, err := newPlanner(t).Plan(ref, s, files, nil)
	if err != nil || len(findings) > 0 {
		t.Fatalf("Plan: %v, %v", findings, err)
	}
	return p
}

// listing writes a component's files as a person would, contents included.
func listing(c dm.Component) map[string]string {
	files := map[string]string{}
	for _, f := range c.Files {
		files[f.Path] = string(f.Content)
		if f.Source != "" {
			files[f.Path] = "= " + f.Source
		}
	}
	return files
}

func TestPlanJupyterAsInTheContract(t *testing.T) {
	t.Parallel()
	files := tree(
		"README", "not a component",
		"jupyter/report/properties.json", `{"topic": "flows", "limit": 3}`,
		"jupyter/report/sub/x.ipynb", `{"cells": ["${component_topic} $$x$$ ${component_hdfs_root}"]}`,
		"jupyter/report/plain.ipynb", `{"cells": ["nothing"]}`,
		"jupyter/report/sub/properties.json", `{"data": "$application_user"}`,
		"jupyter/report/data.csv", "a\r\n$5\r\n",
		"jupyter/report/logo.png", "\x89PNG\x00\xff ${component_topic}",
		"jupyter/report/run.sh", "echo $environment_kafka_brokers $environment_hadoop_manager_password $component_limit",
	)
	files["jupyter/report/run.sh"].Mode = 0o755
	p := plan(t, spec(overrides(t, `{"jupyter": {"report": {"topic": "mine"}}}`)), files)
	if len(p.Components) != 1 || len(p.Notes) > 0 {
		t.Fatalf("plan = %+v, want one component and no notes", p)
	}
	c := p.Components[0]
	if c.Type != "jupyter" || c.Name != "report" || !c.Workspace {
		t.Errorf("component = %s/%s, workspace %v, want jupyter/report in the workspace", c.Type, c.Name, c.Workspace)
	}
	want := map[string]string{
		"data.csv":    "= jupyter/report/data.csv",
		"logo.png":    "= jupyter/report/logo.png",
		"plain.ipynb": "= jupyter/report/plain.ipynb",
		"properties.json": `{
  "application": "noon-run",
  "hdfs_root": "/pnda/system/deployment-manager/applications/ana/noon-run/report",
  "job_name": "noon-run-report-job",
  "limit": 3,
  "name": "report",
  "topic": "mine"
}
`,
		"run.sh":              "echo k1:9092 $environment_hadoop_manager_password 3",
		"sub/properties.json": `{"data": "ana"}`,
		"sub/x.ipynb":         `{"cells": ["mine $$x$$ /pnda/system/deployment-manager/applications/ana/noon-run/report"]}`,
	}
	compare(t, listing(c), want)
	for _, f := range c.Files {
		if f.Executable != (f.Path == "run.sh") {
			t.Errorf("%s: executable = %v", f.Path, f.Executable)
		}
	}
	if !slices.IsSortedFunc(c.Files, func(a, b dm.File) int { return strings.Compare(a.Path, b.Path) }) {
		t.Errorf("files are not in byte order: %v", want)
	}
}

func compare(t *testing.T, got, want map[string]string) {
	t.Helper()
	for file, content := range want {
		if got[file] != content {
			t.Errorf("%s = %q, want %q", file, got[file], content)
		}
	}
	for file := range got {
		if _, ok := want[file]; !ok {
			t.Errorf("unexpected file %s = %q", file, got[file])
		}
	}
}

func TestPlanKeepsTypesOfProperties(t *testing.T) {
	t.Parallel()
	const properties = `{"b": true, "big": 12345678901234567890, "f": 1.50, "name": "overwritten", "no": null, "nested": {"k": [1, "<é>"]}, "text": "a\"b"}`
	p := plan(t, spec(overrides(t, `{"jupyter": {"report": {"nested": {"z": 1}, "new-key": "x"}}}`)),
		tree("jupyter/report/x.ipynb", "", "jupyter/report/properties.json", properties, "jupyter/report/t.txt", "$component_b|$component_nested|$component_no"))
	files := listing(p.Components[0])
	if want := `true|{"z":1}|null`; files["t.txt"] != want {
		t.Errorf("t.txt = %q, want %q", files["t.txt"], want)
	}
	want := `{
  "application": "noon-run",
  "b": true,
  "big": 12345678901234567890,
  "f": 1.50,
  "hdfs_root": "/pnda/system/deployment-manager/applications/ana/noon-run/report",
  "job_name": "noon-run-report-job",
  "name": "report",
  "nested": {
    "z": 1
  },
  "new-key": "x",
  "no": null,
  "text": "a\"b"
}
`
	if files["properties.json"] != want {
		t.Errorf("properties.json = %s, want %s", files["properties.json"], want)
	}
}

func TestPlanApplicationProperties(t *testing.T) {
	t.Parallel()
	lines := `
application.hdfs_root=/pnda/system/deployment-manager/applications/ana/noon-run
application.user=ana
component.application=noon-run
component.hdfs_root=/pnda/system/deployment-manager/applications/ana/noon-run/c
component.input_topic=flows
component.job_name=noon-run-c-job
component.main_py=job.py
component.name=c
environment.kafka_brokers=k1:9092
`
	for _, c := range []struct {
		name, kind, properties string
		want                   string
	}{
		{"jupyter", "jupyter", `{"input_topic": "flows", "main_py": "job.py"}`, "a=flows\n" + lines},
		{"spark", "sparkStreaming", `{"input_topic": "flows", "main_py": "job.py"}`, "a=flows\n" + lines},
		{"flink", "flink", `{"input_topic": "flows", "main_py": "job.py"}`, "a=flows\n" + lines},
		{"not wanted", "jupyter", `{"input_topic": "flows", "no_auto_props": false}`, "a=flows"},
		{"oozie", "oozie", `{"input_topic": "flows"}`, "= oozie/c/application.properties"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := c.kind + "/c/"
			p := plan(t, spec(nil), tree(dir+"application.properties", "a=${component_input_topic}", dir+"properties.json", c.properties,
				dir+"x.ipynb", "", dir+"workflow.xml", "", dir+"log4j.properties", "", dir+"job.py", "", dir+"sub/application.properties", "a=$nope"))
			files := listing(p.Components[0])
			if got := files["application.properties"]; got != c.want {
				t.Errorf("application.properties = %q, want %q", got, c.want)
			}
			if got, want := files["sub/application.properties"], "= "+dir+"sub/application.properties"; got != want {
				t.Errorf("sub/application.properties = %q, want %q", got, want)
			}
		})
	}
	t.Run("jupyter without the file", func(t *testing.T) {
		t.Parallel()
		p := plan(t, spec(nil), tree("jupyter/c/x.ipynb", ""))
		if _, made := listing(p.Components[0])["application.properties"]; made {
			t.Error("application.properties was made, want it only where the package has it")
		}
	})
}

func TestPlanFillsWhatTheTypeSays(t *testing.T) {
	t.Parallel()
	const text = "${component_name}"
	for _, c := range []struct {
		kind   string
		filled []string
	}{
		{"sparkStreaming", []string{"application.properties", "log4j.properties", "hbase.json", "opentsdb.json"}},
		{"flink", []string{"application.properties", "hbase.json", "opentsdb.json"}},
		{"flinkStreaming", []string{"application.properties", "hbase.json", "opentsdb.json"}},
		{"oozie", []string{"hbase.json", "opentsdb.json"}},
	} {
		t.Run(c.kind, func(t *testing.T) {
			t.Parallel()
			files := fstest.MapFS{}
			all := []string{"application.properties", "log4j.properties", "hbase.json", "opentsdb.json", "workflow.xml", "other.txt", "sub/log4j.properties", "x.py"}
			for _, f := range all {
				files[c.kind+"/c/"+f] = &fstest.MapFile{Data: []byte(text)}
			}
			files[c.kind+"/c/properties.json"] = &fstest.MapFile{Data: []byte(`{"main_py": "x.py", "no_auto_props": 1}`)}
			component := plan(t, spec(nil), files).Components[0]
			canonical := dm.ComponentType(c.kind)
			if c.kind == "flinkStreaming" {
				canonical = "flink"
			}
			if component.Workspace || component.Type != canonical {
				t.Errorf("component = %s, workspace %v, want the canonical type outside the workspace", component.Type, component.Workspace)
			}
			got := listing(component)
			for _, f := range all {
				want := "= " + c.kind + "/c/" + f
				if slices.Contains(c.filled, f) {
					want = "c"
				}
				if got[f] != want {
					t.Errorf("%s = %q, want %q", f, got[f], want)
				}
			}
		})
	}
}

func TestPlanDescriptors(t *testing.T) {
	t.Parallel()
	p := plan(t, spec(nil), tree(
		"jupyter/c/x.ipynb", `{"cells": [], "a": "${hdfspath_out}"}`,
		"jupyter/c/hdfs.json", `[{"name": "out", "path": "${component_hdfs_root}/\"o", "delete_on_undeploy": 1}]`,
		"jupyter/c/hbase.json", `[{"table": "${hdfspath_out} $component_name"}]`,
		"jupyter/c/opentsdb.json", `[{"name": "$component_name $hdfspath_out"}]`))
	root := "/pnda/system/deployment-manager/applications/ana/noon-run/c"
	files := listing(p.Components[0])
	for file, want := range map[string]string{
		"x.ipynb":       `{"cells": [], "a": "` + root + `/\"o"}`,
		"hdfs.json":     `[{"name": "out", "path": "` + root + `/\"o", "delete_on_undeploy": 1}]`,
		"hbase.json":    `[{"table": "${hdfspath_out} c"}]`,
		"opentsdb.json": `[{"name": "c ` + root + `/\"o"}]`,
	} {
		if files[file] != want {
			t.Errorf("%s = %s, want %s", file, files[file], want)
		}
	}
	if len(p.Notes) != 3 || !strings.Contains(p.Notes[0], "jupyter/c/hbase.json is not carried out") {
		t.Errorf("notes = %q, want one for each descriptor", p.Notes)
	}
}

func TestPlanRefusesBadHDFSDescriptors(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{
		"not JSON": `[`, "an object": `{}`, "no path": `[{"name": "a"}]`, "not UTF-8": "[{\"name\": \"\xff\", \"path\": \"/a\"}]",
		"too large": strings.Repeat(" ", dm.MaxJSONBytes+1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got, err := newPlanner(t).Plan(ref, spec(nil), tree("jupyter/c/x.ipynb", "", "jupyter/c/hdfs.json", content), nil)
			if err != nil || len(got) != 1 || !strings.HasPrefix(got[0].String(), "jupyter/c/hdfs.json: parsing failed: ") {
				t.Errorf("findings = %v, %v, want one about hdfs.json", got, err)
			}
		})
	}
	plan(t, spec(nil), tree("jupyter/c/hdfs.json/x.ipynb", ""))
}

func TestPlanOverrides(t *testing.T) {
	t.Parallel()
	files := tree("flinkStreaming/count/application.properties", "", "flinkStreaming/count/properties.json", `{"main_py": "a.py", "x": 1, "y": 1, "z": {"deep": 1, "er": 2}}`)
	p := plan(t, spec(overrides(t, `{
		"flink": {"count": {"x": 2, "y": 2, "z": {"deep": 3}}, "absent": {"a": 1}},
		"flinkStreaming": {"count": {"y": 3}},
		"oozie": {"nightly": {"a": 1}}, "jupyter": {}, "unheard": {"of": {}}}`)), files)
	got := listing(p.Components[0])["properties.json"]
	var properties struct {
		X, Y int
		Z    json.RawMessage
	}
	if err := json.Unmarshal([]byte(got), &properties); err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	if err := json.Compact(&z, properties.Z); err != nil {
		t.Fatal(err)
	}
	if properties.X != 2 || properties.Y != 3 || z.String() != `{"deep":3}` {
		t.Errorf("properties = %s, want x 2, y 3 and z replaced whole", got)
	}
	if raw := string(p.Defaults["flinkStreaming"]["count"]["x"]); raw != "1" {
		t.Errorf("the default of x = %s, want the package's 1", raw)
	}
	want := []string{
		"ignored overrides for flink/absent: the package has no such component",
		"ignored overrides for oozie/nightly: the package has no such component",
		"ignored overrides for unheard/of: the package has no such component",
	}
	if !slices.Equal(p.Notes, want) {
		t.Errorf("notes = %q, want %q", p.Notes, want)
	}
}

func TestPlanTellsEveryFinding(t *testing.T) {
	t.Parallel()
	got, findings, err := newPlanner(t).Plan(ref, spec(nil), tree(
		"flink/f/application.properties", "", "oozie/o/workflow.xml", "", "oozie/o/properties.json", `{"spark_version": "1"}`,
		"jupyter/j/x.ipynb", "", "jupyter/j/hdfs.json", "x",
		"sparkStreaming/s/application.properties", "", "sparkStreaming/s/log4j.properties", "", "sparkStreaming/s/properties.json", `{"respawn_type": "x"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	places := make([]string, len(findings))
	for i, f := range findings {
		places[i] = path.Join(string(f.Type), string(f.Component), f.Path)
	}
	want := []string{"flink/f/properties.json", "jupyter/j/hdfs.json", "oozie/o/properties.json", "sparkStreaming/s/properties.json", "sparkStreaming/s/properties.json"}
	if !slices.Equal(places, want) {
		t.Errorf("findings = %q, want them at %q", findings, want)
	}
	if len(got.Components) > 0 {
		t.Errorf("plan = %+v, want nothing beside findings", got)
	}
}

func TestPlanOrdersComponents(t *testing.T) {
	t.Parallel()
	p := plan(t, spec(nil), tree("oozie/a/workflow.xml", "", "jupyter/b/x.ipynb", "", "jupyter/B/x.ipynb", "", "flinkStreaming/a/application.properties", "",
		"flinkStreaming/a/properties.json", `{"main_py": "x"}`, "flink/b/application.properties", "", "flink/b/properties.json", `{"main_py": "x"}`))
	var got []string
	for _, c := range p.Components {
		got = append(got, string(c.Type)+"/"+string(c.Name))
	}
	if want := []string{"flink/a", "flink/b", "jupyter/B", "jupyter/b", "oozie/a"}; !slices.Equal(got, want) {
		t.Errorf("components = %q, want %q", got, want)
	}
}

func TestPlanIsRepeatable(t *testing.T) {
	t.Parallel()
	files := tree("jupyter/a/x.ipynb", `{"s": "$component_name"}`, "jupyter/a/application.properties", "", "jupyter/b/x.ipynb", "")
	first, again := plan(t, spec(nil), files), plan(t, spec(nil), files)
	if a, b := fmt.Sprintf("%+v", first), fmt.Sprintf("%+v", again); a != b {
		t.Errorf("the second plan differs:\n%s\n%s", a, b)
	}
}

// TestPlanTellsOfPublishedSecrets: what a package holds is filled, and its reader
// is told that it is no secret any more.
func TestPlanTellsOfPublishedSecrets(t *testing.T) {
	t.Parallel()
	files := tree(
		"jupyter/a/x.ipynb", `{"cells": [], "source": ["${component_apiKey} ${environment_apiKey} ${environment_registry}"]}`,
		"jupyter/a/properties.json", `{"apiKey": "k", "db": {"password": "p"}, "token": "", "secret": null, "max_tokens": 5}`,
		"jupyter/b/x.ipynb", `{"cells": []}`, "jupyter/b/properties.json", `{"broker": "amqp://u:p@h"}`,
	)
	p := plan(t, spec(nil), files)
	want := []string{"everybody who may read the package sees its secrets: jupyter/a/apiKey, jupyter/a/db.password, jupyter/b/broker"}
	if !slices.Equal(p.Notes, want) {
		t.Errorf("notes = %q, want %q", p.Notes, want)
	}
	if got := listing(p.Components[0])["x.ipynb"]; got != `{"cells": [], "source": ["k ${environment_apiKey} ${environment_registry}"]}` {
		t.Errorf("filled: %s", got)
	}
}

func TestPlanOfLargeFiles(t *testing.T) {
	t.Parallel()
	filler := strings.Repeat("0123456789abcdef", 40<<10) // 640 KiB without a line end
	files := tree("jupyter/c/x.ipynb", "", "jupyter/c/hex", filler, "jupyter/c/late", filler+"${component_name}", "jupyter/c/binary", filler+"${component_name}\xff")
	got := listing(plan(t, spec(nil), files).Components[0])
	for file, want := range map[string]string{"hex": "= jupyter/c/hex", "late": filler + "c", "binary": "= jupyter/c/binary"} {
		if got[file] != want {
			t.Errorf("%s has %d bytes, want %d", file, len(got[file]), len(want))
		}
	}
}

func TestPlanTellsOfOtherEncodings(t *testing.T) {
	t.Parallel()
	files := tree("jupyter/c/x.ipynb", emptyNotebook, "jupyter/c/latin.csv", "caf\xe9 ${component_name}", "jupyter/c/quiet.csv", "caf\xe9",
		"jupyter/c/wide.txt", "\xff\xfe$\x00{\x00c\x00o\x00m\x00p\x00o\x00n\x00e\x00n\x00t\x00_\x00n\x00a\x00m\x00e\x00}\x00",
		"jupyter/c/application.properties", "a=\xe9 $component_name")
	p := plan(t, spec(nil), files)
	want := []string{"variables are not filled in jupyter/c/application.properties, jupyter/c/latin.csv, jupyter/c/wide.txt: the text is not UTF-8 and stays as it is"}
	if !slices.Equal(p.Notes, want) {
		t.Errorf("notes = %q, want %q", p.Notes, want)
	}
	got := listing(p.Components[0])
	if got["latin.csv"] != "= jupyter/c/latin.csv" || got["wide.txt"] != "= jupyter/c/wide.txt" {
		t.Errorf("files = %q, want the package's own", got)
	}
	if !strings.HasPrefix(got["application.properties"], "a=\xe9 $component_name\n\napplication.hdfs_root=") {
		t.Errorf("application.properties = %q, want its text unchanged and the lines behind it", got["application.properties"])
	}
	many := tree("jupyter/c/x.ipynb", emptyNotebook)
	for i := range 1000 {
		many[fmt.Sprintf("jupyter/c/%03d", i)] = &fstest.MapFile{Data: []byte("\xe9 $component_name")}
	}
	p = plan(t, spec(nil), many)
	if len(p.Notes) != 1 || len(p.Notes[0]) > 300 || !strings.Contains(p.Notes[0], "jupyter/c/004 and 995 more") {
		t.Errorf("notes of 1000 files = %.1000q, want one short one", p.Notes)
	}
}

func TestPlanLimitsFilling(t *testing.T) {
	t.Parallel()
	text := func(size int) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("$component_name" + strings.Repeat(" ", size))}
	}
	bomb := &fstest.MapFile{Data: bytes.Repeat([]byte("$component_long "), 1000)}
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		want  []string
	}{
		{"a large file with a reference", fstest.MapFS{"jupyter/c/huge": text(1 << 20)}, []string{"huge"}},
		{"a large file without", fstest.MapFS{"jupyter/c/quiet": {Data: bytes.Repeat([]byte(" "), 2<<20)}}, nil},
		{"a small file that grows", fstest.MapFS{"jupyter/c/bomb": bomb}, []string{"bomb"}},
		{"too much together", fstest.MapFS{"jupyter/c/1": text(900 << 10), "jupyter/c/2": text(900 << 10), "jupyter/c/3": text(10)}, []string{"2"}},
		{"application.properties", fstest.MapFS{"jupyter/c/application.properties": {Data: bytes.Repeat([]byte(" "), 2<<20)}}, []string{"application.properties"}},
		{"application.properties with its lines", fstest.MapFS{"jupyter/c/application.properties": {Data: bytes.Repeat([]byte(" "), 1<<20)}}, []string{"application.properties"}},
	} {
		c.files["jupyter/c/x.ipynb"] = &fstest.MapFile{}
		planner := newPlanner(t)
		planner.Limit(1<<20, 3<<19)
		o := dm.Overrides{"jupyter": {"c": {"long": json.RawMessage(`"` + strings.Repeat("x", 50<<10) + `"`)}}}
		_, findings, err := planner.Plan(ref, spec(o), c.files, nil)
		var got []string
		for _, f := range findings {
			got = append(got, f.Path)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: findings at %q, %v, want %q", c.name, got, err, c.want)
		}
	}
}
