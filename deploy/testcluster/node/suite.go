package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pndaproject/deployment-manager/deploy/image/debian"
	"github.com/pndaproject/deployment-manager/deploy/testcluster"
)

// insideVariable tells the second process that it is alone, and its world.
const insideVariable = "DM_TEST_NODE"

// World is what the first process tells the second.
type World struct {
	Suite      string          // the name of the suite
	Checkout   string          // the project's folder
	Components string          // Kubernetes' programs
	Debian     string          // a folder of Debian's files, with containerd and what a node needs
	Show       []string        // more folders of the machine that can be read, at their own places
	Store      string          // the folder of containerd's images and containers; "" for memory
	Folder     string          // of this run, empty but for logs
	Cgroup     string          // the name of this run's control groups, below the root
	Data       json.RawMessage // what Prepare returned
}

// Logs is the only folder of the node that is still there afterwards.
func (w World) Logs() string { return filepath.Join(w.Folder, "logs") }

// Suite is a program, or a package's tests, that works on a node of its own.
type Suite struct {
	Name     string   // as in the names of folders and control groups
	Checkout string   // the project's folder
	Packages []string // Debian's, beside those of every node
	OnDisk   bool     // containers are on a disk and not in memory
	Another  string   // what is said of another run that is waited for, after a first sentence

	// Able tells why this machine can't, beside what every node needs; may be nil.
	Able func() error
	// Prepare brings what comes from a network or a compiler. What it returns is told
	// to the second process as JSON. It may add folders to w.Show.
	Prepare func(ctx context.Context, w *World) (any, error)
	// Furnish is called in the second process before it leaves the machine's files;
	// may be nil.
	Furnish func(World) error
	// Beside works in the first process for as long as the second does, until ctx ends;
	// may be nil.
	Beside func(ctx context.Context, w World)
	// Grace is how long the second process may take to end when it is told to, by
	// SIGTERM; 0 kills it.
	Grace time.Duration
	// Run does the work in the second process; in the first, where that can't be, it is
	// to tell why. It returns the exit status.
	Run func(w *World, unfit error) int
}

func (s Suite) prefix() string { return "deployment-manager-" + s.Name + "-" }

func (s Suite) say(text ...any) { fmt.Fprintln(os.Stderr, append([]any{s.Name + ":"}, text...)...) }

// Main is what the program's main does, or TestMain of the tests. It returns the exit
// status.
func (s Suite) Main() int {
	if text := os.Getenv(insideVariable); text != "" {
		return s.runInside(text)
	}
	if unfit := s.unable(); unfit != nil {
		return s.Run(nil, unfit)
	}
	status, err := s.runAlone()
	if errors.Is(err, errUnable) {
		return s.Run(nil, err)
	}
	if err != nil {
		s.say(err)
		status = max(status, 1)
	}
	return status
}

// unable tells why this machine can't be a node.
func (s Suite) unable() error {
	if s.Able != nil {
		if err := s.Able(); err != nil {
			return err
		}
	}
	if os.Getuid() != 0 {
		return errors.New("a kubelet with containers needs root")
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
func (s Suite) runAlone() (status int, err error) {
	// The kernel ends the second process with the thread that started it.
	runtime.LockOSThread()
	// What whoever began this wants to be ignored, as nohup does, stays ignored.
	ctx, stop := signal.NotifyContext(context.Background(), slices.DeleteFunc([]os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}, signal.Ignored)...)
	defer stop()
	unlock, err := s.oneAtATime(ctx)
	if err != nil {
		return 1, err
	}
	defer unlock()
	if err := removeStaleCgroups(s.prefix()); err != nil {
		return 1, err
	}
	w, err := s.prepare(ctx)
	if err != nil {
		return 1, errors.Join(err, os.RemoveAll(w.Folder))
	}
	restore, err := makeCgroups(w.Cgroup)
	if err == nil {
		status, err = s.start(ctx, w)
	}
	failed := (status != 0 || err != nil) && ctx.Err() == nil && !errors.Is(err, errUnable)
	return status, errors.Join(err, s.leave(w, failed), restore())
}

// oneAtATime keeps a second run on this machine waiting: both would use the
// same names of control groups.
func (s Suite) oneAtATime(ctx context.Context) (unlock func(), err error) {
	return testcluster.Lock(ctx, filepath.Join(os.TempDir(), strings.TrimSuffix(s.prefix(), "-")+".lock"),
		func() { s.say("waiting for another run on this machine" + s.Another) })
}

// nodePackages are what the node runs beside Kubernetes' programs.
var nodePackages = []string{
	"containerd", "runc", "containernetworking-plugins", // containers
	"nftables", "iproute2", // Services and interfaces
	"mount", "util-linux", // the kubelet's volumes
	"busybox-static", // the pause container
	"dash", "coreutils",
}

// prepare brings everything that comes from a network or a compiler.
func (s Suite) prepare(ctx context.Context) (w World, err error) {
	w = World{Suite: s.Name, Checkout: s.Checkout}
	if w.Components, err = testcluster.Components(ctx, os.Stderr); err != nil {
		return w, err
	}
	if w.Debian, err = debian.Root(ctx, debian.Options{Packages: append(slices.Clone(nodePackages), s.Packages...), Progress: os.Stderr}); err != nil {
		return w, err
	}
	if w.Folder, err = os.MkdirTemp("", s.prefix()); err != nil {
		return w, err
	}
	w.Cgroup = filepath.Base(w.Folder)
	if err := os.Mkdir(w.Logs(), 0o755); err != nil {
		return w, err
	}
	if s.OnDisk {
		if w.Store, err = s.store(); err != nil {
			return w, err
		}
	}
	data, err := s.Prepare(ctx, &w)
	if err != nil {
		return w, err
	}
	w.Data, err = json.Marshal(data)
	return w, err
}

// store makes the folder of containers that are on a disk: the cache, for the folder of
// temporary files may be in memory. What a run left there that was killed goes.
func (s Suite) store() (string, error) {
	folder, err := cache()
	if err != nil {
		return "", err
	}
	folder = filepath.Join(folder, s.Name, "containerd")
	return folder, errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o711))
}

// leave removes what outlives the second process, and what it must have removed
// itself: with a mount still there or a process in a group, that fails. The
// logs of a run that failed stay.
func (s Suite) leave(w World, failed bool) error {
	faults := []error{removeCgroups(w.Cgroup)}
	if err := os.Remove(filepath.Join(w.Folder, "root")); !errors.Is(err, fs.ErrNotExist) {
		faults = append(faults, err)
	}
	if w.Store != "" {
		faults = append(faults, os.RemoveAll(w.Store))
	}
	if failed {
		s.say("logs are in", w.Logs())
		return errors.Join(faults...)
	}
	return errors.Join(append(faults, os.RemoveAll(w.Logs()), os.Remove(w.Folder))...)
}

// start runs the second process and returns its exit status.
func (s Suite) start(ctx context.Context, w World) (int, error) {
	text, err := json.Marshal(w)
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
	if s.Grace > 0 {
		command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
		command.WaitDelay = s.Grace
	}
	if s.Beside != nil {
		var working sync.WaitGroup
		defer working.Wait()
		beside, end := context.WithCancel(ctx)
		defer end()
		working.Go(func() { s.Beside(beside, w) })
	}
	err = command.Run()
	if ctx.Err() != nil {
		return 1, errors.New("interrupted")
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(exit.ExitCode(), 1), nil
	}
	return 0, err
}

// runInside furnishes the second process's world and does the work.
func (s Suite) runInside(text string) int {
	var w World
	err := json.Unmarshal([]byte(text), &w)
	if err == nil {
		err = w.furnish(s.Furnish)
	}
	if err != nil {
		s.say(err)
		return 1
	}
	return s.Run(&w, nil)
}
