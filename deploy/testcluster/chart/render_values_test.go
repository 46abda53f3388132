package chart_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/chart"
)

// rendered are the objects and the notes that a release with the values has.
func rendered(t *testing.T, values string) (map[string]*unstructured.Unstructured, string) {
	t.Helper()
	release, err := chart.Render(t.Context(), release, loadChart(t), parse(t, values))
	if err != nil {
		t.Fatalf("%s: %v", values, err)
	}
	return objects(t, release.Manifest), release.Info.Notes
}

// at is what an object holds at the dotted path; numbers select from lists, and
// ~ stands for a dot in a key.
func at(t *testing.T, object *unstructured.Unstructured, path string) any {
	t.Helper()
	if object == nil {
		t.Fatalf("the object with %s is missing", path)
	}
	var value any = object.Object
	for part := range strings.SplitSeq(path, ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[strings.ReplaceAll(part, "~", ".")]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(v) {
				return nil
			}
			value = v[i]
		default:
			return nil
		}
	}
	return value
}

// A change of the server's options must restart it, and nothing else may.
func TestRestarts(t *testing.T) {
	t.Parallel()
	template := func(values string) any {
		made, _ := rendered(t, values)
		return at(t, made["StatefulSet/"+name], "spec.template")
	}
	before := template("")
	for _, c := range []struct {
		values   string
		restarts bool
	}{
		{`config: {log: {level: debug}}`, true},
		{`auth: {groups: {admin: [ana]}}`, true},
		{`jupyterhub: {url: "http://hub:8081/hub/api"}`, true},
		{`auth: {tokens: "{}"}`, false},
		{`auth: {users: {ana: "` + someHash + `"}}`, false},
		{`services: {packages: {alias: false}}`, false},
		{`networkPolicy: {enabled: false}`, false},
		{`persistence: {size: 20Gi}`, false},
	} {
		if got := !reflect.DeepEqual(template(c.values), before); got != c.restarts {
			t.Errorf("%s: restarts is %v, want %v", c.values, got, c.restarts)
		}
	}
}

// The hook reads the sums of the programs that it may run as words of a file. Who
// has pods and gives none is told.
func TestSums(t *testing.T) {
	t.Parallel()
	one, two := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	for list, want := range map[string]string{"": "", one: one, one + "," + two: one + "\n" + two} {
		for hub, told := range map[string]bool{`""`: false, `"http://hub:8081/hub/api"`: list == ""} {
			values := `{jupyterhub: {url: ` + hub + `}, sync: {sha256: [` + list + `]}}`
			made, notes := rendered(t, values)
			if got := at(t, made["ConfigMap/"+name+"-sync"], "data.sha256"); got != want {
				t.Errorf("%s: the sums are %q, want %q", values, got, want)
			}
			if got := strings.Contains(notes, "sync.sha256 is empty"); got != told {
				t.Errorf("%s: the notes tell that there are none: %v, want %v", values, got, told)
			}
		}
	}
}

// A volume of an earlier format is upgraded only by an upgrade that says so. The
// server ends otherwise, and Kubernetes shows its sentence beside the log.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	const option = "upgrade_format: true"
	for values, want := range map[string]bool{``: false, `upgrade: {accept: true}`: true, `upgrade: {accept: false}`: false} {
		made, _ := rendered(t, values)
		config, _ := at(t, made["ConfigMap/"+name], "data.config~yaml").(string)
		if got := slices.Contains(strings.Split(config, "\n"), option); got != want || config == "" {
			t.Errorf("%q: the server is told %q: %v, want %v", values, option, got, want)
		}
		if got := at(t, made["StatefulSet/"+name], "spec.template.spec.containers.0.terminationMessagePolicy"); got != "FallbackToLogsOnError" {
			t.Errorf("%q: why the server ended is shown by %v", values, got)
		}
	}
}

// The policy lets the server reach what its options name, and no more.
func TestEgress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, values string
		want         []string // beside name servers and the namespace
	}{
		{"nothing", ``, nil},
		{"the same namespace", `jupyterhub: {url: "http://hub:8081/hub/api"}`, nil},
		{"another namespace", `jupyterhub: {url: "http://hub.jhub:8081/hub/api"}`, []string{"port 8081", "namespace jhub"}},
		{"another namespace in full", `jupyterhub: {url: "http://hub.jhub.svc.cluster.local:8081/hub/api"}`, []string{"port 8081", "namespace jhub"}},
		{"a host outside", `config: {package_callback: "https://logger.data.example.org/packages"}`, []string{"port 443"}},
		{"an address", `config: {application_callback: "http://192.0.2.7/a"}`, []string{"port 80"}},
		{"an address of version 6", `config: {application_callback: "http://[2001:db8::1]:3001/a"}`, []string{"port 3001"}},
		{"an API server", teams, []string{"port 443", "port 6443"}},
		{"an API server elsewhere", strings.Replace(teams, "enabled: true", "enabled: true, apiPorts: [16443]", 1), []string{"port 16443"}},
		{"rules of one's own", `networkPolicy: {egress: {rules: [{ports: [{protocol: TCP, port: 6443}]}]}}`, []string{"port 6443"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			made, _ := rendered(t, c.values)
			policy := made["NetworkPolicy/"+name]
			var got []string
			for i := 2; at(t, policy, fmt.Sprintf("spec.egress.%d", i)) != nil; i++ {
				ports, _ := at(t, policy, fmt.Sprintf("spec.egress.%d.ports", i)).([]any)
				for p := range ports {
					got = append(got, fmt.Sprint("port ", at(t, policy, fmt.Sprintf("spec.egress.%d.ports.%d.port", i, p))))
				}
				labels, _ := at(t, policy, fmt.Sprintf("spec.egress.%d.to.0.namespaceSelector.matchLabels", i)).(map[string]any)
				for _, namespace := range labels {
					got = append(got, fmt.Sprint("namespace ", namespace))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestStorage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, values string
		claims       bool // the chart makes one
		class        any
		volume       any // the claim that the pod has
	}{
		{"default", ``, true, nil, name},
		{"no class", `persistence: {storageClass: "-"}`, true, "", name},
		{"a class", `persistence: {storageClass: fast}`, true, "fast", name},
		{"one's own claim", `persistence: {existingClaim: old}`, false, nil, "old"},
		{"none", `persistence: {enabled: false}`, false, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			made, _ := rendered(t, c.values)
			claim := made["PersistentVolumeClaim/"+name]
			if (claim != nil) != c.claims {
				t.Fatalf("the chart makes a claim: %v, want %v", claim != nil, c.claims)
			}
			if claim != nil {
				if got := at(t, claim, "spec.storageClassName"); got != c.class {
					t.Errorf("the class is %v, want %v", got, c.class)
				}
				if got := claim.GetAnnotations()["helm.sh/resource-policy"]; got != "keep" {
					t.Errorf("the claim's policy is %q, want keep", got)
				}
			}
			if got := at(t, made["StatefulSet/"+name], "spec.template.spec.volumes.0.persistentVolumeClaim.claimName"); got != c.volume {
				t.Errorf("the pod's claim is %v, want %v", got, c.volume)
			}
		})
	}
}

// With TLS everything that speaks to the server must speak it.
func TestTLS(t *testing.T) {
	t.Parallel()
	made, _ := rendered(t, `tls: {secretName: cert}`)
	for _, probe := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
		if got := at(t, made["StatefulSet/"+name], "spec.template.spec.containers.0."+probe+".httpGet.scheme"); got != "HTTPS" {
			t.Errorf("%s has scheme %v, want HTTPS", probe, got)
		}
	}
	for _, service := range []string{"package-repository", "pnda-package-repository", name, name + "-git"} {
		if got := at(t, made["Service/"+service], "spec.ports.0.appProtocol"); got != "https" {
			t.Errorf("Service %s has appProtocol %v, want https", service, got)
		}
	}
}

// The alias belongs to PNDA's own name, and goes with it.
func TestAlias(t *testing.T) {
	t.Parallel()
	const alias = "Service/pnda-package-repository"
	for _, c := range []struct {
		values string
		there  bool
	}{
		{``, true},
		{`services: {packages: {alias: false}}`, false},
		{`services: {packages: {name: archives}}`, false},
		{`services: {packages: {name: pnda-package-repository}}`, true},
	} {
		made, _ := rendered(t, c.values)
		if got := made[alias] != nil; got != c.there {
			t.Errorf("%s: %s is there: %v, want %v", c.values, alias, got, c.there)
		}
	}
	made, _ := rendered(t, `services: {packages: {port: 80}}`)
	if got, want := at(t, made[alias], "spec.ports.0.port"), at(t, made["Service/package-repository"], "spec.ports.0.port"); got != want {
		t.Errorf("the alias has the port %v, want %v", got, want)
	}
}

// Two installations in one namespace must not share a name.
func TestNames(t *testing.T) {
	t.Parallel()
	first, _ := rendered(t, ``)
	second, _ := rendered(t, `{fullnameOverride: second, services: {packages: {name: p2}, manager: {name: m2}, git: {name: g2}}}`)
	for key := range second {
		if first[key] != nil {
			t.Errorf("both installations have %s", key)
		}
	}
	unnamed, _ := rendered(t, `fullnameOverride: ""`)
	if unnamed["StatefulSet/"+release+"-"+name] == nil {
		t.Error("with an empty fullnameOverride the StatefulSet is not named after the release")
	}
}
