package node

import (
	"os"
	"path/filepath"
	"testing"
)

func TestHandOn(t *testing.T) {
	group := t.TempDir()
	control := filepath.Join(group, "cgroup.subtree_control")
	for file, text := range map[string]string{filepath.Join(group, "cgroup.controllers"): "cpu memory\n", control: "cpu\n"} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	wrote := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(control); err != nil || string(got) != want {
			t.Errorf("want %q to be written, got %q, %v", want, got, err)
		}
	}
	restore, err := handOn(group)
	if err != nil {
		t.Fatal(err)
	}
	wrote("+memory")
	if err := restore(); err != nil {
		t.Error(err)
	}
	wrote("-memory")
}
