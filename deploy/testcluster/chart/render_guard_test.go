package chart_test

import (
	"reflect"
	"testing"
)

// What keeps the pod apart is given in values that anybody may change, and the
// Pod Security level asks for a part of it only. So each default is held here.

func TestContainerIsConfined(t *testing.T) {
	t.Parallel()
	made, _ := rendered(t, ``)
	pod := at(t, made["StatefulSet/"+name], "spec.template.spec")
	for path, want := range map[string]any{
		"automountServiceAccountToken":                          false,
		"securityContext.runAsNonRoot":                          true,
		"securityContext.seccompProfile.type":                   "RuntimeDefault",
		"containers.0.securityContext.readOnlyRootFilesystem":   true,
		"containers.0.securityContext.allowPrivilegeEscalation": false,
		"containers.0.securityContext.privileged":               nil,
		"containers.0.securityContext.capabilities":             map[string]any{"drop": []any{"ALL"}},
		"containers.1":                         nil,
		"initContainers":                       nil,
		"hostNetwork":                          nil,
		"hostPID":                              nil,
		"volumes.2.secret.items.0.key":         "htpasswd",
		"volumes.2.secret.items.1.key":         "tokens",
		"volumes.2.secret.items.2":             nil, // the password in plain text is for people
		"containers.0.volumeMounts.1.readOnly": true,
		"containers.0.volumeMounts.2.readOnly": true,
	} {
		if got := at(t, made["StatefulSet/"+name], "spec.template.spec."+path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v, want %#v in\n%v", path, got, want, pod)
		}
	}
}

// TestNetworkPolicy: who comes in are pods of the namespace and whom the values
// name, on the server's three ports; TestEgress holds what the options add to
// the way out.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	own := map[string]any{"podSelector": map[string]any{}}
	gateway := map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"team": "gateway"}}}
	port := func(number float64) any { return map[string]any{"protocol": "TCP", "port": number} }
	for _, c := range []struct {
		name, values string
		types, from  []any
	}{
		{"default", ``, []any{"Ingress", "Egress"}, []any{own}},
		{"a gateway", `networkPolicy: {ingress: {from: [{namespaceSelector: {matchLabels: {team: gateway}}}]}}`, []any{"Ingress", "Egress"}, []any{own, gateway}},
		{"open egress", `networkPolicy: {egress: {enabled: false}}`, []any{"Ingress"}, []any{own}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			made, _ := rendered(t, c.values)
			policy := made["NetworkPolicy/"+name]
			for path, want := range map[string]any{
				"spec.policyTypes": c.types,
				"spec.ingress":     []any{map[string]any{"from": c.from, "ports": []any{port(8888), port(5000), port(8099)}}},
			} {
				if got := at(t, policy, path); !reflect.DeepEqual(got, want) {
					t.Errorf("%s is\n%#v, want\n%#v", path, got, want)
				}
			}
			if got, want := at(t, policy, "spec.egress.1"), any(map[string]any{"to": []any{own}}); len(c.types) == 2 && !reflect.DeepEqual(got, want) {
				t.Errorf("beside name servers the way out is %#v, want %#v", got, want)
			}
		})
	}
}
