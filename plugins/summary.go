package plugins

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
)

// ranks orders the states of components: an application shows the label of the
// highest one among its components. What is not listed is notFound.
var ranks = []struct {
	states []string
	label  string
}{
	{[]string{"CREATED"}, "CREATED"},
	{[]string{"STARTING", "SUBMITTED", "ACCEPTED"}, "STARTING"},
	{[]string{"RUNNING"}, "RUNNING"},
	{[]string{"RUNNING_WITH_ERRORS"}, "RUNNING_WITH_ERRORS"},
	{[]string{"SUSPENDED"}, "STOPPED"},
	{[]string{"SUSPENDED_WITH_FAILURES"}, "STOPPED_WITH_FAILURES"},
	{[]string{"KILLED", "FINISHED_KILLED"}, "KILLED"},
	{[]string{"KILLED_WITH_FAILURES"}, "KILLED_WITH_FAILURES"},
	{[]string{"FAILED"}, "FAILED"},
	{[]string{"COMPLETED", "FINISHED_SUCCEEDED", "SUCCEEDED"}, "COMPLETED"},
	{[]string{"COMPLETED_WITH_FAILURES", "FINISHED_FAILED"}, "COMPLETED_WITH_FAILURES"},
}

const (
	aggregateKey = "aggregate_status"
	notFound     = "NOT_FOUND"
)

// Summary is what /summary shows of an application: one object for each
// component under the key <type>-<n>, and aggregate_status over all of them.
// It is empty when nothing is known yet.
func (r *Registry) Summary(ctx context.Context, app dm.Application) (map[string]any, error) {
	const op = "plugins.Summary"
	if app.Observed == nil {
		return nil, nil
	}
	all := map[string]any{}
	highest := 0
	for _, record := range app.Observed.Records {
		components, err := r.summarize(ctx, record, app.Phase)
		if err != nil {
			return nil, dm.Wrap(op, err)
		}
		for i, component := range components {
			all[fmt.Sprintf("%s-%d", record.Type, i+1)] = component
			highest = max(highest, rank(component[aggregateKey]))
		}
	}
	all[aggregateKey] = notFound
	if highest < len(ranks) {
		all[aggregateKey] = ranks[highest].label
	}
	return all, nil
}

func (r *Registry) summarize(ctx context.Context, record dm.PluginRecord, phase dm.Phase) ([]map[string]any, error) {
	plugin, _ := r.Get(record.Type)
	if able, ok := plugin.(dm.Summarizer); ok {
		return able.Summarize(ctx, record, phase)
	}
	list := make([]map[string]any, len(record.Components))
	for i, component := range record.Components {
		list[i] = map[string]any{aggregateKey: cmp.Or(component.State, notFound), "name": component.JobName}
		if component.Information != "" {
			list[i]["information"] = component.Information
		}
	}
	return list, nil
}

// Details is what /detail shows of an application: its jobs by <type>-<component>.
func (r *Registry) Details(ctx context.Context, app dm.Application) (map[string]any, error) {
	all := map[string]any{}
	if app.Observed == nil {
		return all, nil
	}
	for _, record := range app.Observed.Records {
		plugin, _ := r.Get(record.Type)
		able, ok := plugin.(dm.Detailer)
		if !ok {
			continue
		}
		jobs, err := able.Details(ctx, record)
		if err != nil {
			return nil, dm.Wrap("plugins.Details", err)
		}
		for _, j := range jobs {
			began := int64(0)
			if !j.Began.IsZero() {
				began = j.Began.UnixMilli()
			}
			all[fmt.Sprintf("%s-%s", record.Type, j.Component)] = map[string]any{
				"component": j.Component, "type": record.Type, "yarn-id": j.ID, "yarn-start-time": began, "yarn-state": j.State, "object": j.Object,
			}
		}
	}
	return all, nil
}

// rank is the place of a component's state in ranks, len(ranks) for any other.
func rank(state any) int {
	for i, one := range ranks {
		if text, ok := state.(string); ok && slices.Contains(one.states, text) {
			return i
		}
	}
	return len(ranks)
}
