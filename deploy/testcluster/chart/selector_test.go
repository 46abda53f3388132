package chart_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/chart"
)

// TestSelectors renders every set of values as two versions of chart and server.
// Selectors cannot be changed, so they hold the chart's name and the release's
// and nothing else, and the pod's labels answer them.
func TestSelectors(t *testing.T) {
	t.Parallel()
	want := map[string]string{"app.kubernetes.io/name": name, "app.kubernetes.io/instance": release}
	for _, set := range valueSets {
		t.Run(set.name, func(t *testing.T) {
			t.Parallel()
			before, after := render(t, "1.0.0", set.values), render(t, "2.0.0", set.values)
			if len(before) < len(always) || len(before) != len(after) {
				t.Fatalf("%d and %d objects, want equally many and at least %d", len(before), len(after), len(always))
			}
			for what, object := range after {
				for path, got := range selectors(object) {
					if !maps.Equal(got, want) {
						t.Errorf("%s: %s is %v, want %v", what, path, got, want)
					}
				}
				labels := object.GetLabels()
				for label, value := range map[string]string{"app.kubernetes.io/version": "2.0.0", "helm.sh/chart": name + "-2.0.0", "app.kubernetes.io/managed-by": "Helm"} {
					if labels[label] != value {
						t.Errorf("%s: label %s is %q, want %q", what, label, labels[label], value)
					}
				}
			}
			pod := podLabels(t, after)
			if !maps.Equal(pod, podLabels(t, before)) {
				t.Errorf("the pod's labels change with the version, so that every upgrade restarts it: %v", pod)
			}
			for label, value := range want {
				if pod[label] != value {
					t.Errorf("the pod's label %s is %q, want %q", label, pod[label], value)
				}
			}
		})
	}
}

func render(t *testing.T, both, values string) map[string]*unstructured.Unstructured {
	t.Helper()
	rendered, err := chart.Render(t.Context(), release, version(t, both, both), parse(t, values))
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, rendered.Manifest)
}

// selectors are those of an object that mean the server's pod, by their paths.
func selectors(object *unstructured.Unstructured) map[string]map[string]string {
	paths := map[string]string{
		"StatefulSet": "spec.selector.matchLabels", "PodDisruptionBudget": "spec.selector.matchLabels",
		"NetworkPolicy": "spec.podSelector.matchLabels", "Service": "spec.selector",
	}
	path, selects := paths[object.GetKind()]
	if !selects {
		return nil
	}
	// A selector that is missing is found empty, which is wrong too.
	found, _, _ := unstructured.NestedStringMap(object.Object, strings.Split(path, ".")...)
	return map[string]map[string]string{path: found}
}

func podLabels(t *testing.T, all map[string]*unstructured.Unstructured) map[string]string {
	t.Helper()
	set := all["StatefulSet/"+name]
	if set == nil {
		t.Fatalf("no StatefulSet among %v", slices.Collect(maps.Keys(all)))
	}
	labels, _, err := unstructured.NestedStringMap(set.Object, "spec", "template", "metadata", "labels")
	if err != nil {
		t.Fatal(err)
	}
	return labels
}
