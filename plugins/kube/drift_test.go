package kube

import (
	"encoding/json"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	dm "github.com/pndaproject/deployment-manager"
)

// TestDrift holds which differences between what is wanted and what is there are
// foreign, and who is named for them.
func TestDrift(t *testing.T) {
	t.Parallel()
	const want = `{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "namespace": "n", "labels": {"a": "1"}},
		"spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "c", "image": "i", "args": ["a"], "resources": {"requests": {"cpu": "500m"}}}]}}}}`
	const ours = `{"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers":
		{"k:{\"name\":\"c\"}": {"f:name": {}, "f:image": {}, "f:args": {}, "f:resources": {"f:requests": {"f:cpu": {}}}}}}}}}`
	for _, c := range []struct {
		name, path, value string // what is other in the live object; "" for nothing, "-" for no object
		owner, fields     string // who owns fields beside or instead of ours
		want              []dm.Drift
	}{
		{name: "as wanted"},
		{name: "a default that was added", path: "spec.paused", value: `false`},
		{name: "a quantity in other words", path: "spec.template.spec.containers", value: `[{"name": "c", "image": "i", "args": ["a"], "resources": {"requests": {"cpu": "0.5"}}}]`},
		{name: "the watch is late", path: "spec.replicas", value: `3`},
		{name: "another value", path: "spec.replicas", value: `3`, owner: "kubectl", fields: `{"f:spec": {"f:replicas": {}}}`,
			want: []dm.Drift{{Object: "deployments/x", Field: ".spec.replicas", Wanted: "1", Live: "3", By: "kubectl"}}},
		{name: "a label gone", path: "metadata.labels", value: `{}`, owner: "kubectl-edit", fields: `{}`,
			want: []dm.Drift{{Object: "deployments/x", Field: ".metadata.labels.a", Wanted: `"1"`}}},
		{name: "in a container", path: "spec.template.spec.containers", value: `[{"name": "side"}, {"name": "c", "image": "evil", "args": ["a"], "resources": {"requests": {"cpu": "500m"}}}]`,
			owner: "mallory", fields: `{"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {"f:image": {}}}}}}}`,
			want: []dm.Drift{{Object: "deployments/x", Field: ".spec.template.spec.containers[c].image", Wanted: `"i"`, Live: `"evil"`, By: "mallory"}}},
		{name: "gone", path: "-", want: []dm.Drift{{Object: "deployments/x", Wanted: "to be there"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			deployments := kinds[3]
			w := wanted{"part", deployments, object(t, want)}
			s := State{wanted: []wanted{w}, objects: map[string]*unstructured.Unstructured{}}
			if c.path != "-" {
				live := object(t, want)
				if c.path != "" {
					put(t, live, c.path, c.value)
				}
				manage(t, live, fieldManager, ours)
				if c.owner != "" {
					manage(t, live, c.owner, c.fields)
				}
				s.objects[w.key()] = live
			}
			if got := s.Drift("part"); !reflect.DeepEqual(got, c.want) {
				t.Errorf("drift = %+v, want %+v", got, c.want)
			}
			if got := s.Drift("other"); got != nil {
				t.Errorf("drift of another component = %+v, want none", got)
			}
			s.fresh = true
			if got := s.Drift("part"); c.path == "-" && got != nil {
				t.Errorf("drift just after it was applied = %+v, want none: the watch may be late", got)
			}
		})
	}
}

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return u
}

func put(t *testing.T, u *unstructured.Unstructured, path, value string) {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(value), &v); err != nil {
		t.Fatal(err)
	}
	if n, ok := v.(float64); ok {
		v = int64(n)
	}
	if err := unstructured.SetNestedField(u.Object, v, split(path)...); err != nil {
		t.Fatal(err)
	}
}

func split(path string) (keys []string) {
	start := 0
	for i := range path {
		if path[i] == '.' {
			keys, start = append(keys, path[start:i]), i+1
		}
	}
	return append(keys, path[start:])
}

// manage makes manager the owner of fields; what another had of them it has no more.
func manage(t *testing.T, u *unstructured.Unstructured, manager, fields string) {
	t.Helper()
	var owned map[string]any
	if err := json.Unmarshal([]byte(fields), &owned); err != nil {
		t.Fatal(err)
	}
	var entries []any
	for _, entry := range managersOf(u) {
		without(entry.fields, owned)
		if manager == "kubectl-edit" { // it took the label away
			delete(entry.fields, "f:metadata")
		}
		entries = append(entries, map[string]any{"manager": entry.name, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": entry.fields})
	}
	entries = append(entries, map[string]any{"manager": manager, "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": owned})
	if err := unstructured.SetNestedSlice(u.Object, entries, "metadata", "managedFields"); err != nil {
		t.Fatal(err)
	}
}

func without(fields, taken map[string]any) {
	for key, below := range taken {
		mine, ok := fields[key].(map[string]any)
		if !ok {
			continue
		}
		if b := below.(map[string]any); len(b) > 0 {
			without(mine, b)
		} else {
			delete(fields, key)
		}
	}
}
