package jupyter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	dm "github.com/pndaproject/deployment-manager"
	"github.com/pndaproject/deployment-manager/plugins/jupyter"
	"github.com/pndaproject/deployment-manager/plugins/plugintest"
)

// fakeWorkspaces remembers what every user has; the real ones are gitstore's.
type fakeWorkspaces struct {
	has  map[dm.UserName]string // what was delivered last, for the one application
	log  []string
	fail error
}

func (f *fakeWorkspaces) Deliver(ctx context.Context, d dm.Delivery) error {
	f.log = append(f.log, fmt.Sprintf("deliver %s at %s of %s to %s %v", d.Application, d.At, d.Type, d.Users, d.Folders))
	for _, u := range d.Users {
		f.has[u] = fmt.Sprint(d.Folders)
	}
	return f.fail
}

func (f *fakeWorkspaces) Remove(ctx context.Context, app dm.ApplicationName, at dm.Revision, users []dm.UserName) error {
	f.log = append(f.log, fmt.Sprintf("remove %s at %s from %s", app, at, users))
	for _, u := range users {
		delete(f.has, u)
	}
	return f.fail
}

func newPlugin(t *testing.T) (*jupyter.Plugin, *fakeWorkspaces) {
	t.Helper()
	w := &fakeWorkspaces{has: map[dm.UserName]string{}}
	p, err := jupyter.New(jupyter.Config{Workspaces: w})
	if err != nil {
		t.Fatal(err)
	}
	return p, w
}

func TestContract(t *testing.T) {
	t.Parallel()
	plugintest.Run(t, plugintest.Harness{
		New: func(t *testing.T) (dm.Plugin, func() []string) {
			p, w := newPlugin(t)
			return p, func() (standing []string) {
				for _, u := range slices.Sorted(maps.Keys(w.has)) {
					standing = append(standing, string(u)+" has "+w.has[u])
				}
				return standing
			}
		},
		Files:      fstest.MapFS{"sub/x.ipynb": {Data: []byte("{}")}, "data.csv": {}},
		Properties: dm.Properties{"topic": json.RawMessage(`"mine"`)},
		Mandatory:  []string{"missing ipynb file"},
	})
}

func TestNewNeedsWorkspaces(t *testing.T) {
	t.Parallel()
	if _, err := jupyter.New(jupyter.Config{}); err == nil {
		t.Error("New without workspaces = nil, want an error")
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	p, _ := newPlugin(t)
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

func TestApplyLayout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		components []dm.Component
		want       []string
	}{
		{"one component", []dm.Component{component("report", 3)}, []string{"deliver noon-run at c0 of jupyter to [ana bo] map[:report]"}},
		{"two components", []dm.Component{component("a", 1), component("b", 1)}, []string{"deliver noon-run at c0 of jupyter to [ana bo] map[a:a b:b]"}},
		{"no component", nil, nil},
	} {
		p, w := newPlugin(t)
		_, err := p.Apply(t.Context(), dm.ApplyRequest{Application: "noon-run", Desired: "c0", Users: []dm.UserName{"ana", "bo"}, Components: c.components})
		if err != nil || !slices.Equal(w.log, c.want) {
			t.Errorf("%s: did %q, %v, want %q", c.name, w.log, err, c.want)
		}
	}
}

func TestApplyFollowsTheAudience(t *testing.T) {
	t.Parallel()
	p, w := newPlugin(t)
	r := dm.ApplyRequest{Application: "class", Desired: "c0", Components: []dm.Component{component("report", 3)}}
	var previous *dm.PluginRecord
	for _, step := range []struct {
		name       string
		users      []dm.UserName
		components []dm.Component
	}{
		{"two", []dm.UserName{"ana", "bo"}, r.Components},
		{"one leaves, one joins", []dm.UserName{"bo", "cy"}, r.Components},
		{"everybody leaves", nil, r.Components},
		{"back again", []dm.UserName{"ana"}, r.Components},
		{"the package has no notebooks any more", []dm.UserName{"ana"}, nil},
	} {
		r.Users, r.Components, r.Previous = step.users, step.components, previous
		record, err := p.Apply(t.Context(), r)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		want := step.users
		if step.components == nil {
			want = nil
		}
		if got := slices.Sorted(maps.Keys(w.has)); !slices.Equal(got, want) || !slices.Equal(record.Users, want) {
			t.Errorf("%s: %v have the folder and the record says %v, want %v", step.name, got, record.Users, want)
		}
		previous = &record
	}
}

func TestApplyFailureNamesEveryoneWhoMayHaveSomething(t *testing.T) {
	t.Parallel()
	p, w := newPlugin(t)
	w.fail = dm.Errorf(dm.Unavailable, "test", "the workspace of bo is damaged")
	record, err := p.Apply(t.Context(), dm.ApplyRequest{
		Application: "class", Desired: "c1", Users: []dm.UserName{"bo", "cy"}, Components: []dm.Component{component("report", 3)},
		Previous: &dm.PluginRecord{Users: []dm.UserName{"ana", "bo"}},
	})
	if dm.KindOf(err) != dm.Unavailable {
		t.Errorf("error kind = %q, want %q so that it is tried again", dm.KindOf(err), dm.Unavailable)
	}
	if want := []dm.UserName{"ana", "bo", "cy"}; !slices.Equal(record.Users, want) {
		t.Errorf("record's users = %v, want %v", record.Users, want)
	}
}

func TestDestroyRemovesFromTheRecordsUsers(t *testing.T) {
	t.Parallel()
	p, w := newPlugin(t)
	record := dm.PluginRecord{Application: "class", Desired: "c9", Users: []dm.UserName{"ana", "bo"}}
	if err := p.Destroy(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	if want := []string{"remove class at c9 from [ana bo]"}; !slices.Equal(w.log, want) {
		t.Errorf("did %q, want %q", w.log, want)
	}
}

func TestSummarize(t *testing.T) {
	t.Parallel()
	p, _ := newPlugin(t)
	for _, c := range []struct {
		users       []dm.UserName
		phase       dm.Phase
		status      string
		information string
	}{
		{[]dm.UserName{"ana"}, dm.Created, "CREATED", "3 files delivered to ana"},
		{[]dm.UserName{"ana"}, dm.Started, "RUNNING", "3 files delivered to ana"},
		{[]dm.UserName{"ana"}, dm.Starting, "CREATED", "3 files delivered to ana"},
		{[]dm.UserName{"ana"}, dm.Stopping, "RUNNING", "3 files delivered to ana"},
		{[]dm.UserName{"ana", "bo"}, dm.Created, "CREATED", "3 files delivered to 2 users"},
	} {
		record := dm.PluginRecord{Users: c.users, Components: []dm.ComponentRecord{{Name: "report", JobName: "noon-run-report-job", Files: 3}}}
		got, err := p.Summarize(t.Context(), record, c.phase)
		want := map[string]any{"aggregate_status": c.status, "componentType": "Jupyter", "name": "noon-run-report-job", "information": c.information}
		if err != nil || len(got) != 1 || !maps.Equal(got[0], want) {
			t.Errorf("Summarize(%s, %v) = %v, %v, want %v", c.phase, c.users, got, err, want)
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
