package examples_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"testing"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/deploy/examples"
	"github.com/pndaproject/deployment-manager/plugins"
	"github.com/pndaproject/deployment-manager/plugins/jupyter"
	"github.com/pndaproject/deployment-manager/plugins/spark"
)

func newPlanner(t *testing.T) *plugins.Planner {
	t.Helper()
	registry, err := plugins.New(jupyter.New(nil), spark.WithoutCluster())
	if err != nil {
		t.Fatal(err)
	}
	planner, err := plugins.NewPlanner(plugins.Config{Registry: registry})
	if err != nil {
		t.Fatal(err)
	}
	return planner
}

// said is a value that must be escaped inside a notebook, and not in a property file.
const said = `"say \"hi\""`

func TestExamplesValidateAndPlan(t *testing.T) {
	t.Parallel()
	planner := newPlanner(t)
	for _, id := range examples.Names() {
		kind := dm.ComponentType("jupyter")
		if id == examples.SparkCount {
			kind = "sparkStreaming"
		}
		ref, err := dm.ParsePackageRef(id)
		if err != nil {
			t.Fatal(err)
		}
		files, err := examples.Files(id)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := planner.Validate(ref, id, files); err != nil || len(v.Findings) > 0 || len(v.Notes) > 0 || len(v.Defaults[kind]) == 0 {
			t.Errorf("%s: Validate = %+v, %v, want defaults of %s and no findings", id, v, err, kind)
		}
		spec := dm.Spec{Name: "noon-run", Package: ref, Owner: "ana", Overrides: dm.Overrides{
			"jupyter":        {"report": {"topic": json.RawMessage(said)}, "openmetrics": {"folder": json.RawMessage(said)}},
			"sparkStreaming": {"count": {"text": json.RawMessage(said)}},
		}}
		plan, findings, err := planner.Plan(ref, spec, files, nil)
		if err != nil || len(findings) > 0 || len(plan.Notes) != 2 || !strings.Contains(plan.Notes[0], "gnored") {
			t.Fatalf("%s: Plan: %v, notes %q, %v; want a note of each component that is another package's", id, findings, plan.Notes, err)
		}
		filled := 0
		for _, f := range plan.Components[0].Files {
			switch {
			case path.Ext(f.Path) == ".ipynb":
				filled++
				checkNotebook(t, id+" "+f.Path, f.Content)
			case f.Path == "application.properties" && bytes.Contains(f.Content, []byte(`component.text=say`)):
				filled++
			}
		}
		if filled == 0 {
			t.Errorf("%s has no notebook with variables, nor such properties: %v", id, plan.Components[0].Files)
		}
	}
}

// checkNotebook holds the parts of nbformat 4.5 that Jupyter insists on.
func checkNotebook(t *testing.T, name string, content []byte) {
	t.Helper()
	var notebook struct {
		Cells    []map[string]any `json:"cells"`
		Metadata map[string]any   `json:"metadata"`
		Format   int              `json:"nbformat"`
		Minor    int              `json:"nbformat_minor"`
	}
	if err := json.Unmarshal(content, &notebook); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if bytes.Contains(content, []byte("${")) || !bytes.Contains(content, []byte(`say \"hi\"`)) {
		t.Errorf("%s is not filled:\n%s", name, content)
	}
	ids := map[any]bool{}
	for _, cell := range notebook.Cells {
		want := []string{"id", "cell_type", "metadata", "source"}
		if cell["cell_type"] == "code" {
			want = append(want, "outputs", "execution_count")
		}
		for _, key := range want {
			if _, ok := cell[key]; !ok {
				t.Errorf("%s: a cell lacks %s: %v", name, key, cell)
			}
		}
		if ids[cell["id"]] {
			t.Errorf("%s: the cell id %v is there twice", name, cell["id"])
		}
		ids[cell["id"]] = true
	}
	if notebook.Format != 4 || notebook.Minor != 5 || len(notebook.Cells) == 0 || notebook.Metadata == nil {
		t.Errorf("%s is not a notebook of format 4.5 with cells and metadata", name)
	}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	for _, id := range examples.Names() {
		first, err := examples.Archive(id)
		if err != nil {
			t.Fatal(err)
		}
		again, err := examples.Archive(id)
		if err != nil || !bytes.Equal(first, again) {
			t.Errorf("%s: the second archive differs from the first (%v)", id, err)
		}
		files, err := examples.Files(id)
		if err != nil {
			t.Fatal(err)
		}
		zip, err := gzip.NewReader(bytes.NewReader(first))
		if err != nil {
			t.Fatal(err)
		}
		for in, n := tar.NewReader(zip), 0; ; n++ {
			header, err := in.Next()
			if errors.Is(err, io.EOF) {
				if n < 3 {
					t.Errorf("%s holds %d files, want notebook, data and properties", id, n)
				}
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			name, ok := strings.CutPrefix(header.Name, id+"/")
			got, _ := io.ReadAll(in)
			want, err := fs.ReadFile(files, name)
			if !ok || err != nil || !bytes.Equal(got, want) {
				t.Errorf("entry %s differs from its source (%v)", header.Name, err)
			}
		}
	}
	if _, err := examples.Archive("../x"); dm.KindOf(err) != dm.NotFound {
		t.Errorf("Archive of an unknown id: kind %q, want %q", dm.KindOf(err), dm.NotFound)
	}
}
