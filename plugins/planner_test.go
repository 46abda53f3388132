package plugins_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins"
	"github.com/pndaproject/deployment-manager/plugins/flink"
	"github.com/pndaproject/deployment-manager/plugins/jupyter"
	"github.com/pndaproject/deployment-manager/plugins/oozie"
	"github.com/pndaproject/deployment-manager/plugins/spark"
)

var environment = map[string]string{
	"kafka_brokers": "k1:9092", "hadoop_manager_password": "hunter2", "cluster_private_key": "/keys/k", "API_Token": "x", "client_secret": "y",
	"apiKey": "x", "registry": "https://u:hunter2@r/",
}

func newPlanner(t *testing.T) *plugins.Planner {
	t.Helper()
	registry, err := plugins.New(jupyter.New(nil), spark.WithoutCluster(), flink.New(), oozie.New(oozie.Config{SparkVersion: "2"}))
	if err != nil {
		t.Fatal(err)
	}
	planner, err := plugins.NewPlanner(plugins.Config{Registry: registry, Environment: environment})
	if err != nil {
		t.Fatal(err)
	}
	return planner
}

// tree makes a package's files from path and content pairs.
func tree(pairs ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		files[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1]), Mode: 0o644}
	}
	return files
}

var ref = dm.PackageRef{Name: "flow-collector", Version: dm.Version{Major: 2, Minor: 14, Patch: 3}}

func spec(overrides dm.Overrides) dm.Spec {
	return dm.Spec{Name: "noon-run", Package: ref, Owner: "ana", State: dm.WantCreated, Overrides: overrides}
}

func overrides(t *testing.T, text string) dm.Overrides {
	t.Helper()
	p, err := dm.ParseProperties([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	o, err := dm.ParseOverrides(p)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestValidateFindings(t *testing.T) {
	t.Parallel()
	const id = "flow-collector-2.14.3"
	for _, c := range []struct {
		name  string
		top   string
		files fstest.MapFS
		want  []string // one text that each finding must hold, in order
	}{
		{"good", id, tree("jupyter/report/x.ipynb", "{}"), nil},
		{"nothing inside", "", tree(), []string{"no package directory was found"}},
		{"several top entries", "", tree("a/jupyter/x/y.ipynb", "", "b/c", ""), []string{"a single top-level directory is required, found 2 entries: \"a/\", \"b/\""}},
		{"many top entries", "", tree("a.txt", "", "b.txt", "", "c.txt", "", "d.txt", "", "e.txt", "", "f.txt", "", "g.txt", "", "h.txt", "", "päck-1.0.0/x", "", "r.txt", "", "s.txt", "", "t.txt", ""),
			[]string{`found 12 entries: "a.txt", "b.txt", "c.txt", "d.txt", "e.txt", "f.txt", "g.txt", "h.txt", "päck-1.0.0/", "r.txt" and 2 more`}},
		{"a file only", "", tree("README", ""), []string{`a single top-level directory is required, found only the file "README"`}},
		{"empty package directory", id, tree(), []string{"at least one component is required"}},
		{"files too far up", id, tree("README", "", "jupyter/x.ipynb", "", "odd/file", ""), []string{"at least one component is required"}},
		{"such files beside a component", id, tree("README", "", "odd/file", "", "oozie/nightly/workflow.xml", ""), nil},
		{"wrong top", "flow-2.14.3", tree("jupyter/report/x.ipynb", ""), []string{`"flow-2.14.3" must be named like the package id, "flow-collector-2.14.3"`}},
		{"unknown type", id, tree("storm/topology/x", "", "storm/other/x", ""), []string{`storm: unknown component type "storm", this server knows flink, jupyter, oozie, sparkStreaming`}},
		{"properties are not JSON", id, tree("jupyter/report/x.ipynb", "", "jupyter/report/properties.json", `{"a": }`),
			[]string{"jupyter/report/properties.json: parsing failed: not JSON: expected a value, not '}', at line 1, column 7"}},
		{"properties with a byte order mark", id, tree("jupyter/report/x.ipynb", "", "jupyter/report/properties.json", "\ufeff{\"a\": 1}"), nil},
		{"properties are no object", id, tree("jupyter/report/x.ipynb", "", "jupyter/report/properties.json", `[1]`),
			[]string{"parsing failed: the JSON document is not an object"}},
		{"properties are a directory", id, tree("jupyter/report/properties.json/x.ipynb", ""), []string{"parsing failed: it is a directory"}},
		{"properties are too large", id, tree("jupyter/report/x.ipynb", "", "jupyter/report/properties.json", strings.Repeat(" ", dm.MaxJSONBytes+1)),
			[]string{"parsing failed: at most 1048576 bytes are allowed for one and 8388608 for all of a package"}},
		{"properties deeper down are data", id, tree("jupyter/report/x.ipynb", "", "jupyter/report/sub/properties.json", "not JSON"), nil},
		{"both spellings of flink, one name", id, tree("flink/a/application.properties", "", "flinkStreaming/a/application.properties", ""),
			[]string{"flinkStreaming/a: duplicate component, since flink and flinkStreaming are one type"}},
		{"both spellings of flink, two names", id, tree("flink/b/application.properties", "", "flinkStreaming/a/application.properties", ""), nil},
		{"everything at once", "other", tree(
			"flinkStreaming/f/x", "", "jupyter/a/x", "", "jupyter/b/x", "", "jupyter/b/properties.json", "1",
			"oozie/o/coordinator.xml", "", "sparkStreaming/s/upstart.conf", "", "zeppelin/z/x", ""), []string{
			`"other" must be named`,
			"flinkStreaming/f: missing file application.properties",
			"jupyter/a: missing ipynb file",
			"jupyter/b/properties.json: parsing failed",
			"jupyter/b: missing ipynb file",
			"oozie/o: missing file workflow.xml",
			"sparkStreaming/s: missing file application.properties",
			"sparkStreaming/s: missing file log4j.properties",
			"sparkStreaming/s/upstart.conf: user-supplied upstart.conf is no longer supported",
			"zeppelin: unknown component type",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v, err := newPlanner(t).Validate(ref, c.top, c.files)
			if err != nil {
				t.Fatal(err)
			}
			got := v.Findings
			if len(got) != len(c.want) {
				t.Fatalf("findings = %q, want %d", got, len(c.want))
			}
			for i, want := range c.want {
				if !strings.Contains(got[i].String(), want) {
					t.Errorf("finding %d = %q, want it to hold %q", i, got[i], want)
				}
			}
			if (v.Defaults == nil) != (len(c.want) > 0) {
				t.Errorf("defaults = %v, want them exactly when there are no findings", v.Defaults)
			}
		})
	}
}

func TestValidateLimitsPropertiesTogether(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{}
	large := []byte(`{"a": "` + strings.Repeat("x", 900<<10) + `"}`)
	for i := range 10 {
		files[fmt.Sprintf("jupyter/c%d/x.ipynb", i)] = &fstest.MapFile{}
		files[fmt.Sprintf("jupyter/c%d/properties.json", i)] = &fstest.MapFile{Data: large}
	}
	v, err := newPlanner(t).Validate(ref, ref.String(), files)
	got := v.Findings
	if err != nil || len(got) != 1 || got[0].Component != "c9" || !strings.Contains(got[0].Message, "parsing") {
		t.Errorf("findings = %v, %v, want one, of the component that is too much", got, err)
	}
}

func TestDefaultsKeepThePackagesSpelling(t *testing.T) {
	t.Parallel()
	v, err := newPlanner(t).Validate(ref, ref.String(), tree(
		"flinkStreaming/count/application.properties", "", "oozie/nightly/workflow.xml", "",
		"jupyter/report/x.ipynb", "", "jupyter/report/properties.json", `{"topic": "flows", "n": 1.50}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(v.Defaults)
	want := `{"flinkStreaming":{"count":{}},"jupyter":{"report":{"n":1.50,"topic":"flows"}},"oozie":{"nightly":{}}}`
	if err != nil || string(got) != want {
		t.Errorf("defaults = %s, want %s", got, want)
	}
}

// faultyFS fails on one path.
type faultyFS struct {
	fs.FS
	path string
}

func (f faultyFS) Open(name string) (fs.File, error) {
	if name == f.path {
		return nil, dm.Errorf(dm.Unavailable, "read", "the package's repository is damaged")
	}
	return f.FS.Open(name)
}

func TestReadingErrorsAreNotFindings(t *testing.T) {
	t.Parallel()
	files := tree("jupyter/c/x.ipynb", "", "jupyter/c/properties.json", "{}", "jupyter/c/a.txt", "")
	for _, broken := range []string{".", "jupyter", "jupyter/c/properties.json"} {
		if _, err := newPlanner(t).Validate(ref, ref.String(), faultyFS{files, broken}); dm.KindOf(err) != dm.Unavailable {
			t.Errorf("Validate with unreadable %s: kind %q, want %q", broken, dm.KindOf(err), dm.Unavailable)
		}
	}
	if _, _, err := newPlanner(t).Plan(ref, spec(nil), faultyFS{files, "jupyter/c/a.txt"}, nil); dm.KindOf(err) != dm.Unavailable {
		t.Errorf("Plan with an unreadable file: kind %q, want %q", dm.KindOf(err), dm.Unavailable)
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	if _, err := plugins.New(spark.WithoutCluster(), flink.New(), spark.WithoutCluster()); err == nil || !strings.Contains(err.Error(), `duplicate component type "sparkStreaming"`) {
		t.Errorf("New with a duplicate = %v, want an error that names it", err)
	}
	r, err := plugins.New(spark.WithoutCluster(), flink.New())
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Types(), []dm.ComponentType{"flink", "sparkStreaming"}; !slices.Equal(got, want) {
		t.Errorf("Types = %q, want %q", got, want)
	}
	if p, ok := r.Get("flinkStreaming"); !ok || p.Type() != "flink" {
		t.Errorf("Get(flinkStreaming) = %v, %v, want flink", p, ok)
	}
	if _, ok := r.Get("jupyter"); ok {
		t.Error("Get of an unregistered type = ok")
	}
	if _, err := plugins.NewPlanner(plugins.Config{}); err == nil {
		t.Error("NewPlanner without a registry = nil, want an error")
	}
}
