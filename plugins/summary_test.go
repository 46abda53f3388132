package plugins

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	dm "github.com/pndaproject/deployment-manager"
)

// fakeSummarizer tells the states it is given; no engine is at hand that could
// be brought into all of them.
type fakeSummarizer struct {
	Engineless
	states []string
}

func (f fakeSummarizer) Validate(dm.PackageComponent) []dm.Finding { return nil }

func (f fakeSummarizer) Check(dm.CheckedComponent) []dm.Finding { return nil }

func (f fakeSummarizer) Summarize(context.Context, dm.PluginRecord, dm.Phase) ([]map[string]any, error) {
	var all []map[string]any
	for _, state := range f.states {
		all = append(all, map[string]any{aggregateKey: state})
	}
	return all, nil
}

func TestSummaryShowsTheHighestRank(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		states []string
		want   string
	}{
		{"no component", nil, "CREATED"},
		{"one", []string{"RUNNING"}, "RUNNING"},
		{"failed beats running", []string{"FAILED", "RUNNING"}, "FAILED"},
		{"completed beats failed", []string{"FAILED", "SUCCEEDED"}, "COMPLETED"},
		{"suspended is called stopped", []string{"CREATED", "SUSPENDED"}, "STOPPED"},
		{"unknown beats all", []string{"COMPLETED_WITH_FAILURES", "PAUSED"}, "NOT_FOUND"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := New(fakeSummarizer{Engineless{Kind: "flink", Engine: "Flink"}, tt.states})
			if err != nil {
				t.Fatal(err)
			}
			app := dm.Application{Phase: dm.Started, Observed: &dm.Observation{Records: []dm.PluginRecord{{Type: "flink"}}}}
			got, err := r.Summary(t.Context(), app)
			if err != nil || got[aggregateKey] != tt.want {
				t.Errorf("want %s, got %v, %v", tt.want, got[aggregateKey], err)
			}
			if len(got) != len(tt.states)+1 {
				t.Errorf("want %d components, got %v", len(tt.states), got)
			}
		})
	}
}

func TestSummaryWithoutSummarizer(t *testing.T) {
	t.Parallel()
	r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ state, information, want string }{
		{"", "", notFound},
		{"RUNNING", "3 of 4 tasks", "RUNNING"},
	} {
		record := dm.PluginRecord{Type: "oozie", Components: []dm.ComponentRecord{
			{Name: "nightly", JobName: "a-nightly-job", State: c.state, Information: c.information},
		}}
		got, err := r.Summary(t.Context(), dm.Application{Observed: &dm.Observation{Records: []dm.PluginRecord{record}}})
		if err != nil {
			t.Fatal(err)
		}
		component, _ := got["oozie-1"].(map[string]any)
		if component["name"] != "a-nightly-job" || component[aggregateKey] != c.want || got[aggregateKey] != c.want {
			t.Errorf("want a-nightly-job and the application %s, got %v", c.want, got)
		}
		if information, _ := component["information"].(string); information != c.information {
			t.Errorf("information = %q, want %q", information, c.information)
		}
	}
}

// fakeDetailer tells of one job, or that its engine can't be asked.
type fakeDetailer struct {
	fakeSummarizer
	err error
}

func (f fakeDetailer) Details(context.Context, dm.PluginRecord) ([]dm.EngineJob, error) {
	return []dm.EngineJob{{Component: "count", ID: "spark-1", Began: time.UnixMilli(1736158830123), State: "RUNNING", Object: "pnda/pods/count"}}, f.err
}

func TestDetails(t *testing.T) {
	t.Parallel()
	app := dm.Application{Observed: &dm.Observation{Records: []dm.PluginRecord{{Type: "flink"}, {Type: "oozie"}}}}
	engine := fakeSummarizer{Engineless{Kind: "flink", Engine: "Flink"}, nil}
	r, err := New(fakeDetailer{engine, nil})
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Details(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(got)
	const want = `{"flink-count":{"component":"count","object":"pnda/pods/count","type":"flink","yarn-id":"spark-1","yarn-start-time":1736158830123,"yarn-state":"RUNNING"}}`
	if err != nil || string(text) != want {
		t.Errorf("the jobs are %s, %v; want %s", text, err, want)
	}
	if r, err = New(fakeDetailer{engine, errors.New("away")}); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Details(t.Context(), app); err == nil {
		t.Errorf("of an engine that is away there are %v, want an error", got)
	}
}
