package e2e

import (
	"encoding/json"
	"os"
	"testing"
)

func TestInstallation(t *testing.T) {
	text := os.Getenv(insideVariable)
	if text == "" {
		reason := unable()
		if os.Getenv("CI") == "true" {
			t.Fatal(reason)
		}
		t.Skip(reason)
	}
	var s settings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	startNode(t.Context(), t, s)
	out, err := run(t.Context(), "ctr", "-n", "k8s.io", "images", "ls", "-q")
	t.Log(out, err)
}
