package jupyterhub

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// environOf finds the user's server among the processes by the folder of its
// Hub, and returns its environment. Servers are no children of the tests: they
// outlive the Hub that started them.
func environOf(folder, user string) (map[string]string, int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, 0, err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // ended, or another user's
		}
		env := map[string]string{}
		for _, pair := range bytes.Split(text, []byte{0}) {
			name, value, _ := bytes.Cut(pair, []byte("="))
			env[string(name)] = string(value)
		}
		if filepath.Dir(filepath.Dir(env["HOME"])) != folder || user != "" && env["JUPYTERHUB_USER"] != user {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		return env, pid, err
	}
	return nil, 0, fmt.Errorf("no server of %q runs below %s", user, folder)
}

// endServers ends what a Hub left running.
func endServers(folder string) {
	for {
		_, pid, err := environOf(folder, "")
		if err != nil || syscall.Kill(pid, syscall.SIGKILL) != nil {
			return
		}
	}
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
