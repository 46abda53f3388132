package gitcmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
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
	dir     string   // repository for --git-dir; "" for commands that have none or take it as argument
	env     []string // beside the closed environment
	options []string // beside the fixed ones
	in      io.Reader
	out     io.Writer
	args    []string
	cpu     time.Duration // of each process, in whole seconds; 0 means no limit; only converse obeys it
	writes  bool          // inherits the data folder's lock, so that the next server waits for it
}

// process is a started command. Signals go to its whole group, because git
// works through children (upload-pack starts pack-objects).
type process struct {
	cmd    *exec.Cmd
	ctx    context.Context // of the command, kept beside cmd, which hides its own
	stderr tail
	copied chan error // tells that all output was passed on; nil without output

	mu     sync.Mutex
	reaped bool // the pid may belong to somebody else from now on
}

// prepare builds the process without starting it.
func (g *Git) prepare(ctx context.Context, c command) *process {
	args := slices.Concat(g.options, c.options)
	if c.dir != "" {
		args = append(args, "--git-dir="+c.dir)
	}
	cmd := exec.CommandContext(ctx, g.path, append(args, c.args...)...)
	p := &process{cmd: cmd, ctx: ctx}
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
	return p
}

// start starts git and passes its output on to out. That is not left to
// exec.Cmd: it gives a reader that is slower than git only WaitDelay for what
// is still in the pipe when git ends, and then cuts it off.
func (p *process) start(out io.Writer) error {
	if out == nil {
		return p.cmd.Start()
	}
	pipe, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
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
	for unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
		continue
	}
	if p.ctx.Err() != nil {
		p.signal(syscall.SIGKILL)
	}
	copied := p.drain()
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	if err := p.cmd.Wait(); err != nil {
		return err
	}
	return copied
}

// run starts c and waits for it.
func (g *Git) run(ctx context.Context, c command) error {
	p := g.prepare(ctx, c)
	begin := time.Now()
	if err := p.start(c.out); err != nil {
		return failure(ctx, c.args[0], err, "")
	}
	err := p.wait()
	g.log.Debug("git ended", "command", c.args[0], "duration", time.Since(begin), "request_id", dm.RequestID(ctx))
	return failure(ctx, c.args[0], err, p.stderr.String())
}

// failure makes the error of a command that ended with err. Its message holds
// nothing of what git said: that text names paths of this machine.
func failure(ctx context.Context, name string, err error, stderr string) error {
	if err == nil {
		return nil
	}
	op := "git " + name
	if cause := ctx.Err(); cause != nil {
		return dm.Errorf(dm.Unavailable, op, "git %s was ended before it was done", name).Because(cause)
	}
	return dm.Errorf(dm.Internal, op, "git %s failed", name).Because(&exitError{err: err, stderr: stderr})
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
