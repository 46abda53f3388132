package jupyterhub

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is a server that a test starts, ends and starts again.
type program struct {
	name    string
	command func() *exec.Cmd
	ready   string // answers 200 when it is up
	log     string
	hangs   bool // it may not end by itself, which is not ours to judge
	running *exec.Cmd
	exited  chan struct{}
}

// with gives the program these variables, too.
func (p *program) with(variables ...string) {
	before := p.command
	p.command = func() *exec.Cmd {
		cmd := before()
		cmd.Env = append(cmd.Env, variables...)
		return cmd
	}
}

// start waits until the program answers.
func (p *program) start(t *testing.T) {
	t.Helper()
	for attempt := 1; !p.try(t, attempt < 3); attempt++ {
		t.Logf("%s found its proxy too slow; it is started again:\n%s", p.name, p.tail())
	}
}

// slowProxy is why a Hub ends that gave its proxy its fixed ten seconds, on a
// busy machine.
var slowProxy = regexp.MustCompile(`Server at \S+ didn't respond in 10 seconds|Waiting for proxy endpoints didn't complete`)

// try starts the program. It returns false when a slow proxy ended it, and
// another try is allowed.
func (p *program) try(t *testing.T, again bool) (up bool) {
	t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := p.command()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	p.running, p.exited = cmd, exited
	eventually(t, waitForServer, func() error {
		select {
		case <-exited:
			if again && slowProxy.MatchString(p.tail()) {
				return nil
			}
			t.Fatalf("%s ended:\n%s", p.name, p.tail())
		default:
		}
		answer, err := client.Get(p.ready)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", p.ready, answer.Status)
		}
		up = true
		return nil
	})
	return up
}

// termination is after how long a kubelet kills what does not end by itself.
const termination = 30 * time.Second

// stop ends the program as an operator would, and as a kubelet does one that hangs. It
// may have ended.
func (p *program) stop(t *testing.T) {
	t.Helper()
	if p.running == nil {
		return
	}
	_ = p.running.Process.Signal(syscall.SIGTERM)
	wait := waitForServer
	if p.hangs {
		wait = termination
	}
	select {
	case <-p.exited:
	case <-time.After(wait):
		_ = p.running.Process.Kill()
		<-p.exited
		if !p.hangs {
			t.Errorf("%s does not end:\n%s", p.name, p.tail())
		}
	}
	p.running = nil
}

// tail is the end of the log.
func (p *program) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-6000):])
}

// newServer is this project's server, in mode strict with the Hub at hub.
func newServer(t *testing.T, folder, hub string) (p *program, git, manager, packages string) {
	t.Helper()
	binary, err := programOnce()
	if err != nil {
		t.Fatal(err)
	}
	doors := map[string]string{"git": "", "manager": "", "packages": ""}
	args := []string{"serve", "--data", filepath.Join(folder, "data"), "--tokens", filepath.Join(folder, "tokens"), "--hub-url", hub}
	for door := range doors {
		doors[door] = "127.0.0.1:" + freePort(t)
		args = append(args, "--listen-"+door, doors[door])
	}
	command := func() *exec.Cmd {
		cmd := exec.Command(binary, args...)
		cmd.Dir, cmd.Env = folder, bareEnvironment(folder)
		return cmd
	}
	git, manager, packages = "http://"+doors["git"], "http://"+doors["manager"], "http://"+doors["packages"]
	return &program{name: "the server", command: command, ready: git + "/readyz", log: filepath.Join(folder, "server.log")}, git, manager, packages
}

// apiToken makes a token of the project's server for a user who is not at the Hub.
func apiToken(t *testing.T, folder, user string) string {
	t.Helper()
	binary, err := programOnce()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "token", "create", "--file", filepath.Join(folder, "tokens"), "--user", user)
	token, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}

// bareEnvironment has no settings of whoever runs the tests.
func bareEnvironment(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "LC_ALL=C.UTF-8"}
}
