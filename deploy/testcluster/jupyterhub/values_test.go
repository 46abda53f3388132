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
		ExtraConfig map[string]string
	}
	Singleuser struct {
		NetworkPolicy struct {
			Egress []networkingv1.NetworkPolicyEgressRule
		}
	}
}

// TestValues: the values carry the Python file word for word, and their rule
// means the server's pod and port.
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
	egress := v.Singleuser.NetworkPolicy.Egress
	if len(egress) != 1 || len(egress[0].To) != 1 || len(egress[0].Ports) != 1 {
		t.Fatalf("want one rule with one peer and one port, got %+v", egress)
	}
	if !labels.SelectorFromSet(egress[0].To[0].PodSelector.MatchLabels).Matches(server) || egress[0].Ports[0].Port.IntValue() != 8099 {
		t.Errorf("want a rule for the server's labels and port 8099, got %+v", egress[0])
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
