package jupyterhub

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// environOf finds the user's server among the processes by the folder of its
// Hub, and returns its environment.
func environOf(t *testing.T, folder, user string) map[string]string {
	t.Helper()
	running, err := processesOf(filepath.Join(folder, "home"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range running {
		if p.env["JUPYTERHUB_USER"] == user {
			return p.env
		}
	}
	t.Fatalf("no server of %q runs below %s", user, folder)
	return nil
}

// runCell runs the source in a kernel of the user's server.
func runCell(t *testing.T, s *site, user, source string) string {
	t.Helper()
	cell := exec.Command(filepath.Join(environment(t), "bin/python"), "testdata/cell.py", s.public+"/user/"+user, serviceToken, source)
	cell.Env = bareEnvironment(s.folder)
	output, err := cell.CombinedOutput()
	if err != nil {
		t.Fatalf("run a cell: %v\n%s", err, output)
	}
	return string(output)
}
