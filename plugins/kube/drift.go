package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	dm "github.com/pndaproject/deployment-manager"
)

// What is told of drift is bounded: a person reads it.
const (
	driftMost  = 20
	driftValue = 200
)

// Drift tells how what stands of a component is other than its root wants it: fields
// that somebody else has set since, and objects that are gone. A field that still
// belongs to this server is no drift, whatever its value: the watch is late.
func (s *State) Drift(component dm.ComponentName) []dm.Drift {
	var list []dm.Drift
	for _, w := range s.wanted {
		if w.component != component {
			continue
		}
		live := s.objects[w.key()]
		if live == nil {
			if !s.fresh {
				list = append(list, dm.Drift{Object: w.ref(), Wanted: "to be there"})
			}
			continue
		}
		d := comparing{object: w.ref(), managers: managersOf(live)}
		d.fields(w.Object, live.Object, "", nil)
		list = append(list, d.list...)
	}
	return list[:min(len(list), driftMost)]
}

// comparing walks one object as it is wanted beside the same as it is.
type comparing struct {
	object   string
	managers []managed
	list     []dm.Drift
}

// inMetadata are the parts of metadata that are wanted; the API server has its own.
var inMetadata = []string{"labels", "annotations"}

func (d *comparing) fields(want, live map[string]any, path string, owned []string) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if path == ".metadata" && !slices.Contains(inMetadata, key) || path == "" && (key == "apiVersion" || key == "kind") {
			continue
		}
		d.value(want[key], live[key], path+"."+key, append(slices.Clone(owned), "f:"+key))
	}
}

func (d *comparing) value(want, live any, path string, owned []string) {
	switch w := want.(type) {
	case map[string]any:
		if l, ok := live.(map[string]any); ok {
			d.fields(w, l, path, owned)
			return
		}
	case []any:
		if l, ok := live.([]any); ok && d.elements(w, l, path, owned) {
			return
		}
	}
	if same(want, live) {
		return
	}
	mine, by := owner(d.managers, owned)
	if mine {
		return
	}
	d.list = append(d.list, dm.Drift{Object: d.object, Field: path, Wanted: short(want), Live: short(live), By: by})
}

// elements compares lists whose elements have names one by one, and tells whether
// the lists are of that sort.
func (d *comparing) elements(want, live []any, path string, owned []string) bool {
	for _, one := range want {
		w, ok := one.(map[string]any)
		name, named := w["name"].(string)
		if !ok || !named {
			return false
		}
		var found any
		for _, other := range live {
			if l, ok := other.(map[string]any); ok && l["name"] == name {
				found = l
			}
		}
		d.value(w, found, fmt.Sprintf("%s[%s]", path, name), append(slices.Clone(owned), fmt.Sprintf(`k:{"name":%q}`, name)))
	}
	return true
}

// same compares values as JSON has them; quantities by what they mean, since the API
// server writes them its own way.
func same(a, b any) bool {
	left, err := json.Marshal(a)
	right, err2 := json.Marshal(b)
	if err == nil && err2 == nil && bytes.Equal(left, right) {
		return true
	}
	p, err := resource.ParseQuantity(fmt.Sprint(a))
	q, err2 := resource.ParseQuantity(fmt.Sprint(b))
	return err == nil && err2 == nil && p.Cmp(q) == 0
}

func short(value any) string {
	if value == nil {
		return ""
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	text := dm.Printable(string(raw))
	if len(text) > driftValue {
		text = strings.ToValidUTF8(text[:driftValue], "") + " …"
	}
	return text
}

// managed is what one manager owns of an object.
type managed struct {
	name   string
	fields map[string]any
}

func managersOf(o *unstructured.Unstructured) []managed {
	var list []managed
	for _, entry := range o.GetManagedFields() {
		m := managed{name: entry.Manager}
		if entry.FieldsV1 != nil && json.Unmarshal(entry.FieldsV1.GetRawBytes(), &m.fields) == nil {
			list = append(list, m)
		}
	}
	slices.SortStableFunc(list, func(a, b managed) int { return strings.Compare(a.name, b.name) })
	return list
}

// owner tells whether a field belongs to this server, and to whom it belongs else.
func owner(managers []managed, path []string) (mine bool, by string) {
	for _, m := range managers {
		if !holds(m.fields, path) {
			continue
		}
		if m.name == fieldManager {
			return true, ""
		}
		by = m.name
	}
	return false, by
}

// holds tells whether the field itself, or the whole that it is a part of, is owned.
func holds(fields map[string]any, path []string) bool {
	for _, step := range path {
		below, ok := fields[step].(map[string]any)
		if !ok {
			return false
		}
		if len(below) == 0 {
			return true
		}
		fields = below
	}
	return true
}
