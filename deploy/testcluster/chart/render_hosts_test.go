package chart_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestHosts: where the server looks at the name it is called by, it knows those
// that the chart gives it: of the Services, from this and other namespaces, and of
// the Ingress, beside those of the person who installs it.
func TestHosts(t *testing.T) {
	t.Parallel()
	ingress := `ingress: {enabled: true, hosts: {packages: p.example.org, manager: m.example.org, git: ""}}`
	for _, c := range []struct {
		values string
		want   []string // beside the Services', nil means none at all
		alias  bool
	}{
		{`auth: {mode: strict}`, nil, false},
		{`auth: {mode: public-read}`, []string{}, true},
		{`{auth: {mode: public-read}, services: {packages: {alias: false}}}`, []string{}, false},
		{`{auth: {mode: insecure-pnda, insecureAnywhere: true}, ` + ingress + `}`, []string{"p.example.org", "m.example.org"}, true},
		{`{auth: {mode: public-read}, ` + ingress + `, config: {hosts: [m.example.org, dm.corp.example]}}`, []string{"p.example.org", "m.example.org", "dm.corp.example"}, true},
		{`{auth: {mode: strict}, config: {hosts: [dm.corp.example]}}`, nil, false},
	} {
		made, _ := rendered(t, c.values)
		var config struct{ Hosts []string }
		text, _ := at(t, made["ConfigMap/"+name], "data.config~yaml").(string)
		if err := yaml.Unmarshal([]byte(text), &config); err != nil {
			t.Fatal(err)
		}
		var want []string
		if c.want != nil {
			services := []string{"package-repository", "deployment-manager", "deployment-manager-git"}
			if c.alias {
				services = append(services, "pnda-package-repository")
			}
			namespace := made["ConfigMap/"+name].GetNamespace()
			if namespace == "" {
				namespace = "default"
			}
			for _, service := range services {
				for _, form := range []string{"%s", "%s." + namespace, "%s." + namespace + ".svc", "%s." + namespace + ".svc.cluster.local"} {
					want = append(want, fmt.Sprintf(form, service))
				}
			}
			want = append(want, c.want...)
		}
		if !slices.Equal(config.Hosts, want) {
			t.Errorf("%s: hosts\n%s\nwant\n%s", c.values, strings.Join(config.Hosts, " "), strings.Join(want, " "))
		}
	}
}
