package jupyterhub

import (
	"os"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// extraKey is the last of the chart's texts by name: what it refuses to overrule
// must have been said before.
const extraKey = "zz-deployment-manager"

type values struct {
	Hub struct {
		NetworkPolicy struct {
			Ingress []networkingv1.NetworkPolicyIngressRule
		}
		ExtraConfig map[string]string
	}
	Singleuser struct {
		NetworkPolicy struct {
			Egress []networkingv1.NetworkPolicyEgressRule
		}
	}
}

// TestValues: the values carry the Python file word for word, and their rules
// mean the server's pod and ports.
func TestValues(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(valuesFile)
	if err != nil {
		t.Fatal(err)
	}
	python, err := os.ReadFile(configFile)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		text = []byte(withPython(t, string(text), string(python)))
		if err := os.WriteFile(valuesFile, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var v values
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	if v.Hub.ExtraConfig[extraKey] != string(python) {
		t.Errorf("values.yaml does not hold deployment_manager.py as it is; run this test with -update")
	}

	server := labels.Set{"app.kubernetes.io/name": "deployment-manager", "app.kubernetes.io/instance": "dm"}
	ingress, egress := v.Hub.NetworkPolicy.Ingress, v.Singleuser.NetworkPolicy.Egress
	if len(ingress) != 1 || len(egress) != 1 {
		t.Fatalf("want one rule to the Hub and one from users' pods, got %d and %d", len(ingress), len(egress))
	}
	for _, rule := range []struct {
		name  string
		peer  networkingv1.NetworkPolicyPeer
		port  networkingv1.NetworkPolicyPort
		wants int
	}{
		{"from users' pods to the server", egress[0].To[0], egress[0].Ports[0], 8099},
		{"from the server to the Hub", ingress[0].From[0], ingress[0].Ports[0], 8081},
	} {
		matches := labels.SelectorFromSet(rule.peer.PodSelector.MatchLabels).Matches(server)
		if !matches || rule.port.Port.IntValue() != rule.wants {
			t.Errorf("%s: want a rule for the server's labels and port %d, got %v and %v", rule.name, rule.wants, rule.peer.PodSelector, rule.port.Port)
		}
	}
}

// withPython replaces the last block of the values, which is the Python text.
func withPython(t *testing.T, text, python string) string {
	t.Helper()
	head, _, found := strings.Cut(text, "    "+extraKey+": |\n")
	if !found {
		t.Fatalf("values.yaml has no block %s", extraKey)
	}
	var out strings.Builder
	out.WriteString(head + "    " + extraKey + ": |\n")
	for line := range strings.Lines(python) {
		if strings.TrimSpace(line) != "" {
			out.WriteString("      ")
		}
		out.WriteString(line)
	}
	return out.String()
}
