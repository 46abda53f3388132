//go:build linux

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// straceCommand finds strace: on the machine, or in the user's cache folder,
// where it is unpacked from Debian's package. The system stays as it is.
func straceCommand() (path string, env []string, err error) {
	if path, err = exec.LookPath("strace"); err == nil {
		return path, os.Environ(), nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", nil, err
	}
	cache = filepath.Join(cache, "deployment-manager", "strace")
	path = filepath.Join(cache, "root", "usr", "bin", "strace")
	if _, err := os.Stat(path); err != nil {
		if err := unpackStrace(cache); err != nil {
			return "", nil, fmt.Errorf("there is no strace, and it cannot be had: %w", err)
		}
	}
	libraries, err := filepath.Glob(filepath.Join(cache, "root", "usr", "lib", "*"))
	return path, append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libraries, ":")), err
}

// unpackStrace fetches the packages with apt-get, whose lists it keeps in cache
// as well, and unpacks them there.
func unpackStrace(cache string) error {
	for _, dir := range []string{"lists/partial", "archives/partial", "root"} {
		if err := os.MkdirAll(filepath.Join(cache, filepath.FromSlash(dir)), 0o755); err != nil {
			return err
		}
	}
	apt := []string{"-qq", "-o", "Dir::State::lists=" + filepath.Join(cache, "lists"), "-o", "Dir::Cache=" + cache, "-o", "APT::Sandbox::User="}
	for _, command := range [][]string{
		append([]string{"apt-get", "update"}, apt...),
		append([]string{"apt-get", "download", "strace", "libunwind8"}, apt...),
	} {
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Dir = cache
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w: %s", command[0], command[1], err, bytes.TrimSpace(out))
		}
	}
	packages, err := filepath.Glob(filepath.Join(cache, "*.deb"))
	for _, file := range packages {
		if out, failed := exec.Command("dpkg-deb", "-x", file, filepath.Join(cache, "root")).CombinedOutput(); failed != nil {
			err = errors.Join(err, fmt.Errorf("%w: %s", failed, out))
		}
	}
	return err
}

// needTracing says why this machine does not let strace attach to a process.
func needTracing() error {
	idle := exec.Command("cat")
	input, err := idle.StdinPipe()
	if err != nil {
		return err
	}
	if err := idle.Start(); err != nil {
		return err
	}
	s, err := attach(idle.Process.Pid, "-o", os.DevNull)
	if err == nil {
		err = s.detach()
	}
	return errors.Join(err, input.Close(), idle.Wait())
}

// tracer is an strace at work on a process and all that it starts.
type tracer struct {
	cmd    *exec.Cmd
	output *bufio.Reader
}

// attach waits until the process is traced.
func attach(pid int, args ...string) (*tracer, error) {
	path, env, err := straceCommand()
	if err != nil {
		return nil, err
	}
	s := &tracer{cmd: exec.Command(path, append(args, "-f", "-p", fmt.Sprint(pid))...)}
	s.cmd.Env = env
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.output = bufio.NewReader(stderr)
	line, err := s.output.ReadString('\n')
	if err == nil && strings.Contains(line, " attached") {
		return s, nil
	}
	return nil, errors.Join(fmt.Errorf("strace cannot trace here: %s", strings.TrimSpace(line)), s.detach())
}

// detach lets the process go on alone. strace misses the end of a process at
// times and would wait for it: the kernel then frees what it traces.
func (s *tracer) detach() error {
	_ = s.cmd.Process.Signal(os.Interrupt) // it may have ended with the process
	late := time.AfterFunc(2*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer late.Stop()
	_, _ = s.output.WriteTo(io.Discard)
	var exit *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// injected counts the calls that an strace with the option -o file failed. A Go
// program that can't write to wake its own threads is dying: it tells whether
// that is the server, and not a hook program.
func injected(t *testing.T, file string, server int) (calls int, dying bool) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(text) {
		if !bytes.Contains(line, []byte("(INJECTED)")) {
			continue
		}
		calls++
		if bytes.Contains(line, []byte(`"\1\0\0\0\0\0\0\0", 8)`)) {
			thread, _, _ := bytes.Cut(line, []byte(" "))
			_, err := os.Stat(fmt.Sprintf("/proc/%d/task/%s", server, thread))
			dying = dying || err == nil
		}
	}
	return calls, dying
}
