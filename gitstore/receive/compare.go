package receive

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"

	dm "github.com/pndaproject/deployment-manager"
)

// CompareSpecs fills what spec leaves out from now, and tells what differs.
func CompareSpecs(now dm.Spec, spec *dm.Spec) (edit dm.Edit, changed bool) {
	if spec.Owner == "" {
		spec.Owner = now.Owner
	}
	if spec.State == "" {
		spec.State = now.State
	}
	if spec.Package != (dm.PackageRef{}) && spec.Package != now.Package {
		edit.Package, changed = &spec.Package, true
	}
	if spec.Overrides != nil && !sameJSON(spec.Overrides, now.Overrides) {
		edit.Overrides, changed = spec.Overrides, true
	}
	if spec.Audience != nil && !slices.Equal(spec.Audience, now.Audience) {
		edit.Audience, changed = spec.Audience, true
	}
	return edit, changed
}

// sameJSON compares what two overrides mean, not how they are spelled.
func sameJSON(a, b dm.Overrides) bool {
	var values [2]any
	for i, o := range []dm.Overrides{a, b} {
		text, err := json.Marshal(o)
		if err != nil {
			return false
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		if decoder.Decode(&values[i]) != nil {
			return false
		}
		if empty, ok := values[i].(map[string]any); !ok || len(empty) == 0 {
			values[i] = nil
		}
	}
	return reflect.DeepEqual(values[0], values[1])
}
