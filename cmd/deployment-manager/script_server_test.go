package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// runningServer is the one server that a script has at a time.
type runningServer struct {
	cmd       *exec.Cmd
	exited    chan struct{} // closed when it has; then result is set
	result    error
	addresses map[string]string // host:port by door
}

// servers finds a script's server by the script's folder, because testscript
// gives commands no place of their own to keep things.
var servers sync.Map

// cmdServe: serve [OPTION...] starts the server on $DATA and free ports, waits
// until it is ready, and sets $PACKAGES, $MANAGER and $GIT. Its log is added
// to server.log.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	key := ts.Getenv("WORK")
	if _, running := servers.Load(key); neg || running {
		ts.Fatalf("usage: serve [OPTION...], one at a time")
	}
	ts.Defer(func() { _ = end(key, syscall.SIGKILL) }) // fine when it has ended
	s, err := launch(ts.MkAbs("."), ts.Getenv("DATA"), environment(ts), args)
	ts.Check(err)
	servers.Store(key, s)
	for _, name := range doorNames {
		variable, host := strings.ToUpper(name), s.addresses[name]
		ts.Setenv(variable, "http://"+host)
		ts.Setenv(variable+"_HOST", host)
		_, port, _ := strings.Cut(host, ":")
		ts.Setenv(variable+"_PORT", port)
	}
}

var doorNames = [...]string{"packages", "manager", "git"}

// filesVariable says how many files the server that launch starts may have open.
const filesVariable = "DM_TEST_FILES"

// launch starts a server and waits until it is ready. Its log is added to
// server.log in folder.
func launch(folder, data string, environ, args []string) (*runningServer, error) {
	program, err := programOf(folder)
	if err != nil {
		return nil, err
	}
	args = append([]string{"serve", "--data", data, "--log-format", "json", "--log-level", "debug",
		"--listen-packages", "127.0.0.1:0", "--listen-manager", "127.0.0.1:0", "--listen-git", "127.0.0.1:0"}, args...)
	if files := lookup(environ)[filesVariable]; files != "" {
		program, args = "sh", append([]string{"-c", `ulimit -n "$1" && shift && exec "$@"`, "sh", files, program}, args...)
	}
	s := &runningServer{cmd: exec.Command(program, args...), exited: make(chan struct{})}
	s.cmd.Dir, s.cmd.Env = folder, environ
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	logFile := filepath.Join(folder, "server.log")
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan map[string]string, 1)
	go s.follow(stderr, log, ready)
	why := "the server is not ready after 30 s"
	select {
	case addresses, ok := <-ready:
		if ok {
			s.addresses = addresses
			return s, nil
		}
		why = "the server ended before it was ready"
	case <-time.After(30 * time.Second):
	}
	_ = s.cmd.Process.Kill() // it may have ended
	text, err := os.ReadFile(logFile)
	return nil, errors.Join(fmt.Errorf("%s:\n%s", why, text), err)
}

// programOf is the program that launch starts: one in the test's own folder, where
// beside put something next to it, else the one of all tests.
func programOf(folder string) (string, error) {
	own := filepath.Join(folder, "programs", "deployment-manager")
	if _, err := os.Stat(own); err == nil {
		return own, nil
	}
	return exec.LookPath("deployment-manager")
}

// beside puts a file next to the program that launch starts for folder.
func beside(folder, name string, content []byte) error {
	shared, err := exec.LookPath("deployment-manager")
	if err != nil {
		return err
	}
	own := filepath.Join(folder, "programs", "deployment-manager")
	if err := os.MkdirAll(filepath.Dir(own), 0o700); err != nil {
		return err
	}
	if err := os.Link(shared, own); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.WriteFile(filepath.Join(filepath.Dir(own), name), content, 0o700)
}

// cmdBeside: beside FILE NAME puts a copy of FILE next to the server's program, as
// NAME; it counts from the next serve on. $PROGRAMS is the folder.
func cmdBeside(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: beside FILE NAME")
	}
	ts.Check(beside(ts.MkAbs("."), args[1], []byte(ts.ReadFile(args[0]))))
	ts.Setenv("PROGRAMS", ts.MkAbs("programs"))
}

// environment is what the program gets to see of the script's.
func environment(ts *testscript.TestScript) []string {
	var pairs []string
	for _, name := range []string{"HOME", "PATH", "TMPDIR", "TZ", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_GLOBAL", stepsVariable, "GORACE"} {
		pairs = append(pairs, name+"="+ts.Getenv(name))
	}
	return pairs
}

// cmdCode: code N ARGUMENT... runs the program and wants the exit code N.
func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N ARGUMENT...")
	}
	program, err := exec.LookPath("deployment-manager")
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = ts.MkAbs("."), environment(ts), ts.Stdout(), ts.Stderr()
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[0] {
		ts.Fatalf("want exit code %s, got %s", args[0], got)
	}
}

// follow copies the log to its file and tells the addresses of "ready".
func (s *runningServer) follow(stderr io.Reader, log io.WriteCloser, ready chan<- map[string]string) {
	defer log.Close()
	lines := bufio.NewReader(stderr)
	for {
		line, err := lines.ReadString('\n')
		_, _ = io.WriteString(log, line)
		if err != nil {
			break
		}
		var entry map[string]any
		if json.Unmarshal([]byte(line), &entry) != nil || entry["msg"] != "ready" {
			continue
		}
		addresses := map[string]string{}
		for _, name := range doorNames {
			addresses[name], _ = entry[name].(string)
		}
		ready <- addresses
	}
	close(ready)
	s.result = s.cmd.Wait()
	close(s.exited)
}

// end sends the signal and waits for the process; killing none is no error.
func end(key string, signal syscall.Signal) error {
	found, ok := servers.LoadAndDelete(key)
	if !ok {
		return errors.New("no server is running")
	}
	return found.(*runningServer).end(signal)
}

func (s *runningServer) end(signal syscall.Signal) error {
	if err := s.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.exited:
		return s.result
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		return fmt.Errorf("the server does not end within 20 s of %v", signal)
	}
}

// cmdShutdown: shutdown ends the server as an operator would and wants exit code 0.
func cmdShutdown(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: shutdown")
	}
	ts.Check(end(ts.Getenv("WORK"), syscall.SIGTERM))
}

// cmdTerm: term tells the server to stop and does not wait; waitexit does.
func cmdTerm(ts *testscript.TestScript, neg bool, args []string) {
	found, ok := servers.Load(ts.Getenv("WORK"))
	if neg || len(args) != 0 || !ok {
		ts.Fatalf("usage: term, while a server runs")
	}
	ts.Check(found.(*runningServer).cmd.Process.Signal(syscall.SIGTERM))
}

// cmdKill: kill9 ends the server as a power cut would.
func cmdKill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: kill9")
	}
	var exit *exec.ExitError
	if err := end(ts.Getenv("WORK"), syscall.SIGKILL); !errors.As(err, &exit) {
		ts.Fatalf("kill9: %v", err)
	}
}

// cmdWaitExit: waitexit waits until the server has died or stopped; it wants
// exit code 0 when it is called as waitexit 0.
func cmdWaitExit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: waitexit [0]")
	}
	found, ok := servers.LoadAndDelete(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("no server is running")
	}
	s := found.(*runningServer)
	select {
	case <-s.exited:
		if len(args) == 1 {
			ts.Check(s.result)
		}
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		ts.Fatalf("the server lives on")
	}
}
