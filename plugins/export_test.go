package plugins

import "encoding/json"

// Limit makes the limits of filling small enough for a test.
func (p *Planner) Limit(file, plan int) { p.limits = limits{file: file, plan: plan} }

// PropertiesSize is how large properties.json is with one property, as it is
// written and as it is counted.
func PropertiesSize(value json.RawMessage) (written, counted int64) {
	v := variables{"component_k": value}
	return int64(len(v.properties())), indentedSize(v, 0)
}
