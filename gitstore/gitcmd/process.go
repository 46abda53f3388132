package gitcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	dm "github.com/pndaproject/deployment-manager"
)

// A cancelled command gets SIGTERM at once and SIGKILL after termGrace; nobody
// waits for its pipes longer than waitDelay: within two seconds it is gone.
const (
	termGrace = time.Second
	waitDelay = 1500 * time.Millisecond
)

// maxStderr is how much of git's last words is kept.
const maxStderr = 8 << 10

// command is one call of git.
type command struct {
	class   Class
	dir     string   // repository for --git-dir; "" for commands that have none or take it as argument
	env     []string // beside the closed environment
	options []string // beside the fixed ones
	in      io.Reader
	out     io.Writer
	args    []string
	cpu     time.Duration // of each process, in whole seconds; 0 means no limit; only converse obeys it
	writes  bool          // inherits the data folder's lock, so that the next server waits for it

	unbroken bool // the context only stops it from starting
}

// beside is the class of a command that works for another one, which holds the
// slot of both: to wait for a second slot with the first in hand could take for
// ever.
const beside Class = -1

// process is a started command. Signals go to its whole group, because git
// works through children (upload-pack starts pack-objects).
type process struct {
	cmd    *exec.Cmd
	name   string          // of git's command
	ctx    context.Context // of the command, kept beside cmd, which hides its own
	memory int64           // that each of its processes may take; 0 means no limit
	log    *slog.Logger
	done   func() // gives back the slot; once
	begin  time.Time
	cause  error // why ctx had ended when the process had; set by wait
	stderr tail
	copied chan error // tells that all output was passed on; nil without output

	mu     sync.Mutex
	reaped bool // the pid may belong to somebody else from now on
}

// prepare waits for a slot and builds the process without starting it. Whoever
// got a process ends it by unstarted or by wait, which give the slot back.
func (g *Git) prepare(ctx context.Context, c command) (*process, error) {
	slot, share := func() {}, share{}
	if c.class != beside {
		var err error
		if slot, err = g.pool.take(ctx, c.class); err != nil {
			return nil, dm.Wrap("git "+c.args[0], err)
		}
		share = g.pool[c.class].share
	} else {
		share = g.pool[Looks].share
	}
	if c.unbroken {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, share.time)
	args := slices.Concat(g.options, c.options)
	if c.dir != "" {
		args = append(args, "--git-dir="+c.dir)
	}
	cmd := exec.CommandContext(ctx, g.path, append(args, c.args...)...)
	p := &process{cmd: cmd, name: c.args[0], ctx: ctx, memory: share.memory, log: g.log, begin: time.Now()}
	p.done = sync.OnceFunc(func() { cancel(); slot() })
	cmd.Dir = "/"
	cmd.Env = slices.Concat(g.env, c.env)
	cmd.Stdin, cmd.Stderr = c.in, &p.stderr
	if g.lock != nil && c.writes {
		cmd.ExtraFiles = []*os.File{g.lock}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = waitDelay
	cmd.Cancel = func() error {
		p.signal(syscall.SIGTERM)
		time.AfterFunc(termGrace, func() { p.signal(syscall.SIGKILL) })
		return nil
	}
	return p, nil
}

// launch starts git and bounds its memory. The limit holds for each process that
// it starts from then on, too.
func (p *process) launch() error {
	if err := p.cmd.Start(); err != nil {
		return err
	}
	if p.memory > 0 {
		// What is mapped from files does not count: the kernel takes it back.
		limit := unix.Rlimit{Cur: uint64(p.memory), Max: uint64(p.memory)}
		err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_DATA, &limit, nil)
		if err != nil && !errors.Is(err, unix.ESRCH) { // it may have ended
			p.log.Warn("the memory of a git process could not be bounded", "command", p.name, "err", err)
		}
	}
	return nil
}

// unstarted is the error of a process that could not be started.
func (p *process) unstarted(err error) error {
	p.cause = p.ctx.Err()
	p.done()
	return p.failure(err)
}

// start starts git and passes its output on to out. That is not left to
// exec.Cmd: it gives a reader that is slower than git only WaitDelay for what
// is still in the pipe when git ends, and then cuts it off.
func (p *process) start(out io.Writer) error {
	if out == nil {
		return p.launch()
	}
	pipe, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.launch(); err != nil {
		return err
	}
	p.copied = make(chan error, 1)
	go func() {
		_, err := io.Copy(out, pipe)
		_ = pipe.Close() // when out failed, git shall notice
		p.copied <- err
	}()
	return nil
}

// limit bounds the processor time of the process and of each that it starts
// from now on. The kernel ends one that takes more.
func (p *process) limit(cpu time.Duration) error {
	if cpu == 0 {
		return nil
	}
	seconds := uint64(cpu / time.Second)
	return unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: seconds}, nil)
}

// drain waits until git's output is passed on, or until a cancellation makes
// that pointless.
func (p *process) drain() error {
	if p.copied == nil {
		return nil
	}
	select {
	case err := <-p.copied:
		return err
	case <-p.ctx.Done():
	}
	p.signal(syscall.SIGKILL)
	select {
	case err := <-p.copied:
		return err
	case <-time.After(waitDelay):
		return p.ctx.Err()
	}
}

// signal sends sig to the group as long as its leader is not reaped.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = syscall.Kill(-p.cmd.Process.Pid, sig)
	}
}

// wait waits for git to end. After a cancellation what is left of the group is
// killed while the leader is still a zombie: its number cannot have been given
// to another process before.
func (p *process) wait() error {
	defer p.done()
	for unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		continue
	}
	if p.ctx.Err() != nil {
		p.signal(syscall.SIGKILL)
	}
	copied := p.drain()
	p.cause = p.ctx.Err()
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	if err := p.cmd.Wait(); err != nil {
		return err
	}
	return copied
}

// end waits for git and makes the error of how it ended.
func (p *process) end() error {
	err := p.wait()
	p.log.Debug("git ended", "command", p.name, "duration", time.Since(p.begin), "request_id", dm.RequestID(p.ctx))
	return p.failure(err)
}

// run starts c and waits for it.
func (g *Git) run(ctx context.Context, c command) error {
	p, err := g.prepare(ctx, c)
	if err != nil {
		return err
	}
	if err := p.start(c.out); err != nil {
		return p.unstarted(err)
	}
	return p.end()
}

// failure makes the error of a command that ended with err. Its message holds
// nothing of what git said: that text names paths of this machine. What git
// could not do for want of something, or of time, is Unavailable: it says
// nothing of the repository.
func (p *process) failure(err error) error {
	if err == nil {
		return nil
	}
	op := "git " + p.name
	ended := &exitError{err: err, stderr: p.stderr.String()}
	switch {
	case p.cause != nil:
		return dm.Errorf(dm.Unavailable, op, "git %s was interrupted", p.name).Because(p.cause)
	case starved(err, ended.stderr):
		return dm.Errorf(dm.Unavailable, op, "git %s ran out of memory, processes or files", p.name).Because(ended)
	}
	return dm.Errorf(dm.Internal, op, "git %s failed", p.name).Because(ended)
}

// Starved tells whether err is of a git that had too little memory, or too few
// processes or files.
func Starved(err error) bool {
	var e *exitError
	return errors.As(err, &e) && starved(e.err, e.stderr)
}

// starved tells whether a command failed because the machine, or the share of it
// that git gets, had too little of something. A process that somebody killed is
// one of these: the kernel does so when memory is short.
func starved(err error, stderr string) bool {
	for _, e := range []error{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, e) {
			return true
		}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
			return true
		}
	}
	for _, words := range []string{
		"ut of memory", "Cannot allocate memory", "Resource temporarily unavailable", "Too many open files", "unable to create thread", "cannot fork",
	} {
		if strings.Contains(stderr, words) {
			return true
		}
	}
	return false
}

// exitError is how git ended and what it said; for the log.
type exitError struct {
	err    error
	stderr string
}

func (e *exitError) Error() string { return fmt.Sprintf("%v: %q", e.err, e.stderr) }
func (e *exitError) Unwrap() error { return e.err }

// said returns what git wrote to standard error before it failed with err.
func said(err error) string {
	var e *exitError
	if errors.As(err, &e) {
		return e.stderr
	}
	return ""
}

// tail keeps the last maxStderr bytes written to it.
type tail struct{ buf []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - maxStderr; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(bytes.TrimSpace(t.buf)) }
