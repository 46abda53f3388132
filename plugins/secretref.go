package plugins

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	dm "github.com/pndaproject/deployment-manager"
)

// A property may refer to a secret of the cluster instead of holding one:
// {"secretRef": "name/key"}. The reference is what git keeps and what everybody may
// read; the value reaches the pods alone, as an environment variable, and never this
// server.

const secretRefKey = "secretRef"

// SecretEnv is the environment variable in which a pod finds the secret that a
// property refers to: SECRET_ and the name in capitals, with _ for all that is no
// letter or digit.
func SecretEnv(property string) string {
	return "SECRET_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, property)
}

// The names that Kubernetes takes: of a Secret, a DNS subdomain; of a key in it.
var (
	secretName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	secretItem = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)
)

// SecretReference is a value of a property that stands in a Secret.
type SecretReference struct{ Name, Key string }

// SecretRef tells whether the value of a property is a reference, and to what. An
// object with the key secretRef that is no valid reference is an error.
func SecretRef(value json.RawMessage) (ref SecretReference, is bool, err error) {
	if len(value) == 0 || value[0] != '{' {
		return ref, false, nil
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) != nil || object[secretRefKey] == nil {
		return ref, false, nil
	}
	var text string
	if len(object) > 1 || json.Unmarshal(object[secretRefKey], &text) != nil {
		return ref, true, dm.Errorf(dm.Invalid, "plugins.SecretRef", `a reference to a secret is {"secretRef": "<name>/<key>"} and nothing else`)
	}
	name, key, found := strings.Cut(text, "/")
	if !found || !secretName.MatchString(name) || strings.Contains(name, "..") || !secretItem.MatchString(key) || key == "." || key == ".." {
		return ref, true, dm.Errorf(dm.Invalid, "plugins.SecretRef", `the secretRef %s must be "<name of a Secret>/<key in it>"`, dm.Printable(fmt.Sprintf("%.100q", text)))
	}
	return SecretReference{name, key}, true, nil
}

// SecretRefs are the references among properties, by the property's name.
func SecretRefs(p dm.Properties) map[string]SecretReference {
	refs := map[string]SecretReference{}
	for name, value := range p {
		if ref, is, err := SecretRef(value); is && err == nil {
			refs[name] = ref
		}
	}
	return refs
}

// checkSecretRefs finds references that are none, and two whose variables would be
// one.
func checkSecretRefs(p dm.Properties) []dm.Finding {
	var findings []dm.Finding
	taken := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		_, is, err := SecretRef(p[name])
		if err != nil {
			findings = append(findings, dm.Finding{Path: propertiesFile, Message: name + ": " + dm.Public(err)})
		}
		if !is {
			continue
		}
		env := SecretEnv(name)
		if other, twice := taken[env]; twice {
			findings = append(findings, dm.Finding{Path: propertiesFile, Message: fmt.Sprintf("%s and %s would both be the environment variable %s", other, name, env)})
		}
		taken[env] = name
	}
	return findings
}

// secretsIn finds the references in a file to properties that stand in a Secret: what
// is filled stays in git, where every reader would see it.
func (d *planning) secretsIn(c dm.PackageComponent, file string, t texts) []dm.Finding {
	if !t.of(file).secrets {
		return nil
	}
	content, err := readAtMost(c.Files, file, d.count.limits.file)
	if err != nil || !utf8.Valid(content) {
		return nil // measure tells it
	}
	var named []string
	for cut := range (filling{content, t.of(file), formatOf(file, content)}).cuts() {
		if cut.secret != "" && !slices.Contains(named, cut.secret) {
			named = append(named, cut.secret)
		}
	}
	var findings []dm.Finding
	for _, name := range named {
		findings = append(findings, dm.Finding{Path: file, Message: fmt.Sprintf(
			"it refers to ${%s}, which is in a secret of the cluster (secretRef) and never written into files; the pod finds it in the environment variable %s",
			name, SecretEnv(strings.TrimPrefix(name, componentPrefix)))})
	}
	return findings
}

// noteSecrets says which lines application.properties does not get.
func (d *planning) noteSecrets(c dm.PackageComponent, effective dm.Properties) {
	for _, name := range slices.Sorted(maps.Keys(SecretRefs(effective))) {
		d.notes = append(d.notes, fmt.Sprintf("%s/%s/%s leaves out %s, which is in a secret of the cluster: the pod finds it in the environment variable %s",
			c.Type, c.Name, applicationFile, name, SecretEnv(name)))
	}
}

// NoSecretRefs finds the references in a component whose type has no pods to give
// the secret to.
func NoSecretRefs(c dm.CheckedComponent, why string) []dm.Finding {
	var findings []dm.Finding
	for _, name := range slices.Sorted(maps.Keys(SecretRefs(c.Effective))) {
		findings = append(findings, dm.Finding{Path: propertiesFile, Message: name + ": " + why})
	}
	return findings
}
