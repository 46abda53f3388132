package jupyter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/jupyter"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
)

// kept is the plugin and what a record of it tells, which is all that there is: a
// workspace is made of it when somebody asks.
type kept struct {
	*jupyter.Plugin
	folders map[string]dm.ComponentName
}

func (k *kept) Apply(ctx context.Context, r dm.ApplyRequest) (dm.PluginRecord, error) {
	record, err := k.Plugin.Apply(ctx, r)
	if err == nil {
		k.folders = record.Folders
	}
	return record, err
}

func (k *kept) Destroy(ctx context.Context, record dm.PluginRecord) error {
	err := k.Plugin.Destroy(ctx, record)
	if err == nil {
		k.folders = nil
	}
	return err
}

func TestContract(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugintest.Harness{
		New: func(*testing.T) (dm.Plugin, func() []string) {
			k := &kept{Plugin: jupyter.New(nil)}
			return k, func() (standing []string) {
				for _, folder := range slices.Sorted(maps.Keys(k.folders)) {
					standing = append(standing, fmt.Sprintf("%s in the folder %q", k.folders[folder], folder))
				}
				return standing
			}
		},
		Files:      fstest.MapFS{"sub/x.ipynb": {Data: []byte("{}")}, "data.csv": {}},
		Properties: dm.Properties{"topic": json.RawMessage(`"mine"`)},
		Mandatory:  []string{"missing ipynb file"},
	})
}

func TestValidate(t *testing.T) {
	t.Parallel()
	p := jupyter.New(nil)
	for _, c := range []struct {
		name string
		file string
		want string
	}{
		{"at the top", "a.ipynb", ""},
		{"deep down", "a/b/c/d.ipynb", ""},
		{"none", "a.py", "missing ipynb file"},
		{"only a directory of that name", "a.ipynb/b.py", "missing ipynb file"},
	} {
		got := dm.JoinFindings(p.Validate(dm.PackageComponent{Files: fstest.MapFS{c.file: {}}}))
		if got != c.want {
			t.Errorf("%s: findings = %q, want %q", c.name, got, c.want)
		}
	}
}

func component(name string, files int) dm.Component {
	return dm.Component{Type: "jupyter", Name: dm.ComponentName(name), Files: make([]dm.File, files)}
}

// TestRecord: the record says where each component lies, which is what workspaces
// are made of.
func TestRecord(t *testing.T) {
	t.Parallel()
	in := func(name dm.ComponentName, files int) dm.ComponentRecord {
		return dm.ComponentRecord{Name: name, JobName: dm.JobName("noon-run", name), Files: files}
	}
	for _, c := range []struct {
		name       string
		components []dm.Component
		records    []dm.ComponentRecord
		folders    map[string]dm.ComponentName
	}{
		{"one component", []dm.Component{component("report", 3)}, []dm.ComponentRecord{in("report", 3)}, map[string]dm.ComponentName{"": "report"}},
		{"two components", []dm.Component{component("a", 1), component("b", 2)}, []dm.ComponentRecord{in("a", 1), in("b", 2)}, map[string]dm.ComponentName{"a": "a", "b": "b"}},
		{"no component", nil, nil, nil},
	} {
		before := dm.PluginRecord{Users: []dm.UserName{"ana"}, Folders: map[string]dm.ComponentName{"": "old"}} // of an earlier server
		got, err := jupyter.New(nil).Apply(t.Context(), dm.ApplyRequest{Application: "noon-run", Desired: "c0", Components: c.components, Previous: &before})
		want := dm.PluginRecord{Type: "jupyter", Application: "noon-run", Desired: "c0", Components: c.records, Folders: c.folders}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the record is %+v, %v, want %+v", c.name, got, err, want)
		}
	}
}

// fakeDeliveries knows who fetched what of noon-run.
type fakeDeliveries struct {
	receivers map[dm.UserName]dm.Fetch
	err       error
}

func (f fakeDeliveries) Receivers(app dm.ApplicationName) (map[dm.UserName]dm.Fetch, error) {
	if app != "noon-run" {
		return nil, dm.Errorf(dm.Internal, "test", "asked for %s", app)
	}
	return f.receivers, f.err
}

func TestSummarize(t *testing.T) {
	t.Parallel()
	one := fakeDeliveries{receivers: map[dm.UserName]dm.Fetch{"ana": {Deployment: 2, Current: true}, "bo": {Deployment: 2, Current: true}, "cy": {Deployment: 1}, "di": {}}}
	for _, c := range []struct {
		name        string
		deliveries  dm.Deliveries
		phase       dm.Phase
		status      string
		information string
	}{
		{"who fetches is not known", nil, dm.Created, "CREATED", "3 files, delivered"},
		{"nobody has a workspace", fakeDeliveries{}, dm.Created, "CREATED", "3 files, delivered, fetched by 0 users"},
		{"nobody came", fakeDeliveries{receivers: map[dm.UserName]dm.Fetch{"ana": {}}}, dm.Created, "CREATED", "3 files, delivered, fetched by 0 users"},
		{"one has the newest", fakeDeliveries{receivers: map[dm.UserName]dm.Fetch{"ana": {Deployment: 3, Current: true}, "bo": {Deployment: 2}}}, dm.Created, "CREATED", "3 files, delivered, fetched by 1 user"},
		{"two of four have the newest", one, dm.Created, "CREATED", "3 files, delivered, fetched by 2 users"},
		{"the record cannot tell", fakeDeliveries{err: dm.Errorf(dm.Unavailable, "test", "closed")}, dm.Created, "CREATED", "3 files, delivered, and who has fetched them cannot be told now"},
		{"starting", nil, dm.Starting, "CREATED", "3 files, delivered"},
		{"started", nil, dm.Started, "RUNNING", "3 files, delivered"},
		{"stopping", nil, dm.Stopping, "RUNNING", "3 files, delivered"},
	} {
		record := dm.PluginRecord{Application: "noon-run", Components: []dm.ComponentRecord{{Name: "report", JobName: "noon-run-report-job", Files: 3}}}
		got, err := jupyter.New(c.deliveries).Summarize(t.Context(), record, c.phase)
		want := map[string]any{"aggregate_status": c.status, "componentType": "Jupyter", "name": "noon-run-report-job", "information": c.information}
		if err != nil || len(got) != 1 || !maps.Equal(got[0], want) {
			t.Errorf("%s: the summary is %v, %v, want %v", c.name, got, err, want)
		}
	}
}

func TestReadmeIsANotebook(t *testing.T) {
	t.Parallel()
	var notebook struct {
		Cells []struct {
			ID       string         `json:"id"`
			CellType string         `json:"cell_type"`
			Metadata map[string]any `json:"metadata"`
			Source   []string       `json:"source"`
		} `json:"cells"`
		Metadata map[string]any `json:"metadata"`
		Format   int            `json:"nbformat"`
		Minor    int            `json:"nbformat_minor"`
	}
	if err := json.Unmarshal(jupyter.Readme(), &notebook); err != nil {
		t.Fatal(err)
	}
	if notebook.Format != 4 || notebook.Minor != 5 || notebook.Metadata == nil || len(notebook.Cells) != 1 {
		t.Fatalf("the notebook is format %d.%d with %d cells, want 4.5 with one", notebook.Format, notebook.Minor, len(notebook.Cells))
	}
	cell := notebook.Cells[0]
	if cell.CellType != "markdown" || cell.ID == "" || cell.Metadata == nil {
		t.Errorf("the cell is %+v, want markdown with an id and metadata", cell)
	}
	text := strings.Join(cell.Source, "")
	for _, want := range []string{"refuses pushes", "one folder for each application", "git pull", "deletes this folder", "copy"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text does not hold %q:\n%s", want, text)
		}
	}
}
