package jupyterhub

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// programOnce builds this project's server, and beside it the program for users,
// which the server then has in /tools.git.
var programOnce = sync.OnceValues(func() (string, error) {
	build := exec.Command("go", "build", "-buildvcs=false", "-o", runFolder+"/", "./cmd/deployment-manager", "./cmd/"+syncName)
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return filepath.Join(runFolder, "deployment-manager"), nil
})

// syncName is the program's name where one processor's is enough.
const syncName = "deployment-manager-sync"

// fromServer has the script take the program from the server, by its sum.
func fromServer(t *testing.T) (variable string) {
	t.Helper()
	if _, err := programOnce(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(runFolder, syncName))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("DM_SYNC_SHA256=%x", sha256.Sum256(content))
}

// mounted has the script find the program in a folder, under the name.
func mounted(t *testing.T, name string) (variable string) {
	t.Helper()
	if _, err := programOnce(); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	path := filepath.Join(folder, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.Link(filepath.Join(runFolder, syncName), path)); err != nil {
		t.Fatal(err)
	}
	return "DM_SYNC_MOUNT=" + folder
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// ports are those that freePort gave away.
var ports sync.Map

// freePort is a port that nobody listens on now, for a program that must be told
// its port. The kernel gives it to nobody meanwhile, nor while the program is
// started again: it is below those that clients of any program get for their
// connections, and those that ask for any port.
func freePort(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Fatal(err)
	}
	var first, last int
	if _, err := fmt.Sscan(string(text), &first, &last); err != nil {
		t.Fatalf("the range of ports %q: %v", text, err)
	}
	const lowest = 12000 // below are those of well-known programs
	if first < lowest+1000 {
		first = last // here the kernel gives away almost all
	}
	for range 100 {
		port := strconv.Itoa(lowest + rand.IntN(first-lowest))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		l.Close()
		if _, given := ports.LoadOrStore(port, true); !given {
			return port
		}
	}
	t.Fatalf("no free port from %d to %d", lowest, first)
	return ""
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
