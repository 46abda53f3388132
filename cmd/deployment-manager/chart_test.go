package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/pndaproject/deployment-manager/gitstore/gitcmd"
)

// chartValues are those of the chart that say what the pod may take.
type chartValues struct {
	GoMemoryLimit string         `json:"goMemoryLimit"`
	Config        map[string]any `json:"config"`
	Resources     struct {
		Limits struct {
			Memory string `json:"memory"`
		} `json:"limits"`
	} `json:"resources"`
}

func readChart(t *testing.T) chartValues {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "helm", "deployment-manager", "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var v chartValues
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// memory is the limit of the pod in bytes.
func (v chartValues) memory(t *testing.T) int64 {
	t.Helper()
	digits, ok := strings.CutSuffix(v.Resources.Limits.Memory, "Mi")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil {
		t.Fatalf("the memory limit is %q, want a number of Mi", v.Resources.Limits.Memory)
	}
	return n << 20
}

// defaults is the configuration of a server that is told nothing.
func defaults(t *testing.T) config {
	t.Helper()
	var c config
	for _, o := range options() {
		if o.preset == "" {
			continue
		}
		if err := o.field(&c).Set(o.preset); err != nil {
			t.Fatalf("%s: %v", o.key, err)
		}
	}
	return c
}

// TestChartAddsUp holds the pod's memory limit against what the server and all of
// its gits may take.
func TestChartAddsUp(t *testing.T) {
	t.Parallel()
	v, c := readChart(t), defaults(t)
	if len(v.Config) > 0 {
		t.Fatalf("the chart configures %v; the sum below is of the defaults", v.Config)
	}
	var server int64
	if err := (&sizeValue{&server}).Set(v.GoMemoryLimit); err != nil {
		t.Fatal(err)
	}
	// Of the kernel, for connections and the like, and of Go beside its heap.
	const rest, perUpload, index, small = 64 << 20, 16 << 20, 80 << 20, 48 << 20
	if held := c.Bounds.Specs + c.LimitFilling + int64(c.LimitUploads)*perUpload + index + small; held > server {
		t.Errorf("the server may hold %d MiB, and goMemoryLimit is %d MiB", held>>20, server>>20)
	}
	git := gitcmd.Limits{Fetches: c.LimitFetches, Pushes: c.LimitPushes, Memory: c.LimitGitMemory}
	if most := server + git.MostMemory() + rest; most > v.memory(t) {
		t.Errorf("the server and its gits may take %d MiB, and the pod %d MiB", most>>20, v.memory(t)>>20)
	}
	if n := git.MostProcesses(); n > 100 {
		t.Errorf("%d processes may run, and the chart says about 80", n)
	}
}
