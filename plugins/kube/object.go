package kube

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	dm "github.com/pndaproject/deployment-manager"
)

// Object is one object that is wanted. Body is a typed struct with apiVersion, kind
// and metadata.name; labels, annotations, namespace and owner are added.
type Object struct {
	Component dm.ComponentName
	Body      any
}

// Pod is a pod as one of the objects would make it: for Check alone, which has the
// API server judge it.
type Pod struct {
	Component dm.ComponentName
	Of        string // whose pod it is, such as "driver"
	Spec      corev1.PodSpec
}

// Set is all that one plugin wants of one application.
type Set struct {
	Application dm.ApplicationName
	Type        dm.ComponentType
	Team        Team
	Desired     dm.Revision
	Objects     []Object
	Pods        []Pod
}

// rootName is the name of the ConfigMap that owns all that a plugin makes for an
// application.
func rootName(app dm.ApplicationName, t dm.ComponentType) string { return Name(app, string(t), "root") }

// wanted is one object of a set as it is sent.
type wanted struct {
	component dm.ComponentName
	kind      kind
	*unstructured.Unstructured
}

func (w wanted) ref() string { return w.kind.resource + "/" + w.GetName() }

// key tells objects of one namespace apart.
func (w wanted) key() string { return w.kind.Group + "/" + w.ref() }

// build makes the objects of s, in the order in which they are made.
func (s Set) build() ([]wanted, error) {
	var list []wanted
	taken := map[string]bool{kinds[0].Group + "/" + kinds[0].resource + "/" + rootName(s.Application, s.Type): true}
	for _, o := range s.Objects {
		u, err := toUnstructured(o.Body)
		if err != nil {
			return nil, err
		}
		k, err := kindOf(u.GroupVersionKind())
		if err != nil {
			return nil, err
		}
		unstructured.RemoveNestedField(u.Object, "status")
		unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
		u.SetNamespace(s.Team.Namespace)
		u.SetLabels(with(u.GetLabels(), Labels(s.Application, s.Type, o.Component)))
		u.SetAnnotations(with(u.GetAnnotations(), Notes(s.Application, s.Type, o.Component)))
		w := wanted{o.Component, k, u}
		if u.GetName() == "" || taken[w.key()] {
			return nil, dm.Errorf(dm.Internal, "kube.build", "two objects are named %q, or one has no name", w.ref())
		}
		taken[w.key()] = true
		list = append(list, w)
	}
	slices.SortStableFunc(list, func(a, b wanted) int { return cmp.Compare(place(a.kind), place(b.kind)) })
	return list, nil
}

func place(of kind) int { return slices.Index(kinds, of) }

// with adds b to a.
func with(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return all
}

// toUnstructured goes by JSON, so that what is sent is what the struct says it is.
func toUnstructured(body any) (*unstructured.Unstructured, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("kube: an object that is no JSON: %w", err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	withoutNulls(u.Object)
	withoutZeroPorts(u)
	return u, nil
}

// withoutZeroPorts drops the target ports that nobody wrote: the struct of a Service
// has no other way to leave one out, and the API server puts its port there.
func withoutZeroPorts(u *unstructured.Unstructured) {
	ports, _, _ := unstructured.NestedSlice(u.Object, "spec", "ports")
	if u.GetKind() != "Service" || len(ports) == 0 {
		return
	}
	for _, port := range ports {
		if p, ok := port.(map[string]any); ok && p["targetPort"] == int64(0) {
			delete(p, "targetPort")
		}
	}
	_ = unstructured.SetNestedSlice(u.Object, ports, "spec", "ports") // fails only where spec is no object
}

// withoutNulls drops the keys that a struct wrote as null: nothing is wanted there.
func withoutNulls(value any) {
	switch v := value.(type) {
	case map[string]any:
		for key, one := range v {
			if one == nil {
				delete(v, key)
			}
			withoutNulls(one)
		}
	case []any:
		for _, one := range v {
			withoutNulls(one)
		}
	}
}

func unmarshal(raw []byte, into any) error { return json.Unmarshal(raw, into) }
