package kube

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	dm "github.com/pndaproject/deployment-manager"
)

// The keys of a root's data.
const (
	rootCommit  = "git-commit"
	rootObjects = "objects"
)

// rootMost is how much a root may tell; a ConfigMap holds 1 MiB.
const rootMost = 900 << 10

// rootFor is the root of s that tells of the objects.
func rootFor(s Set, objects []wanted) (*unstructured.Unstructured, error) {
	list := make([]map[string]any, len(objects))
	for i, o := range objects {
		list[i] = o.Object
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	if len(raw) > rootMost {
		return nil, dm.Errorf(dm.Invalid, "kube.Apply", "what %s components of %s need on the cluster is told in %d bytes, at most %d are kept",
			s.Type, s.Application, len(raw), rootMost)
	}
	root := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"data": map[string]any{rootCommit: string(s.Desired), rootObjects: string(raw)},
	}}
	root.SetName(rootName(s.Application, s.Type))
	root.SetNamespace(s.Team.Namespace)
	root.SetLabels(Labels(s.Application, s.Type, ""))
	root.SetAnnotations(Notes(s.Application, s.Type, ""))
	return root, nil
}

// told reads which objects a root tells of. A root that can't be read tells of
// nothing: what is ours then is found by its labels.
func told(root *unstructured.Unstructured) []wanted {
	text, _, _ := unstructured.NestedString(root.Object, "data", rootObjects)
	var list []map[string]any
	if json.Unmarshal([]byte(text), &list) != nil {
		return nil
	}
	var objects []wanted
	for _, o := range list {
		u := &unstructured.Unstructured{Object: o}
		if k, err := kindOf(u.GroupVersionKind()); err == nil {
			objects = append(objects, wanted{dm.ComponentName(u.GetAnnotations()[componentNote]), k, u})
		}
	}
	return objects
}

// ours tells whether an object was made for a component type of app.
func ours(o *unstructured.Unstructured, app dm.ApplicationName, t dm.ComponentType) bool {
	notes := o.GetAnnotations()
	return o.GetLabels()[managedBy] == manager && notes[applicationNote] == string(app) && notes[typeNote] == string(t)
}

// madeByOthers tells what an operator or a job made in turn, with the labels that it
// was given: that goes with what made it.
func madeByOthers(o *unstructured.Unstructured) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && owner.Kind != "ConfigMap"
}
