package testcluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Process is a program that runs beside or as part of a cluster.
type Process struct {
	Name string
	Log  string // the file that holds what it prints

	command *exec.Cmd
	grace   time.Duration // between being asked to end and being killed
	ended   chan struct{}
	err     error // why it ended; read after ended is closed
}

// start starts the command from the thread, leading a process group of its own.
func start(h *home, name, log string, command *exec.Cmd) (*Process, error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return nil, err
	}
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := h.do(command.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{Name: name, Log: log, command: command, ended: make(chan struct{})}
	go func() {
		p.err = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Ended is closed when the program has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Pid is the program's process id, and its process group's.
func (p *Process) Pid() int { return p.command.Process.Pid }

// Fault tells why the program ended, with the last lines of its log. Call it
// only after Ended is closed.
func (p *Process) Fault() error {
	why := "it exited with status 0"
	if p.err != nil {
		why = p.err.Error()
	}
	text, err := os.ReadFile(p.Log)
	if err != nil {
		text = []byte(err.Error())
	}
	return fmt.Errorf("%s ended: %s; the last lines of its log:\n%s", p.Name, why, lastLines(string(text), 12))
}

// stop asks the program to end when there is time for that, then kills its
// whole process group.
func (p *Process) stop() error {
	if p.grace > 0 {
		if err := p.signal(syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case <-p.ended:
		case <-time.After(p.grace):
		}
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("%s, process %d, does not end although it was killed", p.Name, p.Pid())
	}
}

// signal reaches the whole group. That there is none left is well.
func (p *Process) signal(signal syscall.Signal) error {
	if err := syscall.Kill(-p.Pid(), signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s to %s: %w", signal, p.Name, err)
	}
	return nil
}
