package chart_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"k8s.io/apimachinery/pkg/api/validation"

	"github.com/pndaproject/deployment-manager/deploy/testcluster/chart"
)

// git's children outlive a git that is cut off, and the server waits for its own
// children only. So process 1 must be one that waits for everybody's.
func TestServerIsNotProcessOne(t *testing.T) {
	t.Parallel()
	made, _ := rendered(t, ``)
	if got := at(t, made["StatefulSet/"+name], "spec.template.spec.shareProcessNamespace"); got != true {
		t.Errorf("shareProcessNamespace is %v, want true", got)
	}
}

// Helm allows releases called 123 and my.pnda, Kubernetes names of digits, and
// YAML reads both as something else.
func TestNamesThatLookLikeNumbers(t *testing.T) {
	t.Parallel()
	values := parse(t, `
fullnameOverride: ""
auth: {existingSecret: "123"}
tls: {secretName: "1e3"}
jupyterhub: {url: "http://hub:8081/hub/api", caConfigMap: "0x1"}
persistence: {existingClaim: "456"}
serviceAccount: {name: "789"}
priorityClassName: "42"
services: {git: {name: "yes"}}
ingress: {enabled: true, className: "7", hosts: {git: "1.5"}, tlsSecretName: "8"}
`)
	made, err := chart.Render(t.Context(), "123", loadChart(t), values)
	if err != nil {
		t.Fatal(err)
	}
	of := objects(t, made.Manifest)
	for _, c := range []struct{ object, path, want string }{
		{"StatefulSet/123-deployment-manager", "spec.selector.matchLabels.app~kubernetes~io/instance", "123"},
		{"StatefulSet/123-deployment-manager", "spec.template.spec.serviceAccountName", "789"},
		{"StatefulSet/123-deployment-manager", "spec.template.spec.priorityClassName", "42"},
		{"StatefulSet/123-deployment-manager", "spec.template.spec.volumes.0.persistentVolumeClaim.claimName", "456"},
		{"StatefulSet/123-deployment-manager", "spec.template.spec.volumes.2.secret.secretName", "123"},
		{"StatefulSet/123-deployment-manager", "spec.template.spec.volumes.3.secret.secretName", "1e3"},
		{"StatefulSet/123-deployment-manager", "spec.template.spec.volumes.4.configMap.name", "0x1"},
		{"ServiceAccount/789", "metadata.name", "789"},
		{"Service/yes", "spec.selector.app~kubernetes~io/instance", "123"},
		{"Ingress/123-deployment-manager", "spec.ingressClassName", "7"},
		{"Ingress/123-deployment-manager", "spec.rules.0.host", "1.5"},
		{"Ingress/123-deployment-manager", "spec.rules.0.http.paths.0.backend.service.name", "yes"},
		{"Ingress/123-deployment-manager", "spec.tls.0.secretName", "8"},
	} {
		if got := at(t, of[c.object], c.path); got != c.want {
			t.Errorf("%s, %s is %#v, want %q", c.object, c.path, got, c.want)
		}
	}
}

// A chart that has this one as a part hands down its globals, and decides by a
// value of ours whether it has it.
func TestPartOfAChart(t *testing.T) {
	t.Parallel()
	whole := &chartv2.Chart{Metadata: &chartv2.Metadata{
		APIVersion: chartv2.APIVersionV2, Name: "pnda", Version: "1.0.0",
		Dependencies: []*chartv2.Dependency{{Name: name, Version: "*", Condition: name + ".enabled"}},
	}}
	whole.AddDependency(loadChart(t))
	for _, c := range []struct {
		values string
		want   bool
	}{
		{`{global: {domain: example.org}, deployment-manager: {enabled: true}}`, true},
		{`{deployment-manager: {enabled: false}}`, false},
	} {
		made, err := chart.Render(t.Context(), release, whole, parse(t, c.values))
		if err != nil {
			t.Fatalf("%s: %v", c.values, err)
		}
		if got := objects(t, made.Manifest)["StatefulSet/"+name] != nil; got != c.want {
			t.Errorf("%s: the server is there: %v, want %v", c.values, got, c.want)
		}
		whole.SetDependencies(loadChart(t))
	}
}

// The name of the StatefulSet becomes a part of its pod's host name.
func TestReleaseWithADot(t *testing.T) {
	t.Parallel()
	made, err := chart.Render(t.Context(), "my.pnda", loadChart(t), parse(t, `fullnameOverride: ""`))
	if err != nil {
		t.Fatal(err)
	}
	set := objects(t, made.Manifest)["StatefulSet/my-pnda-deployment-manager"]
	service, _ := at(t, set, "spec.serviceName").(string)
	if faults := validation.NameIsDNSLabel(service, false); len(faults) > 0 {
		t.Errorf("the pod's subdomain %q is not valid: %s", service, strings.Join(faults, ", "))
	}
}

// A probe set to null is left out.
func TestProbeLeftOut(t *testing.T) {
	t.Parallel()
	made, _ := rendered(t, `startupProbe: null`)
	container := at(t, made["StatefulSet/"+name], "spec.template.spec.containers.0").(map[string]any)
	if container["startupProbe"] != nil || container["livenessProbe"] == nil {
		t.Errorf("got startupProbe %v and livenessProbe %v, want the second only", container["startupProbe"], container["livenessProbe"])
	}
}

// A policy sees the port of the pod, which is 5353 for OpenShift's name servers.
func TestNameServers(t *testing.T) {
	t.Parallel()
	made, _ := rendered(t, ``)
	ports, _ := at(t, made["NetworkPolicy/"+name], "spec.egress.0.ports").([]any)
	var got []string
	for _, port := range ports {
		one := port.(map[string]any)
		got = append(got, fmt.Sprint(one["protocol"], " ", one["port"]))
	}
	if want := []string{"UDP 53", "TCP 53", "UDP 5353", "TCP 5353"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
