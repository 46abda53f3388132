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
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// runningServer is the one server that a script has at a time.
type runningServer struct {
	cmd    *exec.Cmd
	exited chan error
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
	args = append([]string{"serve", "--data", ts.Getenv("DATA"), "--log-format", "json", "--log-level", "debug",
		"--listen-packages", "127.0.0.1:0", "--listen-manager", "127.0.0.1:0", "--listen-git", "127.0.0.1:0"}, args...)
	program, err := exec.LookPath("deployment-manager")
	ts.Check(err)
	s := &runningServer{cmd: exec.Command(program, args...), exited: make(chan error, 1)}
	s.cmd.Dir = ts.MkAbs(".")
	s.cmd.Env = environment(ts)
	stderr, err := s.cmd.StderrPipe()
	ts.Check(err)
	log, err := os.OpenFile(filepath.Join(key, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	ts.Check(err)
	ts.Check(s.cmd.Start())
	servers.Store(key, s)
	ts.Defer(func() { end(key, syscall.SIGKILL) })
	ready := make(chan map[string]string, 1)
	go s.follow(stderr, log, ready)
	select {
	case addresses, ok := <-ready:
		if !ok {
			ts.Fatalf("the server ended before it was ready:\n%s", ts.ReadFile(filepath.Join(key, "server.log")))
		}
		for variable, name := range map[string]string{"PACKAGES": "packages", "MANAGER": "manager", "GIT": "git"} {
			ts.Setenv(variable, "http://"+addresses[name])
			ts.Setenv(variable+"_HOST", addresses[name])
		}
	case <-time.After(30 * time.Second):
		ts.Fatalf("the server is not ready after 30 s:\n%s", ts.ReadFile(filepath.Join(key, "server.log")))
	}
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
		for _, name := range []string{"packages", "manager", "git"} {
			addresses[name], _ = entry[name].(string)
		}
		ready <- addresses
	}
	close(ready)
	s.exited <- s.cmd.Wait()
}

// end sends the signal and waits for the process; killing none is no error.
func end(key string, signal syscall.Signal) error {
	found, ok := servers.LoadAndDelete(key)
	if !ok {
		return errors.New("no server is running")
	}
	s := found.(*runningServer)
	if err := s.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case err := <-s.exited:
		return err
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		return fmt.Errorf("the server does not end within 20 s of %v", signal)
	}
}

// cmdStop: stop ends the server as an operator would and wants exit code 0.
func cmdStop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: stop")
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
	case err := <-s.exited:
		if len(args) == 1 {
			ts.Check(err)
		}
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		ts.Fatalf("the server lives on")
	}
}
