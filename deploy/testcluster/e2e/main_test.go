package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/pndaproject/deployment-manager/deploy/image/debian"
)

// insideVariable tells the second process that it is alone, and its settings.
const insideVariable = "DM_TEST_E2E_INSIDE"

// settings are what the first process tells the second.
type settings struct {
	Checkout   string // the project's folder
	Components string // Kubernetes' programs
	Node       string // a Debian folder with containerd and what a node needs
	User       string // a Debian folder with what a user's pod needs
	Image      string // the archive of the server's image, with values for Helm beside it
	Program    string // what brings notebooks, for a user's image that has it
	Jupyter    string // the environment with JupyterHub, or empty
	NoJupyter  string // why there is none
	Token      string // the user's, for the server
	Tokens     string // the file that lets the server know it
	Folder     string // of this run, empty but for logs
	Cgroup     string // the name of this run's control groups, below the root
}

// logs is the only folder of the node that is still there afterwards.
func (s settings) logs() string { return filepath.Join(s.Folder, "logs") }

// unfit is why this machine cannot run the test, which tells it; TestMain finds
// it out.
var unfit error

func TestMain(m *testing.M) {
	flag.Parse()
	if text := os.Getenv(insideVariable); text != "" {
		os.Exit(runInside(m, text))
	}
	if unfit = unable(); unfit != nil {
		os.Exit(m.Run())
	}
	status, err := runAlone()
	if errors.Is(err, errUnable) {
		unfit = err
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		status = max(status, 1)
	}
	os.Exit(status)
}

// unable tells why this machine cannot run the test.
func unable() error {
	if testing.Short() || flag.Lookup("test.list").Value.String() != "" {
		return errors.New("-short or -list was given")
	}
	if os.Getuid() != 0 {
		return errors.New("a kubelet with containers needs root; run make e2e as root")
	}
	for _, program := range []string{"apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			return debian.ErrNoApt
		}
	}
	command := exec.Command("true")
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if err := command.Run(); err != nil {
		return fmt.Errorf("this machine gives no namespaces: %w", err)
	}
	return ableCgroups()
}

// runAlone prepares what needs the machine's network, starts this program again
// in namespaces of its own, waits for its end and cleans up.
func runAlone() (status int, err error) {
	// The kernel ends the second process with the thread that started it.
	runtime.LockOSThread()
	// What whoever began this wants to be ignored, as nohup does, stays ignored.
	ctx, stop := signal.NotifyContext(context.Background(), slices.DeleteFunc([]os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}, signal.Ignored)...)
	defer stop()
	unlock, err := oneAtATime(ctx)
	if err != nil {
		return 1, err
	}
	defer unlock()
	if err := removeStaleCgroups(); err != nil {
		return 1, err
	}
	s, err := prepare(ctx)
	if err != nil {
		return 1, errors.Join(err, os.RemoveAll(s.Folder))
	}
	restore, err := makeCgroups(s.Cgroup)
	if err == nil {
		status, err = start(ctx, s)
	}
	failed := (status != 0 || err != nil) && ctx.Err() == nil && !errors.Is(err, errUnable)
	return status, errors.Join(err, leave(s, failed), restore())
}

// leave removes what outlives the second process, and what it must have removed
// itself: with a mount still there or a process in a group, that fails. The
// logs of a test that failed stay.
func leave(s settings, failed bool) error {
	faults := []error{removeCgroups(s.Cgroup)}
	if err := os.Remove(filepath.Join(s.Folder, "root")); !errors.Is(err, fs.ErrNotExist) {
		faults = append(faults, err)
	}
	if failed {
		fmt.Fprintln(os.Stderr, "e2e: logs are in", s.logs())
		return errors.Join(faults...)
	}
	return errors.Join(append(faults, os.RemoveAll(s.logs()), os.Remove(s.Folder))...)
}

// start runs the second process and returns its exit status.
func start(ctx context.Context, s settings) (int, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return 1, err
	}
	// The log of what a test opened is for go test's cache; its path is of
	// the machine, which the second process does not see.
	arguments := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool { return strings.HasPrefix(a, "-test.testlogfile=") })
	command := exec.CommandContext(ctx, "/proc/self/exe", arguments...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	command.Env = append(os.Environ(), insideVariable+"="+string(text))
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL}
	err = command.Run()
	if ctx.Err() != nil {
		return 1, errors.New("interrupted")
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// runInside furnishes the second process's world and runs the test.
func runInside(m *testing.M, text string) int {
	var s settings
	err := json.Unmarshal([]byte(text), &s)
	if err == nil {
		err = furnish(s)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
}
