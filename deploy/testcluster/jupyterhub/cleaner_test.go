package jupyterhub

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cleanerVariable tells the second process which folder it is to clean.
const cleanerVariable = "DM_TEST_HUB_CLEANER"

// folderPrefix begins the names of runs' folders.
const folderPrefix = "deployment-manager-jupyterhub-"

// runFolder holds everything of this run. All that the tests start has its home
// below it, and so has whatever that starts.
var runFolder string

func TestMain(m *testing.M) {
	if folder := os.Getenv(cleanerVariable); folder != "" {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the tests have ended
		os.Exit(exitStatus(clean(folder)))
	}
	finish, err := startCleaner()
	if err != nil {
		os.Exit(exitStatus(err))
	}
	code := m.Run()
	os.Exit(max(code, exitStatus(finish())))
}

// clean leaves nothing of a run. The folder's name is looked at, because whoever
// sets the variable by hand names what is killed and removed.
func clean(folder string) error {
	if !strings.HasPrefix(filepath.Base(folder), folderPrefix) {
		return fmt.Errorf("%s is not the folder of a run", folder)
	}
	if err := endAll(folder); err != nil {
		return err
	}
	// A control plane is ended by the kernel, a moment after the tests.
	return poll(time.Minute, func() error { return os.RemoveAll(folder) })
}

// exitStatus tells the error, if there is one, and returns the program's exit status.
func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "jupyterhub:", err)
	return 1
}

// startCleaner makes runFolder and starts this program a second time, to end and
// remove all in it when the tests end, however they end. The kernel's "end with
// your parent" would not do: the Hub starts users' servers and its proxy in
// sessions of their own, and servers are to outlive the Hub.
func startCleaner() (finish func() error, err error) {
	if runFolder, err = os.MkdirTemp("", folderPrefix); err != nil {
		return nil, err
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cleaner := exec.Command(program)
	cleaner.Env = append(os.Environ(), cleanerVariable+"="+runFolder)
	cleaner.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is not for it
	// Its end of the pipe says "end of file" when this process is gone.
	tests, err := cleaner.StdinPipe()
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	cleaner.Stderr = &said
	if err := cleaner.Start(); err != nil {
		return nil, err
	}
	finish = func() error {
		if err := errors.Join(tests.Close(), cleaner.Wait()); err != nil {
			return fmt.Errorf("clean up: %w: %s", err, said.Bytes())
		}
		return nil
	}
	return finish, os.Setenv("TMPDIR", runFolder) // for t.TempDir
}

// process is one that runs on this machine.
type process struct {
	pid int
	env map[string]string
}

// processesOf finds those whose home is the folder or lies below it. They need
// be no children of the tests.
func processesOf(folder string) ([]process, error) {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, err
	}
	var found []process
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // ended, or another user's
		}
		env := map[string]string{}
		for pair := range bytes.SplitSeq(text, []byte{0}) {
			name, value, _ := bytes.Cut(pair, []byte("="))
			env[string(name)] = string(value)
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(env["HOME"]+"/", folder+"/") {
			found = append(found, process{pid, env})
		}
	}
	return found, nil
}

// endAll kills the processes of the folder until none is left: one may just be
// starting another.
func endAll(folder string) error {
	return poll(time.Minute, func() error {
		running, err := processesOf(folder)
		if err != nil || len(running) == 0 {
			return err
		}
		var faults []error
		for _, p := range running {
			faults = append(faults, fmt.Errorf("process %d still runs", p.pid), syscall.Kill(p.pid, syscall.SIGKILL))
		}
		return errors.Join(faults...)
	})
}
