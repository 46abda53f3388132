package jupyterhub

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pndaproject/deployment-manager/deploy/testcluster"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The project's files that the tests use, from this folder.
const (
	root       = "../../.."
	configFile = root + "/deploy/jupyterhub/deployment_manager.py"
	valuesFile = root + "/deploy/jupyterhub/values.yaml"
	syncScript = root + "/plugins/jupyter/sync/sync.sh"
	hubFile    = "testdata/hub_local.py"
	kubeFile   = "testdata/hub_kubernetes.py"
)

// environmentOnce gives the folder with JupyterHub, and builds it if need be.
var environmentOnce = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("environment/build.sh")
	var progress bytes.Buffer
	cmd.Stderr = &progress
	folder, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, bytes.TrimSpace(progress.Bytes()))
	}
	return strings.TrimSpace(string(folder)), nil
})

// environment skips the test on a machine without Python, but not in CI.
func environment(t *testing.T) string {
	t.Helper()
	folder, err := environmentOnce()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 3 && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// programOnce builds this project's server.
var programOnce = sync.OnceValues(func() (string, error) {
	program := filepath.Join(runFolder, "deployment-manager")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./cmd/deployment-manager")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return program, nil
})

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// freePort is of this moment: a program that must be told its port may still
// find it taken.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// eventually polls until check returns nil.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	if err := poll(limit, check); err != nil {
		t.Fatal(err)
	}
}

func poll(limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := testcluster.Eventually(ctx, check); err != nil {
		return fmt.Errorf("after %v: %w", limit, err)
	}
	return nil
}
