package plugins

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	dm "github.com/pndaproject/deployment-manager"
)

// hdfsRoot is the parent of every application's folder in HDFS, as PNDA has it.
const hdfsRoot = "/pnda/system/deployment-manager/applications"

// componentPrefix marks the variables that become the delivered
// properties.json.
const componentPrefix = "component_"

// variables are the JSON values that files may refer to, by name.
type variables map[string]json.RawMessage

// newVariables makes the variables of one component in the contract's order: a
// later one replaces an earlier one of the same name. effective already holds
// the overrides.
func newVariables(environment map[string]string, spec dm.Spec, name dm.ComponentName, effective dm.Properties) variables {
	v := variables{}
	for key, value := range environment {
		v.setText("environment_"+key, value)
	}
	for key, raw := range effective {
		v[componentPrefix+key] = raw
	}
	root := hdfsRoot + "/" + string(spec.Owner) + "/" + string(spec.Name)
	v.setText("component_application", string(spec.Name))
	v.setText("component_name", string(name))
	v.setText("component_job_name", dm.JobName(spec.Name, name))
	v.setText("application_hdfs_root", root)
	v.setText("component_hdfs_root", root+"/"+string(name))
	v.setText("application_user", string(spec.Owner))
	return v
}

func (v variables) setText(name, text string) { v[name] = quote(text) }

// properties is the delivered properties.json: the variables of the component
// without their prefix, by key in byte order, each value as it was spelled.
func (v variables) properties() []byte {
	var b bytes.Buffer
	b.WriteByte('{')
	comma := ""
	for _, name := range slices.Sorted(maps.Keys(v)) {
		key, ok := strings.CutPrefix(name, componentPrefix)
		if !ok {
			continue
		}
		b.WriteString(comma)
		b.Write(quote(key))
		b.WriteByte(':')
		b.Write(v[name])
		comma = ","
	}
	b.WriteByte('}')
	var pretty bytes.Buffer
	if json.Indent(&pretty, b.Bytes(), "", "  ") != nil {
		return b.Bytes() // cannot be: every part was parsed or quoted
	}
	pretty.WriteByte('\n')
	return pretty.Bytes()
}

// autoProperties are the lines that PNDA appends to application.properties:
// the first '_' of a name becomes '.'.
func (v variables) autoProperties() []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(v)) {
		if _, secret, _ := SecretRef(v[name]); secret {
			continue // it is no value, and what it refers to is not for files
		}
		b.WriteString(strings.Replace(name, "_", ".", 1))
		b.WriteByte('=')
		b.WriteString(Text(v[name]))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// Text is a JSON value as it stands in a file: text raw, numbers as they are
// spelled, true, false and null in JSON spelling, the rest as compact JSON.
func Text(raw json.RawMessage) string {
	var s string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		return s
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// quote is text as a JSON string.
func quote(text string) json.RawMessage {
	return json.RawMessage(`"` + jsonContent(text) + `"`)
}

// withoutSecrets leaves out the entries of the environment that would put a
// secret into files and into git.
func withoutSecrets(environment map[string]string) map[string]string {
	open := maps.Clone(environment)
	maps.DeleteFunc(open, func(key, text string) bool { return dm.IsSecret(key) || dm.HoldsSecret(text) })
	return open
}
